//! ostler looks after the long-running commands of AI agents.
pub use ostler_artifacts::{Page, ReadError, ReadRequest, Which};
pub use ostler_messages::{
    CallError, Capture, CommandId, Containment, Content, Entry, EnvMode, Filter, HandleId, LaunchError,
    LaunchRequest, Leftover, LeftoversPolicy, Limit, Outcome, Record, SessionId, Stage, Stamp, Status,
    Stream, Tally, Text, Usage,
};

mod graph;
mod host;
mod kernel;

pub use host::*;
pub use kernel::{Descendant, OnTerminate, Program, World};
