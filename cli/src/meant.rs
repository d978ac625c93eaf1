//! What somebody may have meant who wrote something else.

use crate::exit::Failure;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use ostler::{Error, LaunchError};

/// Words of other programs, and what they are here.
const WORDS: &[(&str, &str)] = &[
    ("exec", "run"),
    ("inspect", "show"),
    ("jobs", "ps"),
    ("kill", "cancel"),
    ("list", "ps"),
    ("log", "logs"),
    ("ls", "ps"),
    ("prune", "gc"),
    ("start", "run"),
    ("status", "ps"),
    ("stop", "cancel"),
    ("tail", "logs"),
];
/// A program's name has none of them; a line for a shell has.
const OF_A_SHELL: &[char] = &[' ', '\t', '\n', '|', '&', ';', '<', '>', '$', '`', '*', '(', '"', '\''];

/// A wrong command line, with what was meant where that can be said.
pub(crate) fn by(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let word = word.clone();
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    if let Some((_, here)) = WORDS.iter().find(|(other, _)| *other == word) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::String((*here).to_owned()));
    } else if error.get(ContextKind::SuggestedSubcommand).is_none() {
        let tip = format!("to run a program: ostler run -- {}", quoted(&word));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What to try in place of what has failed.
pub(crate) fn instead(failure: &Failure) -> Option<String> {
    let launch = match failure {
        Failure::Ostler(Error::Launch(error)) => Some(error),
        #[cfg(feature = "nats")]
        Failure::Remote(failure) => match failure.instead() {
            None => failure.launch(),
            instead => return instead,
        },
        _ => None,
    };
    let Some(LaunchError::ProgramNotFound { program }) = launch else { return None };
    match program.split_once('=') {
        Some((name, _)) if !name.is_empty() && !name.contains(OF_A_SHELL) => {
            Some(format!("to set a variable: ostler run --env {} -- PROGRAM", quoted(program)))
        }
        _ if program.contains(OF_A_SHELL) => {
            Some(format!("a line for a shell is: ostler run -- sh -c {}", quoted(program)))
        }
        _ => None,
    }
}

pub(crate) fn quoted(text: &str) -> String {
    // Only a NUL byte can't be, and none is in an argument.
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), Into::into)
}
