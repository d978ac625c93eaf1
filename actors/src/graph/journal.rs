//! What is to survive the host passes here on its way to the writer, so that it stands in the trace.
//!
//! * in: appends of the supervisor, the inbox and the processes; what the writer says
//! * out: appends to the writer; `Cleared` to the host, for the answers that wait
//! * keeps: it decides nothing: each message is one call of [`Journal`]

use super::actors::CoreActors;
use crate::{
    backend::{Kernel, Trouble},
    core::journal::{Effect, Journal, LOOK_MS},
};
use actix::{Actor, Handler};
use ostler_context::{Context, Sent};
use ostler_messages::{
    ActorName, Append, AppendAll, Arm, ClaimSession, Cleared, JournalBack, JournalFailed, JournalTrouble,
    KernelCommand, Recorded, SessionClaimed, TimerFired, TimerKind, WriteAgain,
};
use std::{cell::RefCell, rc::Rc};

pub(crate) struct JournalActor {
    journal: Journal,
    kernel: Rc<RefCell<Box<dyn Kernel>>>,
    core_actors: Rc<CoreActors>,
    /// For who asks from outside.
    trouble: Trouble,
}
impl JournalActor {
    pub(crate) fn new(
        kernel: Rc<RefCell<Box<dyn Kernel>>>,
        core_actors: Rc<CoreActors>,
        trouble: Trouble,
    ) -> JournalActor {
        JournalActor { journal: Journal::new(), kernel, core_actors, trouble }
    }

    fn perform(&self, effects: Vec<Effect>) {
        let CoreActors { host, kernel, supervisor, inbox, .. } = &*self.core_actors;
        for effect in effects {
            match effect {
                Effect::Append(append) => {
                    self.kernel.borrow_mut().perform(KernelCommand::Append(append));
                }
                Effect::Claim(session_id) => {
                    let claim = ClaimSession { session_id };
                    self.kernel.borrow_mut().perform(KernelCommand::ClaimSession(claim));
                }
                Effect::Claimed { session_id, held_by, next } => {
                    supervisor.do_send(Sent(SessionClaimed { session_id, held_by, next }));
                }
                Effect::Clear(marks) => host.do_send(Sent(Cleared { marks })),
                Effect::Arm => {
                    let (owner, kind) = (ActorName::Journal, TimerKind::JournalLimit);
                    kernel.do_send(Sent(Arm { owner, kind, after_ms: LOOK_MS }));
                }
                Effect::Trouble(error) => {
                    self.trouble.set(Some(error.clone()));
                    inbox.do_send(Sent(JournalTrouble { error }));
                }
                Effect::Works => self.trouble.set(None),
                Effect::WriteAgain => {
                    supervisor.do_send(Sent(WriteAgain {}));
                    inbox.do_send(Sent(WriteAgain {}));
                }
            }
        }
    }
}
impl Actor for JournalActor {
    type Context = Context<JournalActor>;
}

macro_rules! on {
    ($($message:ident => |$journal:ident, $m:ident| $effects:expr;)*) => {$(
        impl Handler<Sent<$message>> for JournalActor {
            type Result = ();
            fn handle(&mut self, Sent($m): Sent<$message>, _: &mut Context<JournalActor>) {
                let $journal = &mut self.journal;
                let effects = $effects;
                self.perform(effects);
            }
        }
    )*};
}
on! {
    Append => |journal, m| journal.append(m);
    AppendAll => |journal, m| journal.all(m.by, m.rows);
    ClaimSession => |journal, m| journal.claim(m.session_id);
    SessionClaimed => |journal, m| journal.claimed(m.session_id, m.held_by, m.next);
    Recorded => |journal, m| journal.recorded(m.marks);
    JournalFailed => |journal, m| journal.failed(m.error);
    JournalBack => |journal, _m| journal.back();
    TimerFired => |journal, _m| journal.time_up();
}
