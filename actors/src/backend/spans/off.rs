//! In place of `on`, where the feature `tracing` is off: the same, of which nothing is left in a build.

use crate::config::Config;
use ostler_messages::{CallId, LaunchError, Record, Request};

/// How spans are made.
pub(crate) struct MakeSpans;
impl MakeSpans {
    pub(crate) fn new(_: &Config) -> MakeSpans {
        MakeSpans
    }
    pub(crate) fn asked(&self, _: &mut Request) -> Asked {
        Asked
    }
}

/// The span of a call that asks for a launch.
pub(crate) struct Asked;

impl Asked {
    /// Of nobody who listens.
    pub(crate) fn nobody() -> Asked {
        Asked
    }
}

/// The spans of live handles.
#[derive(Clone, Default)]
pub(crate) struct Spans(());
impl Spans {
    pub(crate) fn ask(&self, _: CallId, _: Asked) {}
    pub(crate) fn launch(&self, _: CallId, _: Option<u64>, _: Option<&LaunchError>) {}
    pub(crate) fn started(&self, _: u64, _: &Record) {}
    pub(crate) fn refused(&self, _: u64, _: &LaunchError) {}
    pub(crate) fn ended(&self, _: u64, _: &Record) {}
}
