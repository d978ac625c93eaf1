//! What `ostler run` can't do on another machine.

use super::Failure;
use crate::{args::RunArgs, values::Left};

/// The first option that was asked for and can't be had.
pub(super) fn refused(args: &RunArgs) -> Result<(), Failure> {
    let not = |option, why| Err(Failure::NotThere { option, why });
    if args.pty {
        return not("--pty", "a terminal there would not be this one");
    }
    if args.events {
        return not("--events", "--json has the result");
    }
    if args.leftovers == Left::Keep {
        return not("--leftovers keep", "what outlives a command is ended there");
    }
    if args.show_path {
        return not("--show-path", "its output is kept by the server; `ostler logs --pool` prints it");
    }
    if args.trace.is_some() {
        return not("--trace", "the actors are those of its worker");
    }
    if args.root.artifacts.is_some() {
        return not("--artifacts", "it is an option of `ostler worker`");
    }
    Ok(())
}
