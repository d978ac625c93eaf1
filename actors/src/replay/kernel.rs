//! The kernel of a replay: it gives what was recorded, and does nothing that it is told.

use super::lines::Shared;
use crate::backend::{Asked, HostInput, Input, Kernel, KernelEvent, Permit};
use ostler_messages::{CallId, Event, KernelCommand, Request};
use std::{
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

/// What an input of a trace says.
pub(super) enum Said {
    Event(KernelEvent),
    Request(Option<CallId>, Request),
    Ack(CallId),
    Nack(CallId),
}

pub(super) struct Recorded {
    shared: Rc<Shared>,
    now_us: u64,
    open_calls: Arc<AtomicU64>,
}
impl Recorded {
    pub(super) fn new(shared: Rc<Shared>) -> Recorded {
        Recorded { shared, now_us: 0, open_calls: Arc::default() }
    }

    fn input(&self, said: Said) -> Option<Input> {
        Some(match said {
            Said::Event(event) => Input::Kernel(event),
            Said::Ack(call) => Input::Host(HostInput::Ack(call)),
            Said::Nack(call) => {
                let permit = Permit::take(&self.open_calls, u64::MAX).ok()?;
                Input::Host(HostInput::Nack { call, permit, taken: None })
            }
            Said::Request(_, Request::HostGone(gone)) => Input::Host(HostInput::HostGone(gone)),
            Said::Request(None, request) => Input::Host(HostInput::Gone { request, taken: None }),
            Said::Request(Some(call), request) => {
                // Nobody waits for the answer, which stands in the trace.
                let (reply_to, _) = oneshot::channel();
                let asked = Asked::nobody();
                Input::Host(HostInput::Call { call, request, reply_to, asked })
            }
        })
    }
}
impl Kernel for Recorded {
    fn perform(&mut self, _: KernelCommand) {}
    fn ready(&mut self) -> Option<Input> {
        None
    }
    fn next(&mut self) -> Option<Input> {
        let (at_us, said) = self.shared.next_input()?;
        self.now_us = at_us;
        self.input(said)
    }
    fn now_us(&self) -> u64 {
        self.now_us
    }
    fn close(&mut self) {}
}

/// Reads an input. None: it is no message that is one.
pub(super) fn read(from: &str, to: &str, message: &str, fields: &str) -> Option<Result<Said, String>> {
    let in_words = |error: serde_json::Error| format!("{message}: {error}");
    if from == "kernel" {
        let to = to.parse();
        return Some(match Event::read(message, fields)? {
            Ok(event) => to
                .map(|to| Said::Event(KernelEvent { to, event }))
                .map_err(|_| format!("{message}: to nobody")),
            Err(error) => Err(in_words(error)),
        });
    }
    #[derive(serde::Deserialize)]
    struct Of {
        call: Option<CallId>,
    }
    let call = || serde_json::from_str::<Of>(fields).map(|of| of.call);
    Some(match message {
        "Ack" | "Nack" => match call() {
            Ok(Some(call)) if message == "Ack" => Ok(Said::Ack(call)),
            Ok(Some(call)) => Ok(Said::Nack(call)),
            Ok(None) => Err(format!("{message}: no call")),
            Err(error) => Err(in_words(error)),
        },
        _ => match (Request::read(message, fields)?, call()) {
            (Ok(request), Ok(call)) => Ok(Said::Request(call, request)),
            (Err(error), _) | (_, Err(error)) => Err(in_words(error)),
        },
    })
}
