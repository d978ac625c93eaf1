//! Asking the host of a command, through its socket.
//!
//! * in: a question about a command
//! * out: the answer of whichever host has it, or why nobody has answered
//! * keeps: no wait for a host that does not say at once that it has heard

use ostler::{CommandId, ControlAnswer, ControlAsk, Labels, Record, connect_to_host};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long a host may take to say that it has heard the question.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// The same for what somebody looks at who waits for nothing.
const LIST_LIMIT: Duration = Duration::from_millis(200);

/// Asks. The error says why there is no answer.
pub(crate) fn ask(
    root: &Path,
    command_id: CommandId,
    question: &ControlAsk,
) -> Result<ControlAnswer, String> {
    let pid = command_id.host_pid;
    let hosts = connect_to_host(root, pid).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut why = format!("its host (pid {pid}) takes no calls from outside");
    // Several hosts can have the pid: whichever does not know the command refuses.
    for host in hosts {
        // As long as the command's grace takes; a host that ends closes it.
        match asked(&host, question, ASK_LIMIT, None) {
            Ok(ControlAnswer::Refused { why: said }) => why = said,
            Ok(answer) => return Ok(answer),
            Err(error) => why = format!("its host (pid {pid}) does not answer: {error}"),
        }
    }
    Err(why)
}

/// What the hosts of this pid run, as far as they say it soon: one that was stopped does not.
pub(crate) fn listed(root: &Path, host_pid: u32) -> Vec<Record> {
    let question = ControlAsk::List { labels: Labels::new() };
    let hosts = connect_to_host(root, host_pid).unwrap_or_default();
    let answers = hosts.iter().filter_map(|host| asked(host, &question, LIST_LIMIT, Some(LIST_LIMIT)).ok());
    let records = answers.filter_map(|answer| match answer {
        ControlAnswer::Listed { records } => Some(records),
        _ => None,
    });
    records.flatten().collect()
}

/// `hears` bounds the word that it was heard, `answers` the answer.
fn asked(
    mut host: &UnixStream,
    question: &ControlAsk,
    hears: Duration,
    answers: Option<Duration>,
) -> io::Result<ControlAnswer> {
    host.set_write_timeout(Some(hears))?;
    host.set_read_timeout(Some(hears))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    // A host that refuses before it has read says why all the same.
    let written = host.write_all(&line);
    let mut lines = BufReader::new(host.take(ostler::CONTROL_ANSWER_MAX_BYTES));
    let mut next = || -> io::Result<ControlAnswer> {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    };
    match next().or_else(|error| written.and(Err(error)))? {
        ControlAnswer::Heard => {
            host.set_read_timeout(answers)?;
            next()
        }
        other => Ok(other),
    }
}
