//! `ostler cancel`: asks the host of a command.
//!
//! * in: what a person calls a command
//! * out: its stop, asked for through the socket of its host
//! * keeps: no process is signalled from here: only its host knows which are the command's

use crate::{args::CancelArgs, exit::Failure, stored, term};
use ostler::{ControlAnswer, ControlAsk, Stored, StoredState, connect_to_host};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// How long a host may take to say that it has heard the question.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// Stops it, waits for its end, and says how it ended.
pub(crate) fn cancel(args: &CancelArgs) -> Result<u8, Failure> {
    let root = stored::root(args.root.artifacts.as_ref());
    let command = stored::find(&root, &args.id)?;
    let id = command.command_id;
    let refused = |why: String| Failure::NotCancelled { id, why };
    if command.state() != StoredState::Running {
        return Err(refused(format!("it is over: {}", command.record().ending())));
    }
    let ask = ControlAsk::Cancel { command_id: id, now: args.now };
    let hosts =
        connect_to_host(&root, id.host_pid).map_err(|source| Failure::Root { root: root.clone(), source })?;
    let mut why = format!("its host (pid {}) takes no calls from outside", id.host_pid);
    // Several hosts can have the pid: whichever does not know the command refuses.
    for host in hosts {
        match asked(&host, &ask) {
            Ok(ControlAnswer::Cancelled { record, .. }) => {
                term::say(|out| term::summary(out, &record));
                return Ok(0);
            }
            Ok(ControlAnswer::Refused { why: said }) => why = said,
            Ok(_) => why = "its host answers what is not understood here".to_owned(),
            Err(error) => why = format!("its host (pid {}) does not answer: {error}", id.host_pid),
        }
    }
    // A host that ended with it may have had no time to say so.
    if let Some(ended) = Stored::look(&root, id).filter(|stored| stored.state() == StoredState::Ended) {
        term::say(|out| term::summary(out, &ended.record()));
        return Ok(0);
    }
    Err(refused(why))
}

fn asked(mut host: &UnixStream, ask: &ControlAsk) -> io::Result<ControlAnswer> {
    host.set_write_timeout(Some(ASK_LIMIT))?;
    host.set_read_timeout(Some(ASK_LIMIT))?;
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    host.write_all(&line)?;
    let mut lines = BufReader::new(host.take(ostler::CONTROL_ANSWER_MAX_BYTES));
    let mut next = || -> io::Result<ControlAnswer> {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    };
    match next()? {
        ControlAnswer::Heard => {
            // As long as the command's grace takes; a host that ends closes it.
            host.set_read_timeout(None)?;
            next()
        }
        other => Ok(other),
    }
}
