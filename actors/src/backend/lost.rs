//! The result of a command whose host was gone before it ended.
//!
//! * in: what a journal has of the command, and what became of its output and its tree
//! * out: its record
//! * keeps: the same on real processes and in a scripted world

use ostler_artifacts::Paths;
use ostler_journal::Command;
use ostler_messages::{CommandId, HandleId, LaunchRequest, Leftover, Output, Record, Status, StopCause};

/// `request`: what was asked for, as far as it can be read.
pub(crate) fn lost(
    (command_id, command): (CommandId, &Command),
    request: &LaunchRequest,
    paths: &Paths,
    output: Output,
    leftovers: impl FnOnce(&Record) -> Option<Vec<Leftover>>,
) -> Record {
    let blank = || {
        let handle_id = HandleId { host_pid: command_id.host_pid, n: command_id.n };
        let mut record = Record::new(command.session_id.clone(), command_id, handle_id);
        record.command = request.display();
        record.command_or_op_descriptor.clone_from(&record.command);
        (record.cwd, record.labels) = (request.cwd.clone(), request.labels.clone());
        record.output_path = paths.combined();
        (record.stdout_path, record.stderr_path) = (paths.stdout(), paths.stderr());
        record
    };
    let mut record = command.started.as_deref().cloned().unwrap_or_else(blank);
    record.set_output(output);
    record.exit_code = Some(-1);
    record.leftovers = leftovers(&record);
    record.end(Status::Lost, Some(StopCause::HostGone));
    record
}

/// What was asked for a command of a journal, if this ostler can read it.
pub(crate) fn request_of(command: &Command) -> LaunchRequest {
    serde_json::from_str(&command.request)
        .unwrap_or_else(|_| LaunchRequest::new(command.session_id.clone(), "?"))
}
