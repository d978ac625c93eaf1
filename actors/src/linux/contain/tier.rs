//! What holds a tree: chosen once, at the start of a graph, by trying.

use crate::backend::{ContainmentReport, Refused};
use crate::linux::{
    contain::cgroup::Cgroups,
    contain::helper::{Guard, Link, Program, TRIAL_LIMIT, Told, link},
    contain::helper_protocol as protocol,
    contain::members,
    contain::tree::{Helper, Tree},
    exec::clone::{self, Failed, Image, Plan, Scratch},
    sys,
};
use nix::{errno::Errno, sys::signal::Signal};
use ostler_messages::{Containment, Stage};
use std::{
    ffi::{CStr, CString},
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// The strongest one that this machine has and the host allows.
pub(crate) enum Tier {
    Cgroup {
        // Dropped first: while it kills what is left, the guard still stands by.
        cgroups: Cgroups,
        _guard: Option<Guard>,
        /// For a launch that can't have a cgroup.
        next: Option<Box<Tier>>,
    },
    Subreaper(Program),
    Group,
}

/// A command that is ready to be started in any tier.
pub(crate) struct Prepared<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) argv: &'a [CString],
    pub(crate) env: &'a [&'a CStr],
    pub(crate) cwd: Option<&'a CStr>,
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// How long its helper is waited for.
    pub(crate) limit: Duration,
}

/// A leader that has reached its program.
pub(crate) struct Spawned {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) tree: Tree,
}

pub(crate) enum SpawnError {
    /// On its way to exec.
    Process(Failed),
    /// What goes with it could not be made.
    Around(Stage, Errno),
}

impl Tier {
    /// Tries the allowed ones from the strongest down. `name` is unique on this machine. An error is the last refusal.
    pub(crate) fn choose(
        allowed: &[Containment],
        name: &str,
        null: &File,
        scratch: &mut Scratch,
    ) -> Result<(Tier, ContainmentReport), Refused> {
        let mut refused = Vec::new();
        for tier in [Containment::Cgroup, Containment::Subreaper, Containment::Group] {
            if !allowed.contains(&tier) {
                refused.push(Refused { tier, reason: "the host does not allow it".into() });
                continue;
            }
            match Tier::try_out(tier, name, null, scratch) {
                Ok((mut tier, host_death)) => {
                    if let Tier::Cgroup { next, .. } = &mut tier {
                        *next = Tier::next(allowed, name, null, scratch).map(Box::new);
                    }
                    let containment = tier.containment();
                    return Ok((tier, ContainmentReport { tier: containment, host_death, refused }));
                }
                Err(reason) => refused.push(Refused { tier, reason }),
            }
        }
        let nothing = Refused { tier: Containment::Group, reason: "no tier is allowed".into() };
        Err(refused.into_iter().rfind(|refused| allowed.contains(&refused.tier)).unwrap_or(nothing))
    }

    /// What a launch gets that can't have a cgroup.
    fn next(allowed: &[Containment], name: &str, null: &File, scratch: &mut Scratch) -> Option<Tier> {
        [Containment::Subreaper, Containment::Group]
            .into_iter()
            .filter(|tier| allowed.contains(tier))
            .find_map(|tier| Tier::try_out(tier, name, null, scratch).ok())
            .map(|(tier, _)| tier)
    }

    /// With it, why the death of the host is not covered, if it is not.
    fn try_out(
        tier: Containment,
        name: &str,
        null: &File,
        scratch: &mut Scratch,
    ) -> Result<(Tier, Option<String>), String> {
        match tier {
            Containment::Cgroup => {
                let cgroups = Cgroups::probe(name, scratch)?;
                let guard = Program::load().and_then(|program| program.guard(cgroups.path(), null, scratch));
                let (guard, why) = match guard {
                    Ok(guard) => (Some(guard), None),
                    Err(why) => (None, Some(why)),
                };
                Ok((Tier::Cgroup { cgroups, _guard: guard, next: None }, why))
            }
            Containment::Subreaper => {
                let program = Program::load()?;
                try_helper(&program, null, scratch)?;
                Ok((Tier::Subreaper(program), None))
            }
            Containment::Group => {
                Ok((Tier::Group, Some("only the leader of each command dies with the host".into())))
            }
            other => Err(format!("{other} is not known on Linux")),
        }
    }

    pub(crate) fn containment(&self) -> Containment {
        match self {
            Tier::Cgroup { .. } => Containment::Cgroup,
            Tier::Subreaper(_) => Containment::Subreaper,
            Tier::Group => Containment::Group,
        }
    }

    pub(crate) fn spawn(
        &self,
        n: u64,
        command: &Prepared<'_>,
        scratch: &mut Scratch,
    ) -> Result<Spawned, SpawnError> {
        match self {
            Tier::Group => {
                let spawned = clone::spawn(&direct(command, None), scratch).map_err(SpawnError::Process)?;
                Ok(Spawned { pid: spawned.pid, pidfd: spawned.pidfd, tree: Tree::Group })
            }
            Tier::Cgroup { cgroups, next, .. } => {
                let in_cgroup = in_cgroup(cgroups, n, command, scratch);
                match (in_cgroup, next) {
                    // The limits of cgroups above are reached, or ours was turned threaded (cgroups(7)).
                    (Err(error), Some(next)) if is_for_want_of_a_cgroup(&error) => {
                        next.spawn(n, command, scratch)
                    }
                    (spawned, _) => spawned,
                }
            }
            Tier::Subreaper(program) => spawn_helped(program, command, scratch),
        }
    }
}

fn in_cgroup(
    cgroups: &Cgroups,
    n: u64,
    command: &Prepared<'_>,
    scratch: &mut Scratch,
) -> Result<Spawned, SpawnError> {
    let mut leaf = cgroups.leaf(n).map_err(|errno| SpawnError::Around(Stage::Cgroup, errno))?;
    // A leaf that nobody is born into is removed when it is dropped.
    let spawned = clone::spawn(&direct(command, leaf.dir()), scratch).map_err(SpawnError::Process)?;
    leaf.close_dir();
    Ok(Spawned { pid: spawned.pid, pidfd: spawned.pidfd, tree: Tree::Cgroup(leaf) })
}

/// Not for want of descriptors, which the next tier needs too.
fn is_for_want_of_a_cgroup(error: &SpawnError) -> bool {
    match error {
        SpawnError::Around(Stage::Cgroup, errno) => !matches!(errno, Errno::EMFILE | Errno::ENFILE),
        SpawnError::Process(Failed { stage: Stage::Fork, errno, .. }) => {
            matches!(errno, Errno::EOPNOTSUPP | Errno::EBUSY | Errno::ENODEV)
        }
        _ => false,
    }
}

fn direct<'a>(command: &'a Prepared<'a>, cgroup: Option<BorrowedFd<'a>>) -> Plan<'a> {
    Plan {
        image: Image::Path(command.path),
        argv: command.argv,
        env: command.env,
        cwd: command.cwd,
        files: &command.stdio,
        cgroup,
        dies_with_host: true,
    }
}

/// Starts the helper, which starts the leader and reports it.
fn spawn_helped(
    program: &Program,
    command: &Prepared<'_>,
    scratch: &mut Scratch,
) -> Result<Spawned, SpawnError> {
    let around = |errno| SpawnError::Around(Stage::Helper, errno);
    let (link, theirs) = link().map_err(around)?;
    let own = |text: &str| CString::new(text).unwrap_or_default();
    let mut argv = vec![
        own("ostler-helper"),
        own(protocol::RUN),
        own(&std::process::id().to_string()),
        command.cwd.map(CStr::to_owned).unwrap_or_default(),
        command.path.to_owned(),
    ];
    argv.extend_from_slice(command.argv);
    let [stdin, stdout, stderr] = command.stdio;
    let plan = Plan {
        image: program.image(),
        argv: &argv,
        env: command.env,
        cwd: None,
        files: &[stdin, stdout, stderr, theirs.as_fd()],
        cgroup: None,
        dies_with_host: false,
    };
    let helper = clone::spawn(&plan, scratch).map_err(|failed| match failed {
        // What is too long for the helper is too long for the command.
        Failed { stage: Stage::Exec, errno, .. } if errno != Errno::E2BIG => around(errno),
        failed => SpawnError::Process(failed),
    })?;
    drop(theirs);
    match leader(&link, command.limit) {
        Ok((pid, pidfd)) => {
            let helper = Helper { link, pid: helper.pid, pidfd: helper.pidfd, empty: false, gone: false };
            Ok(Spawned { pid, pidfd, tree: Tree::Helper(helper) })
        }
        Err(error) => {
            // Whatever it has started goes with it.
            drop(link);
            sys::wait_for_death(helper.pidfd.as_fd());
            // One that was stopped does not hear; its leader dies with it.
            let _ = sys::signal_process(helper.pidfd.as_fd(), Signal::SIGKILL);
            sys::wait_for_death(helper.pidfd.as_fd());
            let _ = sys::wait(helper.pidfd.as_fd(), true);
            Err(error)
        }
    }
}

/// The leader that a helper has started. The helper holds it, dead or alive, so its number is good.
fn leader(link: &Link, limit: Duration) -> Result<(u32, OwnedFd), SpawnError> {
    let around = |errno| SpawnError::Around(Stage::Helper, errno);
    match link.first(limit).map_err(around)? {
        Some(Told::Started { pid }) => Ok((pid, sys::open_process(pid).map_err(around)?)),
        Some(Told::Failed(Failed { stage: Stage::Helper, errno, .. })) => Err(around(errno)),
        Some(Told::Failed(failed)) => Err(SpawnError::Process(failed)),
        // It was killed before it could say anything.
        Some(Told::Exited { .. } | Told::Empty) | None => Err(SpawnError::Process(Failed {
            stage: Stage::Helper,
            errno: Errno::UnknownErrno,
            killed_by: Some(nix::libc::SIGKILL),
        })),
    }
}

/// Lets a helper fail at a program that does not exist: everything up to there has worked then.
fn try_helper(program: &Program, null: &File, scratch: &mut Scratch) -> Result<(), String> {
    members::readable().map_err(|error| error.to_string())?;
    crate::linux::proc::children(std::process::id())
        .map_err(|error| format!("/proc does not show who descends from whom: {error}"))?;
    let null = null.as_fd();
    let nothing = CString::default();
    let argv = [nothing.clone()];
    let command = Prepared {
        path: &nothing,
        argv: &argv,
        env: &[],
        cwd: None,
        stdio: [null, null, null],
        limit: TRIAL_LIMIT,
    };
    match spawn_helped(program, &command, scratch) {
        Err(SpawnError::Process(Failed { stage: Stage::Exec, errno: Errno::ENOENT, .. })) => Ok(()),
        Err(SpawnError::Process(failed)) => {
            Err(format!("the helper can't be run: {} ({})", failed.stage, failed.errno))
        }
        Err(SpawnError::Around(stage, errno)) => Err(format!("the helper can't be run: {stage} ({errno})")),
        Ok(_) => Err("the helper has run what does not exist".into()),
    }
}
