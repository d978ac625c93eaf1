//! The kernel as an actor: what the graph asks of the world passes here, so that it stands in the trace. What the world
//! answers enters through the router.

use crate::backend::Kernel;
use actix::{Actor, Handler};
use ostler_context::{Context, Sent};
use ostler_messages::{
    Arm, Close, Disarm, EndInput, Exec, Feed, Follow, ForgetSession, Freeze, KernelCommand, LookForPorts,
    Peek, Raise, Release, Retain, Seal, SetSize, Signal, Survey, Sweep, Thaw, Unfollow,
};
use std::{cell::RefCell, rc::Rc};

pub(crate) struct KernelActor {
    kernel: Rc<RefCell<Box<dyn Kernel>>>,
}
impl KernelActor {
    pub(crate) fn new(kernel: Rc<RefCell<Box<dyn Kernel>>>) -> KernelActor {
        KernelActor { kernel }
    }
}
impl Actor for KernelActor {
    type Context = Context<KernelActor>;
}

macro_rules! forward {
    ($($message:ident),*) => {$(
        impl Handler<Sent<$message>> for KernelActor {
            type Result = ();
            fn handle(&mut self, Sent(message): Sent<$message>, _: &mut Context<KernelActor>) {
                self.kernel.borrow_mut().perform(KernelCommand::$message(message));
            }
        }
    )*};
}
forward!(
    Arm,
    Close,
    Disarm,
    EndInput,
    Exec,
    Feed,
    Follow,
    ForgetSession,
    Freeze,
    LookForPorts,
    Peek,
    Raise,
    Release,
    Retain,
    Seal,
    SetSize,
    Signal,
    Survey,
    Sweep,
    Thaw,
    Unfollow
);
