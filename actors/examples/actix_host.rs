//! A host that is itself an actix system: deliveries come to its actor as messages. `cargo run --example actix_host`, or with
//! `-- --scripted`.

mod common;

use actix::{Actor, ActorContext, Context, Handler, Message, System};
use ostler::{Condition, Filter, Handle, Notified, Subscribed};
use std::{error::Error, time::Duration};

const SOON: Duration = Duration::from_secs(20);

/// The agent: it launches, is told of results, and answers.
struct Agent {
    /// So many results are still to come.
    expected: usize,
}
impl Actor for Agent {
    type Context = Context<Agent>;
}
impl Handler<Notified> for Agent {
    type Result = ();
    fn handle(&mut self, notified: Notified, ctx: &mut Context<Agent>) {
        match notified.item {
            Some(Subscribed::Entry(entry)) => {
                println!("told of: {}", entry.record().map_or_else(String::new, |record| record.ending()));
                self.expected -= 1;
            }
            Some(_) => {}
            None => self.expected = 0,
        }
        if self.expected == 0 {
            ctx.stop();
            System::current().stop();
        }
    }
}

/// A prompt stands there.
struct Prompted(Handle);
impl Message for Prompted {
    type Result = ();
}
impl Handler<Prompted> for Agent {
    type Result = ();
    fn handle(&mut self, Prompted(setup): Prompted, _: &mut Context<Agent>) {
        // A handler does not wait: it begins the call, and lets a task see to it.
        let answer = setup.write("y\n").begin();
        actix::spawn(async move { println!("answered: {:?}", answer.await.map(|written| written.taken)) });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let ostler = common::start()?;
    let system = System::new();
    let result: Result<_, ostler::Error> = system.block_on(async {
        let session = ostler.open_session().await?;
        let agent = Agent { expected: 3 }.start();
        let inbox = session.inbox();
        let subscription = inbox.subscribe_to(Filter::results(), agent.clone().recipient()).await?;
        session.launch(common::command("build")).await?;
        let server = session.launch(common::command("server")).await?;
        let waited = server.wait_for([Condition::any_port()], SOON).await?;
        println!("server listens: {}", waited.condition().is_some());
        let setup = session.launch(common::command("setup").stdin_open()).await?;
        setup.wait_for([Condition::regex(r"\[y/N\] ?$"), Condition::Input], SOON).await?;
        agent.do_send(Prompted(setup.clone()));
        println!("setup: {}", setup.exited().await?.stdout.trim());
        println!("log: {}", server.read().last_lines(1).await?.text().trim());
        server.cancel_and_notify().await?;
        Ok((session, subscription))
    });
    let (session, _subscription) = result?;
    system.run()?;
    println!("ended: {} completed", session.end().wait()?.completed);
    Ok(())
}
