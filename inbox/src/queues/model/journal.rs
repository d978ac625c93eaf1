//! What is appended comes to what the queues hold, and no answer leaves before what it shows is written.

use super::*;
use ostler_journal::{Image, Kept};
use ostler_messages::{CommandId, Mark, Row};

#[derive(Default)]
pub(super) struct Journal {
    image: Image,
    appends: u64,
    /// In which append an entry was written, by session and number.
    written: BTreeMap<(u64, u64), u64>,
}

fn mark(n: u64) -> Option<Mark> {
    Some(Mark { by: ostler_messages::ActorName::Inbox, n })
}

impl Run {
    /// After each operation of a session.
    pub(super) fn check_written(&mut self, s: u64, effects: &[Effect]) {
        let journaled = self.queues.journaled;
        let mut acknowledged = false;
        for effect in effects {
            let Effect::Append(append) = effect else { continue };
            assert!(journaled);
            self.journal.appends += 1;
            assert_eq!(mark(append.n), mark(self.journal.appends), "numbered in their order");
            for row in &append.rows {
                self.journal.image.apply(row);
                let sequence = match row {
                    Row::Delivered(entry) => entry.sequence,
                    Row::Counted { next, .. } => next - 1,
                    other => {
                        acknowledged |= matches!(other, Row::Acknowledged { .. });
                        continue;
                    }
                };
                self.journal.written.insert((s, sequence), append.n);
            }
        }
        let of = |after: Option<Mark>| after.map_or(0, |mark| mark.n);
        for effect in effects.iter().filter(|_| journaled) {
            let (after, shown) = match effect {
                Effect::Reply(reply) => match &reply.answer {
                    Ok(Answer::Drained { entries, .. }) => (reply.after, sequences(entries)),
                    Ok(Answer::Pushed(sequence)) => (reply.after, vec![*sequence]),
                    Ok(Answer::Acknowledged(_)) if acknowledged => {
                        assert_eq!(
                            of(reply.after),
                            self.journal.appends,
                            "an acknowledgement is written first"
                        );
                        continue;
                    }
                    Ok(Answer::Cancelled { taken: true, .. }) => {
                        assert!(of(reply.after) > 0);
                        continue;
                    }
                    _ => continue,
                },
                Effect::Notify(notify) => (notify.after, sequences(&notify.entries)),
                _ => continue,
            };
            for sequence in shown {
                assert!(
                    of(after) >= self.journal.written[&(s, sequence)],
                    "{sequence} of {s} is shown too early"
                );
            }
        }
        if journaled {
            self.check_image(s);
        }
    }

    fn check_image(&self, s: u64) {
        let (image, queue) = (&self.journal.image, self.queues.queues.get(&name(s)));
        let held = |queue: &Queue| {
            let every = queue.free().values().chain(queue.leases().entries());
            let kept = every.filter(|entry| !entry.is_progress()).map(|entry| entry.sequence);
            kept.collect::<BTreeSet<u64>>()
        };
        let written: BTreeSet<u64> =
            image.entries.get(&name(s)).map(|entries| entries.keys().copied().collect()).unwrap_or_default();
        assert_eq!(written, queue.map(held).unwrap_or_default(), "entries of {s}");
        let owed = |queue: &Queue| {
            queue.leases().shared_records().map(|record| record.command_id).collect::<BTreeSet<CommandId>>()
        };
        let stands: BTreeSet<CommandId> = image
            .entries
            .values()
            .flat_map(BTreeMap::values)
            .filter_map(|unread| match unread.content {
                Kept::Result(command_id) => Some(command_id),
                Kept::Other(_) => None,
            })
            .collect();
        let open =
            image.commands.iter().filter(|(_, command)| command.session_id == name(s) && !command.taken);
        let open: BTreeSet<CommandId> =
            open.map(|(command_id, _)| *command_id).filter(|id| !stands.contains(id)).collect();
        assert_eq!(open, queue.map(owed).unwrap_or_default(), "results that are owed in {s}");
        if let (Some(queue), Some(session)) = (queue, image.sessions.get(&name(s))) {
            assert_eq!(session.next, queue.next(), "the next number of {s}");
        }
        // What begins anew says the same. It is all of it, so not each time.
        if !self.journal.appends.is_multiple_of(16) {
            return;
        }
        let mut again = Image::default();
        self.queues.rows().iter().for_each(|row| again.apply(row));
        assert_eq!(again.entries, image.entries);
    }
}

fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}
