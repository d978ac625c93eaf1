//! A host that is killed in the middle of a build and started again: its agent hears what became of the build.
//! `cargo run -p ostler --features journal --example restarted_host`: kill it as it says, and run it again.

use ostler::{Command, Condition, Config, Filter, Journal, Ostler, Session};
use std::{error::Error, time::Duration};

const SOON: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let ostler = Ostler::start(Config::new().journal(Journal::named("restarted-host")))?;
    let found = ostler.recovered();
    found.trouble.iter().for_each(|trouble| eprintln!("not all could be recovered: {trouble}"));
    // The conversation that was going on, or a new one.
    let id =
        found.sessions.first().map_or_else(|| format!("chat-{}", std::process::id()), ToString::to_string);
    let chat = ostler.open_session_as(id).wait()?;
    match chat.is_recovered() {
        false => builds(&chat)?,
        true => goes_on(&chat)?,
    }
    chat.end().wait()?;
    ostler.shutdown().wait()?;
    Ok(())
}

/// A build that takes long. The key names the work in its conversation, in this life and the next.
fn build(seconds: u32) -> Command {
    let script = format!("echo compiling; sleep {seconds}; echo done");
    Command::new("sh").args(["-c", &script]).launch_key("build").label("task", "release")
}

/// The first life: it does not come to its end, if somebody kills it.
fn builds(chat: &Session) -> Result<(), Box<dyn Error>> {
    let handle = chat.launch(build(60)).wait()?;
    handle.wait_for([Condition::text("compiling")], SOON).wait()?;
    println!("{} builds; now kill this host: kill -9 {}", handle.id(), std::process::id());
    println!("build: {}", handle.result().wait()?.record.ending());
    Ok(())
}

/// The next one: what the agent has not heard stands in the inbox, with what became of the build.
fn goes_on(chat: &Session) -> Result<(), Box<dyn Error>> {
    let inbox = chat.inbox();
    let unread = inbox.read(Filter::any(), 100).wait()?;
    for entry in &unread {
        println!("the agent hears:\n{}\n", entry.notice());
    }
    // Once the conversation is stored with it; not before.
    if let Some(last) = unread.last() {
        inbox.acknowledge(last.sequence).wait()?;
    }
    // The key still finds that build, so nobody starts the work twice without wanting to.
    let before = chat.launch(build(60)).wait()?.result().wait()?;
    println!("the build of before: {}", before.record.ending());
    // The agent wants to.
    let again = chat.launch(build(0).launch_key("build, once more")).wait()?;
    println!("once more: {}", again.result().wait()?.record.ending());
    Ok(())
}
