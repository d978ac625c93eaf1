//! A host without any runtime: a loop on a plain thread.
//! `cargo run --example sync_host`, or with `-- --scripted` in a world without a process or a clock.

mod common;

use ostler::{Condition, PatternSource, Ran};
use std::{error::Error, time::Duration};

const SOON: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let ostler = common::start()?;
    let session = ostler.open_session().wait()?;

    // Builds something. What takes long goes on, and is heard of later.
    let build = match session.run_for(common::command("build"), Duration::from_millis(20)).wait()? {
        Ran::Ended(ended) => ended.record,
        Ran::Running(handle) => {
            println!("goes on as {}: {}", handle.id(), handle.record().stdout.trim());
            let warning = handle.wait_for([Condition::text("warning")], SOON).wait()?;
            println!("heard: {}", warning.found().map_or("nothing", |found| &found.line));
            handle.result().wait()?.record
        }
        _ => return Err("another kind of answer".into()),
    };
    println!("build: {}", build.ending());

    // Starts a server, and waits until it listens.
    let server = session.launch(common::command("server")).wait()?;
    let waited = server.wait_for([Condition::any_port()], SOON).wait()?;
    println!("server listens: {}", waited.condition().is_some());

    // Answers a prompt.
    let setup = session.launch(common::command("setup").stdin_open()).wait()?;
    setup.wait_for([Condition::regex(r"\[y/N\] ?$"), Condition::Input], SOON).wait()?;
    setup.write("y\n").wait()?;
    println!("setup: {}", setup.result().wait()?.record.stdout.trim());

    // Reads the log, cancels, cleans up.
    let log = server.find(PatternSource::Literal("ready".into())).wait()?;
    println!("log: {} line", log.matches);
    println!("server: {}", server.cancel().wait()?.record.ending());
    let tally = session.end().wait()?;
    println!("ended: {} completed, {} killed, {} unread", tally.completed, tally.killed, tally.unread);
    ostler.shutdown().wait()?;
    Ok(())
}
