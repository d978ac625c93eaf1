//! `ostler explain`: why a result says what it says.

use crate::{args::ExplainArgs, exit::Failure, trace::handle};
use ostler::trace::Trace;
use std::io::{self, Write};

pub(crate) fn explain(args: &ExplainArgs) -> Result<u8, Failure> {
    let trace = Trace::read(&args.file)?;
    // Also one of an earlier life of the host, which has no messages of its own here.
    let handle = args.handle.as_ref().map(|text| text.parse().or_else(|_| handle(&trace, text)));
    write!(io::stdout(), "{}", trace.explain(handle.transpose()?))?;
    Ok(0)
}
