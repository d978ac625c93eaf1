//! What waits look at in a scripted world: the same searches as on real files, and what programs say of themselves.
//!
//! * in: waits; after everything that happens, a look
//! * out: [`KernelEvent`]s for the waits, and when an open line counts as it stands
//! * keeps: each condition is looked at at once, and told when it changes

use super::process::Process;
use crate::backend::{Files, Follow as Search, KernelEvent, Turn};
use ostler_messages::{ActorName, CallId, Condition, ConditionMet, ConditionOpen, Event, Follow, Met};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is followed, by call.
#[derive(Default)]
pub(super) struct Followed {
    waits: BTreeMap<CallId, Wait>,
    /// When an open line counts as it stands, as far as that was said.
    quiet_at_us: BTreeSet<u64>,
}

struct Wait {
    n: u64,
    files: Files,
    searches: Vec<Search>,
    /// Conditions about the tree, and whether it was told that they don't hold.
    looks: Vec<(usize, Condition, bool)>,
}

/// What a look brings.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) events: Vec<KernelEvent>,
    pub(super) quiet_at_us: Vec<u64>,
}

impl Followed {
    pub(super) fn add(&mut self, follow: &Follow, files: Files, now_us: u64) {
        let since_us = now_us.saturating_sub(follow.silence_ms.saturating_mul(1_000));
        let conditions = || follow.conditions.iter().enumerate();
        let searches =
            conditions().filter_map(|(index, condition)| Search::new(index, condition, since_us)).collect();
        let about_tree =
            |condition: &Condition| matches!(condition, Condition::Port { .. } | Condition::Input);
        let looks = conditions().filter(|(_, condition)| about_tree(condition));
        let looks = looks.map(|(index, condition)| (index, condition.clone(), false)).collect();
        self.waits.insert(follow.call, Wait { n: follow.n, files, searches, looks });
    }

    pub(super) fn remove(&mut self, call: CallId) {
        self.waits.remove(&call);
    }

    pub(super) fn look(&mut self, processes: &BTreeMap<u64, Process>, now_us: u64) -> Looked {
        let mut looked = Looked::default();
        for (call, wait) in &mut self.waits {
            let to = ActorName::Wait(call.0);
            let mut tell = |event: Event| looked.events.push(KernelEvent::new(to, event));
            wait.searches.retain_mut(|search| {
                loop {
                    match search.turn(&wait.files, now_us, &mut tell) {
                        Turn::More => {}
                        Turn::Finished => return false,
                        Turn::Waits(quiet_at_us) => {
                            looked.quiet_at_us.extend(quiet_at_us);
                            return true;
                        }
                    }
                }
            });
            let process = processes.get(&wait.n);
            wait.looks.retain_mut(|(index, condition, told)| {
                let met = match condition {
                    Condition::Port { port } => process
                        .into_iter()
                        .flat_map(Process::ports)
                        .find(|found| port.is_none_or(|port| port == found.port))
                        .map(Met::Port),
                    _ => process.and_then(Process::waits_for_input).map(|pid| Met::Input { pid }),
                };
                if let Some(by) = met {
                    tell(ConditionMet { index: *index, by }.into());
                    return false;
                }
                if !std::mem::replace(told, true) {
                    tell(ConditionOpen { index: *index, unseen: 0 }.into());
                }
                true
            });
        }
        self.quiet_at_us.retain(|at_us| *at_us > now_us);
        looked.quiet_at_us.retain(|at_us| self.quiet_at_us.insert(*at_us));
        looked
    }
}
