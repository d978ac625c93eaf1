//! The kernel as an actor: what the graph asks of the world passes here, so that it stands in the trace. What the
//! world answers enters through the gate.

use crate::kernel::{Backend, Command};
use actix::{Actor, Handler};
use ostler_messages::{Arm, Close, Disarm, Exec, Peek, Pull, Release, Seal, Signal, Sweep, context::Context};

pub(crate) struct KernelActor {
    backend: Backend,
}
impl KernelActor {
    pub(crate) fn new(backend: Backend) -> KernelActor {
        KernelActor { backend }
    }
}
impl Actor for KernelActor {
    type Context = Context<KernelActor>;
}

macro_rules! forward {
    ($($message:ident),*) => {$(
        impl Handler<$message> for KernelActor {
            type Result = ();
            fn handle(&mut self, message: $message, _: &mut Context<KernelActor>) {
                self.backend.perform(Command::$message(message));
            }
        }
    )*};
}
forward!(Exec, Signal, Sweep, Seal, Release, Arm, Disarm, Pull, Close, Peek);
