//! What every actor of the graph runs in, and how its messages travel.
//!
//! ```text
//! sender ──do_send(Sent(message))──▶ mailbox ──▶ Context ──number, record──▶ Tracer ──▶ sink
//!                                                   └─────handle(message)──▶ actor  ──a panic──▶ Down, to its parent
//! ```
//!
//! * [`Context`]: in place of actix's own, which hides panics.
//! * [`Tracer`]: numbers each message at its delivery, knows which other caused it, and records both.
//! * [`Sent`]: a message as actix knows it. The vocabulary itself (`ostler-messages`) does not know actix, so that a client can
//!   speak it without.

mod context;
mod tracer;

pub use context::{Context, Parent, Reserved, start};
pub use tracer::{Crashes, Sink, Tracer, entering, in_flight};

/// A message of the vocabulary on its way from actor to actor.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent<M>(pub M);
impl<M: 'static> actix::Message for Sent<M> {
    type Result = ();
}
