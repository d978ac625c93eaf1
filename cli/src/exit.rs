//! How the binary ends: every exit code has its reason here.

use crate::meant;
use nix::sys::signal::Signal;
use ostler::{CommandId, Error, LaunchError, Record, StartError, Status};
use std::{io, path::PathBuf};

/// The command's deadline or idle time passed (as timeout(1) has it).
pub(crate) const TIMED_OUT: u8 = 124;
/// Ostler's own error, a wrong command line included.
pub(crate) const OWN_ERROR: u8 = 125;
/// The program is there and can't be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The program is not there.
pub(crate) const NOT_FOUND: u8 = 127;
/// Added to the number of a signal.
const BY_SIGNAL: u8 = 128;
/// Realtime signals are named by their distance from this one, which the C library moves up by two or three.
const SIGRTMIN: u8 = 34;

/// Why a run ended without a result, or a demo before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No graph.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The graph refused.
    #[error(transparent)]
    Ostler(#[from] Error),
    /// Another machine, or the way to it.
    #[cfg(feature = "nats")]
    #[error(transparent)]
    Remote(#[from] crate::remote::Failure),
    /// A trace that can't be read.
    #[error(transparent)]
    Trace(#[from] ostler::trace::TraceError),
    /// A trace without this command.
    #[error("{text:?} is no handle of this trace; it has {names}")]
    NotInTrace {
        /// What was asked for.
        text: String,
        /// Those that there are.
        names: String,
    },
    /// A configuration that was not written.
    #[error(transparent)]
    Init(#[from] crate::init::InitError),
    /// A trace that can't be replayed.
    #[error(transparent)]
    Replay(#[from] ostler::trace::ReplayError),
    /// Ostler's own stdout or stderr.
    #[error("output: {0}")]
    Output(#[from] io::Error),
    /// No such command.
    #[error("{text:?} names no command in {}; `ostler ps --all` shows what there is", root.display())]
    Unknown {
        /// What was asked for.
        text: String,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// More than one.
    #[error("{text:?} fits {count} commands; write more of it: {fits}{}", if *count > 3 { ", …" } else { "" })]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Some of those that it fits.
        fits: String,
        /// How many there are.
        count: usize,
    },
    /// It belongs to a host that lives.
    #[error("{id} belongs to a host that lives (pid {pid}), which does not remove it: {why}")]
    Lives {
        /// Which.
        id: CommandId,
        /// Its host.
        pid: u32,
        /// What the host says.
        why: String,
    },
    /// Its host was not to be asked.
    #[error("{id} can't be cancelled: {why}")]
    NotCancelled {
        /// Which.
        id: CommandId,
        /// Why.
        why: String,
    },
    /// The artifacts can't be looked at, or not be removed.
    #[error("{}: {source}", root.display())]
    Root {
        /// Where.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of settings.
    #[error("{}: {why}; `ostler config` shows what can be set", path.display())]
    Settings {
        /// Which file.
        path: PathBuf,
        /// The setting, and what is wrong.
        why: String,
    },
    /// The manual has no such page.
    #[error("{name:?} is no subcommand; `ostler --help` names them")]
    NoPage {
        /// What was asked for.
        name: String,
    },
    /// No thread, no signal handler, no temporary file.
    #[error("{what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
impl Failure {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
        move |source| Failure::System { what, source }
    }
    /// What the shell gets to see.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Ostler(Error::Launch(error)) => of_launch(error),
            #[cfg(feature = "nats")]
            Failure::Remote(failure) => failure.launch().map_or(OWN_ERROR, of_launch),
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                BY_SIGNAL + Signal::SIGPIPE as u8
            }
            _ => OWN_ERROR,
        }
    }
}

/// A wrong command line, for a program.
pub(crate) fn usage(error: &clap::Error) -> serde_json::Value {
    serde_json::json!({ "error": "usage", "message": error.render().to_string().trim_end() })
}

/// What a program gets to see: `error` names it, `message` says it in words, and there are the fields that it has.
pub(crate) fn json(failure: &Failure) -> serde_json::Value {
    let mut json = match failure {
        Failure::Ostler(Error::Launch(error)) => serde_json::json!(error),
        Failure::Ostler(Error::Call(error)) => serde_json::json!(error),
        Failure::Start(_) => serde_json::json!({ "error": "not_started" }),
        Failure::Unknown { text, root } => {
            serde_json::json!({ "error": "unknown_id", "id": text, "root": root.display().to_string() })
        }
        Failure::Ambiguous { text, count, .. } => {
            serde_json::json!({ "error": "ambiguous_id", "id": text, "count": count })
        }
        Failure::Root { root, source } => {
            serde_json::json!({ "error": "root_unreadable", "root": root.display().to_string(), "os_error": source.raw_os_error() })
        }
        Failure::System { what, source } => {
            serde_json::json!({ "error": "system", "stage": what, "os_error": source.raw_os_error() })
        }
        Failure::Output(source) => {
            serde_json::json!({ "error": "output", "os_error": source.raw_os_error() })
        }
        Failure::Settings { path, .. } => {
            serde_json::json!({ "error": "settings", "file": path.display().to_string() })
        }
        #[cfg(feature = "nats")]
        Failure::Remote(failure) => failure.json(),
        Failure::Replay(_) => serde_json::json!({ "error": "not_replayed" }),
        Failure::Ostler(_)
        | Failure::Init(_)
        | Failure::Trace(_)
        | Failure::NotInTrace { .. }
        | Failure::Lives { .. }
        | Failure::NotCancelled { .. }
        | Failure::NoPage { .. } => {
            serde_json::json!({ "error": "failed" })
        }
    };
    json["message"] = failure.to_string().into();
    if let Some(instead) = meant::instead(failure) {
        json["instead"] = instead.into();
    }
    json
}

/// What the shell gets to see when a signal ended ostler itself.
pub(crate) fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(OWN_ERROR, |signal| BY_SIGNAL.saturating_add(signal))
}

fn of_launch(error: &LaunchError) -> u8 {
    match error {
        LaunchError::ProgramNotFound { .. } | LaunchError::InterpreterMissing { .. } => NOT_FOUND,
        LaunchError::PermissionDenied { stage: ostler::Stage::Cwd, .. } => OWN_ERROR,
        LaunchError::PermissionDenied { .. }
        | LaunchError::ProgramIsDirectory { .. }
        | LaunchError::NotExecutableFormat { .. }
        | LaunchError::TextBusy { .. } => NOT_EXECUTABLE,
        _ => OWN_ERROR,
    }
}

/// What the shell gets to see of a result; `stopped` is the code of whatever made ostler cancel it. A command that had
/// ended before the cancel reached it is `completed`, and its own code counts.
pub(crate) fn of_result(record: &Record, stopped: Option<u8>) -> u8 {
    match record.status {
        Status::TimedOut => TIMED_OUT,
        Status::Completed => own_code(record),
        Status::Killed => stopped.unwrap_or_else(|| own_code(record)),
        Status::Running | Status::Lost => OWN_ERROR,
    }
}

fn own_code(record: &Record) -> u8 {
    let code = match &record.signal {
        Some(name) => number(name).map(|number| BY_SIGNAL.saturating_add(number)),
        None => record.exit_code.and_then(|code| u8::try_from(code).ok()),
    };
    code.unwrap_or(OWN_ERROR)
}

/// The number of a signal as a record names it: `SIGKILL`, `SIGRTMIN+3`, `signal 33`.
fn number(name: &str) -> Option<u8> {
    if let Some(distance) = name.strip_prefix("SIGRTMIN") {
        let distance: u8 = if distance.is_empty() { 0 } else { distance.strip_prefix('+')?.parse().ok()? };
        return SIGRTMIN.checked_add(distance);
    }
    match name.strip_prefix("signal ") {
        Some(number) => number.parse().ok(),
        None => name.parse::<Signal>().ok().map(|signal| signal as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_signal_has_its_number() {
        assert_eq!(number("SIGKILL"), Some(9));
        assert_eq!(number("SIGRTMIN"), Some(34));
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("signal 33"), Some(33));
        assert_eq!(number("nonsense"), None);
    }
}
