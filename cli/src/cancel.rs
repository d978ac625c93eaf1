//! `ostler cancel`: asks the host of a command.
//!
//! * in: what a person calls a command
//! * out: its stop, asked for through the socket of its host
//! * keeps: no process is signalled from here: only its host knows which are the command's

use crate::{args::CancelArgs, ask::ask, exit::Failure, stored, term};
use ostler::{ControlAnswer, ControlAsk, Stored, StoredState};

/// Stops it, waits for its end, and says how it ended.
pub(crate) fn cancel(args: &CancelArgs) -> Result<u8, Failure> {
    let root = stored::root(args.root.artifacts.as_ref());
    let command = stored::find(&root, &args.id)?;
    let id = command.command_id;
    let refused = |why: String| Failure::NotCancelled { id, why };
    if command.state() != StoredState::Running {
        return Err(refused(format!("it is over: {}", command.record().ending())));
    }
    let question = ControlAsk::Cancel { command_id: id, now: args.now };
    let why = match ask(&root, id, &question) {
        Ok(ControlAnswer::Cancelled { record, .. }) => {
            term::ended(&record);
            return Ok(0);
        }
        Ok(_) => "its host answers what is not understood here".to_owned(),
        Err(why) => why,
    };
    // A host that ended with it may have had no time to say so.
    if let Some(ended) = Stored::look(&root, id).filter(|stored| stored.state() == StoredState::Ended) {
        term::ended(&ended.record());
        return Ok(0);
    }
    Err(refused(why))
}
