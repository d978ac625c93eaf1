//! What can go wrong on the way to another machine.

use crate::meant::quoted;
use ostler::LaunchError;
use ostler_remote::{Error, LaunchId, Session};

/// Why it was not done there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server, a worker, or the launch.
    #[error(transparent)]
    Remote(#[from] Error),
    /// Nobody has said that it runs. It may all the same, until its session ends.
    #[error("{}", if again.is_some() { source.to_string() } else { anew(source) })]
    Unanswered {
        /// What is known.
        source: Box<Error>,
        /// Which.
        launch: LaunchId,
        /// How to launch it again; none: its session has ended with it, so that nothing of it runs.
        again: Option<String>,
    },
    /// Nobody has said where the server is.
    #[error("--nats: say where the server is, like nats://127.0.0.1:4222, or set NATS_URL")]
    NoServer,
    /// Nobody has said which pool.
    #[error("--pool: say which")]
    NoPool,
    /// An option that does nothing there.
    #[error("{option} can't be had on another machine: {why}")]
    NotThere {
        /// Which.
        option: &'static str,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A name that was made from the host's is none.
    #[error("--name: the host's name {host:?} has no letter or digit; give one")]
    NoName {
        /// The host's.
        host: String,
    },
    /// No such launch.
    #[error("{text:?} names no launch of pool {pool}; `ostler ps --pool {pool} --all` shows what there is")]
    Unknown {
        /// What was asked for.
        text: String,
        /// Where it was looked for.
        pool: ostler_remote::Pool,
    },
    /// More than one.
    #[error("{text:?} fits {count} launches; write more of it, or --session: {fits}{}", if *count > 3 { ", …" } else { "" })]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Some of those that it fits.
        fits: String,
        /// How many there are.
        count: usize,
    },
    /// It is not running any more.
    #[error("{launch} can't be cancelled: it is over: {ending}")]
    Ended {
        /// Which.
        launch: ostler_remote::LaunchId,
        /// How.
        ending: String,
    },
}
impl Failure {
    /// Of a launch in this session, which is its `own` or stays open.
    pub(crate) fn of_launch(error: Error, session: &Session, own: bool) -> Failure {
        let (Error::NotClaimed { launch } | Error::Unknown { launch, .. }) = &error else {
            return error.into();
        };
        let (launch, pool, id) = (launch.clone(), session.pool(), quoted(session.id().as_str()));
        let again = format!("ostler run --pool {pool} --session {id} --launch-id {launch} -- PROGRAM");
        Failure::Unanswered { source: error.into(), launch, again: (!own).then_some(again) }
    }
    /// What to do about it.
    pub(crate) fn instead(&self) -> Option<String> {
        match self {
            Failure::Unanswered { again, .. } => again
                .as_ref()
                .map(|again| format!("to launch it again under this id, and never twice: {again}")),
            _ => None,
        }
    }
    /// Why a command did not start, as on this machine.
    pub(crate) fn launch(&self) -> Option<&LaunchError> {
        match self {
            Failure::Remote(Error::Launch(error)) => Some(error),
            _ => None,
        }
    }
    /// What a program gets to see, but for the message.
    pub(crate) fn json(&self) -> serde_json::Value {
        if let Some(error) = self.launch() {
            return serde_json::json!(error);
        }
        let name = match self {
            Failure::Remote(error) => named(error),
            Failure::Unanswered { source, launch, .. } => {
                return serde_json::json!({ "error": named(source), "launch": launch });
            }
            Failure::NoServer | Failure::NoPool | Failure::NoName { .. } => "usage",
            Failure::NotThere { option, .. } => {
                return serde_json::json!({ "error": "not_remote", "option": option });
            }
            Failure::Unknown { text, .. } => {
                return serde_json::json!({ "error": "unknown_id", "id": text });
            }
            Failure::Ambiguous { text, count, .. } => {
                return serde_json::json!({ "error": "ambiguous_id", "id": text, "count": count });
            }
            Failure::Ended { .. } => "failed",
        };
        serde_json::json!({ "error": name })
    }
}

/// Of one whose session is over.
fn anew(error: &Error) -> String {
    let what = match error {
        Error::Unknown { launch, why } => {
            format!("launch {launch}: it was not known whether it runs ({why})")
        }
        Error::NotClaimed { launch } => format!("launch {launch}: nobody has claimed it"),
        other => other.to_string(),
    };
    format!("{what}; its session ends with it, and whatever has come of it: run it anew")
}

fn named(error: &Error) -> &'static str {
    match error {
        Error::Connect { .. } => "not_connected",
        Error::Server { .. } => "server",
        Error::NoWorker { .. } => "no_worker",
        Error::NotClaimed { .. } => "not_claimed",
        Error::Unknown { .. } => "unknown_launch",
        Error::LaunchReused { .. } => "launch_reused",
        Error::SessionEnded { .. } => "session_closed",
        Error::WorkerSilent { .. } => "worker_silent",
        Error::Worker { .. } | Error::Graph(_) => "worker",
        Error::Output { .. } => "output",
        Error::NameInUse { .. } => "name_in_use",
        Error::Name(_) | Error::Option { .. } => "usage",
        _ => "failed",
    }
}

impl From<Error> for crate::exit::Failure {
    fn from(error: Error) -> crate::exit::Failure {
        Failure::from(error).into()
    }
}
