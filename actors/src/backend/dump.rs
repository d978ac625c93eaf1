//! The last part of a trace, on its way from the graph to a file.
//!
//! * in: what a recorder held at a moment
//! * out: a trace that says how much of its beginning is missing
//! * keeps: lines that the recorder has, too, without a copy

use super::Trouble;
use ostler_artifacts::Root;
use ostler_messages::trace::Header;
use std::{
    io::{self, Write},
    sync::Arc,
};

/// Where the files of incidents go, and what is wrong with that.
#[derive(Clone)]
pub(crate) struct Dumps {
    pub(crate) root: Arc<Root>,
    pub(crate) trouble: Trouble,
}

/// See the [module](self).
pub(crate) struct Dump {
    pub(crate) header: Header,
    /// Whole lines, one piece after the other.
    pub(crate) pieces: Vec<Arc<Vec<u8>>>,
}
impl Dump {
    /// The header, and then the lines.
    pub(crate) fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(&self.header)?;
        line.push(b'\n');
        to.write_all(&line)?;
        self.pieces.iter().try_for_each(|piece| to.write_all(piece))
    }
}
