//! How a scripted command starts, or does not.
//!
//! * in: what was asked for, and what the world says of it
//! * out: `Started` and a process, or `StartFailed`
//! * keeps: nothing is left of a launch that failed

use super::{CWD, PIDS_PER_PROCESS, Player, Process};
use crate::backend::KernelEvent;
use ostler_artifacts::{Growth, Recorder};
use ostler_messages::{ActorName, Containment, Exec, LaunchError, Stamp, StartFailed, Started};
use std::sync::Arc;

impl Player {
    pub(super) fn start(&mut self, exec: &Exec) {
        let (n, request) = (exec.n, &exec.request);
        let to = ActorName::Process(n);
        let failed = |error| KernelEvent::new(to, StartFailed { error });
        if let Some(cwd) = request.cwd.as_ref().filter(|cwd| self.world.lacks_dir(cwd)) {
            let error = LaunchError::CwdMissing { cwd: cwd.display().to_string() };
            return self.events.push_back(failed(error));
        }
        let Some(program) = self.world.find(request) else {
            let error = LaunchError::ProgramNotFound { program: request.program.to_string() };
            return self.events.push_back(failed(error));
        };
        if let Some(error) = program.fails.clone() {
            return self.events.push_back(failed(error));
        }
        let budget = match self.outputs.budget(&request.session_id) {
            Ok(budget) => budget,
            Err(error) => return self.events.push_back(failed(error)),
        };
        let growth = Arc::new(Growth::new());
        let mut recorder = Recorder::in_memory(request.capture, request.output_limit_bytes, growth.clone());
        budget.into_iter().for_each(|budget| recorder.share(budget, n));
        if let Some(bytes) = program.disk_full_at {
            recorder.fail_at(bytes, nix::libc::ENOSPC);
        }
        if let Some(limit) = request.follow {
            let moved = self.moved.0.clone();
            // Nobody hears it after the end of the graph.
            growth.follow(limit.max_ahead, move || {
                let _ = moved.send(n);
            });
        }
        self.outputs.begin(n, exec.command_id, growth.clone());
        if self.journaling.is_on() {
            self.world.disk(|disk| disk.growths.insert(exec.command_id, growth.clone()));
        }
        request.terminal.into_iter().for_each(|size| self.outputs.set_terminal(n, size));
        let pid = u32::try_from(n * PIDS_PER_PROCESS).unwrap_or(u32::MAX);
        let started = Started {
            pid,
            process_group_id: pid,
            containment: Containment::Group,
            cwd: request.cwd.clone().map_or(CWD.into(), |cwd| cwd.into_os_string().into()),
            started_at: Stamp(self.began.0 + self.now_us / 1_000),
            env_withheld: Vec::new(),
            toolchain_error: None,
            start_ticks: None,
        };
        self.events.push_back(KernelEvent::new(to, started));
        self.processes
            .insert(n, Process::new(n, pid, program, (recorder, growth), request, (self.began, self.now_us)));
        self.with(n, |process, now| process.begin(now));
    }
}
