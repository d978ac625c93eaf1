//! Lines of a client of `ostler mcp`. The server is whole; its commands are those of a scripted world, in which nothing can be harmed.

use crate::{files::made, pieces};
use ostler::{
    Config, LaunchRequest, Ostler,
    testing::{Program, Reaction, World},
};
use ostler_mcp::{Options, Server};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
};

/// What is on its way between the two.
const PIPE_BYTES: usize = 64 << 10;
/// In which a server ends whose client is gone: it waits for answers on their way for five seconds.
const END_LIMIT: Duration = Duration::from_secs(8);

fn program(request: &LaunchRequest) -> Option<Program> {
    let line = request.args.last().map_or_else(|| request.program.to_string(), ToString::to_string);
    let at = Duration::from_millis;
    let program = Program::new().stdout_at(at(1), format!("{line}\n"));
    Some(match line.len() % 3 {
        0 => program.exits_at(at(2), 0),
        1 => program.exits_at(at(200), 3),
        _ => program.prompts_at(at(3), "? ").on_line(|line| Reaction::says(line).exits(0)),
    })
}

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    let runtime = made(Builder::new_current_thread().enable_all().build());
    let said = runtime.block_on(talk(bytes));
    // A command that waits has a thread of the runtime.
    runtime.shutdown_background();
    assert!(said.is_empty() || said.ends_with(b"\n"), "half a line");
    let mut answers = BTreeMap::<String, usize>::new();
    for line in said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: Value = made(serde_json::from_slice(line));
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        let is_answer = message.get("result").is_some() || message.get("error").is_some();
        if let Some(error) = message.get("error") {
            let words = error["message"].as_str().unwrap_or_default();
            assert!(words.contains(' '), "an error that says nothing: {message}");
        }
        if let Some(id) = message.get("id").filter(|id| is_answer && !id.is_null()) {
            *answers.entry(id.to_string()).or_default() += 1;
        }
    }
    for (id, count) in answers {
        let asked = times_asked(bytes, &made(serde_json::from_str(&id)));
        assert!(count <= asked, "{count} answers to {asked} requests with the id {id}");
    }
}

/// How many lines could be requests with this id.
fn times_asked(bytes: &[u8], id: &Value) -> usize {
    let lines = bytes.split(|byte| *byte == b'\n');
    let ids = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    ids.filter(|message| message["id"] == *id).count()
}

async fn talk(bytes: &[u8]) -> Vec<u8> {
    let world = World::new();
    world.programs_by(program);
    let server = Server::new(Options::new(), move || {
        Ok(Ostler::scripted(Config::default(), &world)?.open_session().wait()?)
    });
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (read, write) = tokio::io::split(theirs);
    let (mut heard, mut says) = tokio::io::split(ours);
    let mut said = Vec::new();
    let speaks = async {
        for piece in pieces(bytes) {
            if says.write_all(piece).await.is_err() {
                break;
            }
        }
        // Its input ends; it still listens.
        let _ = says.shutdown().await;
    };
    let serves = server.serve(read, write, std::future::pending());
    let all = async { tokio::join!(serves, speaks, heard.read_to_end(&mut said)) };
    if tokio::time::timeout(END_LIMIT, all).await.is_err() {
        panic!("the client is gone, and the server does not end");
    }
    said
}
