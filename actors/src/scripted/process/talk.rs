//! What a scripted process is told: input, signals, another size of its terminal.

use super::Process;
use crate::scripted::{
    input::{Read, reaction},
    program::Reaction,
};
use ostler_messages::{EndInput, Fed, Feed, InputEnded, Stream, TerminalSize, UnixSignal};

impl Process {
    pub(in crate::scripted) fn feed(&mut self, feed: Feed, now_us: u64) {
        let Feed { n, call, bytes } = feed;
        match self.input.as_mut().filter(|input| !input.ended && !input.left) {
            Some(input) => input.push(call, bytes),
            None => {
                let fed = Fed { n, call, taken: 0, dropped: bytes.size(), ended: true, refused: true };
                self.report_to_supervisor(fed);
            }
        }
        self.flow(now_us);
    }

    pub(in crate::scripted) fn end_input(&mut self, end: &EndInput, now_us: u64) {
        let Some(input) = self.input.as_mut().filter(|input| !input.ended) else { return };
        input.close();
        if end.now {
            let mut told = Vec::new();
            input.drop_queued(&mut told);
            told.into_iter().for_each(|fed| self.report_to_supervisor(fed));
        }
        self.flow(now_us);
    }

    pub(in crate::scripted) fn set_size(&mut self, size: TerminalSize, now_us: u64) {
        if self.waits_with_size(size) {
            return;
        }
        if let Some(rule) = self.program.on_resize.clone().filter(|_| self.exit.is_none()) {
            self.react(rule.0(size.rows, size.columns), now_us);
        }
    }

    /// A signal of the host's.
    pub(in crate::scripted) fn raise(&mut self, signal: UnixSignal, now_us: u64) {
        if self.exit.is_some() || self.program.unkillable || self.waits_with(signal) {
            return;
        }
        match self.program.on_signal.get(&signal).cloned() {
            Some(reaction) => self.react(reaction, now_us),
            None => self.exit(-1, Some(signal.name().to_owned()), now_us),
        }
    }

    /// What is written moves as far as it can, and the program acts on what it has read.
    pub(super) fn flow(&mut self, now_us: u64) {
        let Some(input) = &mut self.input else { return };
        let (ended, mut told) = (input.ended, Vec::new());
        let read = input.flow(&mut told);
        let ends = input.ended && !ended;
        told.into_iter().for_each(|fed| self.report_to_supervisor(fed));
        if ends {
            self.report_to_supervisor(InputEnded { n: self.n });
        }
        for read in read {
            if self.exit.is_some() {
                return;
            }
            self.waits_for_input = false;
            let reaction = match read {
                Read::Line(line) => reaction(self.program.on_line.as_ref(), &line),
                Read::End => self.program.on_stdin_end.clone(),
            };
            self.react(reaction.unwrap_or_default(), now_us);
        }
    }

    pub(super) fn react(&mut self, Reaction { says, prompts, exits }: Reaction, now_us: u64) {
        self.waits_for_input |= prompts;
        self.say(Stream::Stdout, &says, now_us);
        if let Some(code) = exits {
            self.exit(code, None, now_us);
        }
    }
}
