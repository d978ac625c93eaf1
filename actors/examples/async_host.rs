//! A host on multi-threaded tokio. `cargo run --example async_host`, or with `-- --scripted`.

mod common;

use ostler::{Condition, Filter, Record, Session, Subscribed};
use std::{error::Error, sync::Arc, time::Duration};

const SOON: Duration = Duration::from_secs(20);

/// What a task of the agent does: it never blocks its thread.
async fn build(session: Session) -> Result<Arc<Record>, ostler::Error> {
    let handle = session.launch(common::command("build")).await?;
    // A select or a timeout around any call is safe: what it would have brought stays where it was.
    let _ = tokio::time::timeout(Duration::from_millis(5), handle.result()).await;
    Ok(handle.result().await?.record)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let ostler = common::start()?;
    let session = ostler.open_session().await?;

    // Hears of everything that comes to the inbox, beside whoever takes it.
    let inbox = session.inbox();
    let mut entries = inbox.subscribe(Filter::results()).await?;

    println!("build: {}", tokio::spawn(build(session.clone())).await??.ending());

    let server = session.launch(common::command("server")).await?;
    let waited = server.wait_for([Condition::any_port()], SOON).await?;
    println!("server listens: {}", waited.condition().is_some());

    let setup = session.launch(common::command("setup").stdin_open()).await?;
    setup.wait_for([Condition::regex(r"\[y/N\] ?$"), Condition::Input], SOON).await?;
    setup.write("y\n").await?;
    setup.exited().await?;
    if let Some(Subscribed::Entry(entry)) = entries.next().await {
        println!("heard of: {}", entry.record().map_or("nothing", |record| record.stdout.trim()));
    }

    // Reads, deals with it, and only then says that it has it.
    let read = inbox.read(Filter::results(), 10).await?;
    println!("read: {}", read.len());
    for entry in &read {
        println!("notice begins: {}", entry.notice().lines().next().unwrap_or(""));
    }
    inbox.acknowledge(read.last().map_or(0, |entry| entry.sequence)).await?;

    println!("log: {}", server.read().last_lines(1).clean().await?.text().trim());
    println!("server: {}", server.cancel().await?.record.ending());
    let tally = session.end().await?;
    println!("ended: {} completed, {} killed, {} unread", tally.completed, tally.killed, tally.unread);
    ostler.shutdown().await?;
    Ok(())
}
