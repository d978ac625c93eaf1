//! `ostler cancel`: asks the host of a command.
//!
//! * in: what a person calls a command
//! * out: its stop, asked for through the socket of its host
//! * keeps: no process is signalled from here: only its host knows which are the command's

use crate::{args::CancelArgs, exit::Failure, stored, term};
use ostler::{ControlAnswer, ControlAsk, HandleId, StoredState, connect_to_host};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// How long a host may take to read the question.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// Stops it, waits for its end, and says how it ended.
pub(crate) fn cancel(args: &CancelArgs) -> Result<u8, Failure> {
    let root = stored::root(args.artifacts.as_ref());
    let command = stored::find(&root, &args.id)?;
    let id = command.command_id;
    let refused = |why: String| Failure::NotCancelled { id, why };
    if command.state() != StoredState::Running {
        return Err(refused(format!("it is over: {}", command.record().ending())));
    }
    let handle_id = HandleId { host_pid: id.host_pid, n: id.n };
    let ask = ControlAsk::Cancel { handle_id, now: args.now };
    let hosts =
        connect_to_host(&root, id.host_pid).map_err(|source| Failure::Root { root: root.clone(), source })?;
    let mut why = format!("its host (pid {}) takes no calls from outside", id.host_pid);
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
    Err(refused(why))
}

fn asked(mut host: &UnixStream, ask: &ControlAsk) -> io::Result<ControlAnswer> {
    host.set_write_timeout(Some(ASK_LIMIT))?;
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    host.write_all(&line)?;
    let mut answer = Vec::new();
    // As long as the command's grace takes; a host that ends closes it.
    BufReader::new(host.take(ostler::CONTROL_ANSWER_MAX_BYTES)).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
