//! `ostler replay`: a recorded trace, run again.

use crate::{args::ReplayArgs, exit::Failure, term};
use serde_json::json;
use std::io::{self, Write};

/// What came out is another.
const DIFFERS: u8 = 1;

pub(crate) fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let replayed = ostler::trace::replay(&args.file)?;
    if args.json {
        let difference = replayed.difference.as_ref().map(|found| {
            let input = found.input.as_ref().map(|(line, text)| json!({ "line": line, "text": text }));
            json!({ "line": found.line, "recorded": found.recorded, "replayed": found.replayed, "input": input })
        });
        term::print_line(&json!({
            "identical": replayed.is_identical(),
            "records": replayed.records,
            "cut": replayed.cut,
            "difference": difference,
        }))?;
    } else {
        writeln!(io::stdout(), "{replayed}")?;
    }
    Ok(if replayed.is_identical() { 0 } else { DIFFERS })
}
