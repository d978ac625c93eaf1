//! Looks at trees for what no event tells: ports, and who waits for input. Once for all waits of a tree, and only while one waits.
//!
//! * in: waits; time
//! * out: what each look gave
//! * keeps: one list of the machine's listeners for all trees that are looked at together; looks grow rarer while nothing changes

use super::thread::{Key, Sighting};
use crate::linux::{
    contain::view::TreeView,
    sight::{
        input::looks_for_input,
        ports::{ListeningPort as Port, TreePorts},
        sock_diag::Listeners,
    },
};
use ostler_messages::{CallId, ListeningPort, Met};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// The first time between two looks at a tree: a server that is started is ready within some of these.
const LOOK_FIRST: Duration = Duration::from_millis(10);
/// The longest: a person does not notice it, and a hundred trees cost a fiftieth of a core.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// So many times the time that a look has taken passes until the next: a large tree takes a tenth of a core at most.
const REST: u32 = 9;

/// What a wait looks for in a tree.
#[derive(Clone, Copy)]
pub(super) enum WaitsFor {
    Port(Option<u16>),
    Input,
}

struct Tree {
    view: Arc<TreeView>,
    /// With how many processes could not be looked at, as far as it was told.
    waits: BTreeMap<Key, (WaitsFor, Option<u64>)>,
    ports: TreePorts,
    interval: Duration,
    next: Instant,
}

/// By process.
#[derive(Default)]
pub(super) struct Trees(BTreeMap<u64, Tree>);

impl Trees {
    pub(super) fn add(&mut self, n: u64, key: Key, waits_for: WaitsFor, view: &Arc<TreeView>) {
        let now = Instant::now();
        let tree = self.0.entry(n).or_insert_with(|| Tree {
            view: view.clone(),
            waits: BTreeMap::new(),
            ports: TreePorts::default(),
            interval: LOOK_FIRST,
            next: now,
        });
        tree.waits.insert(key, (waits_for, None));
        (tree.interval, tree.next) = (LOOK_FIRST, now);
    }

    pub(super) fn remove(&mut self, call: CallId) {
        self.0.retain(|_, tree| {
            tree.waits.retain(|(of, _), _| *of != call);
            !tree.waits.is_empty()
        });
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.0.values().map(|tree| tree.next).min()
    }

    /// Looks at those whose time has come.
    pub(super) fn look(&mut self) -> Vec<(Key, Sighting)> {
        let now = Instant::now();
        let mut told = Vec::new();
        let mut listeners = None;
        for tree in self.0.values_mut().filter(|tree| tree.next <= now) {
            let began = Instant::now();
            tree.look(&mut listeners, &mut told);
            let ended = Instant::now();
            tree.next = ended + tree.interval.max((ended - began) * REST);
            tree.interval = (tree.interval * 2).min(LOOK_MAX);
        }
        told
    }
}

impl Tree {
    fn look(&mut self, listeners: &mut Option<Result<Listeners, String>>, told: &mut Vec<(Key, Sighting)>) {
        let wants = |port: bool| {
            self.waits.values().any(|(waits_for, _)| matches!(waits_for, WaitsFor::Port(_)) == port)
        };
        let ports = wants(true).then(|| {
            let read = || Listeners::read().map_err(|error| error.to_string());
            listeners.get_or_insert_with(read).as_ref().map_err(Clone::clone)
        });
        let ports = ports.map(|listeners| ports_in(&self.view, listeners?, &mut self.ports));
        let input = wants(false).then(|| input_of(&self.view));
        for (key, (waits_for, unseen)) in &mut self.waits {
            let look = match (waits_for, &ports, &input) {
                (WaitsFor::Port(wanted), Some(Ok((ports, unseen))), _) => {
                    let found = ports.iter().find(|found| wanted.is_none_or(|wanted| wanted == found.port));
                    found.map_or(Sighting::Open(*unseen), |found| Sighting::Met(Met::Port(found.clone())))
                }
                (WaitsFor::Input, _, Some(Ok((Some(pid), _)))) => Sighting::Met(Met::Input { pid: *pid }),
                (WaitsFor::Input, _, Some(Ok((None, unseen)))) => Sighting::Open(*unseen),
                (WaitsFor::Port(_), Some(Err(why)), _) | (WaitsFor::Input, _, Some(Err(why))) => {
                    Sighting::Refused(why.clone())
                }
                _ => continue,
            };
            match look {
                // It was told before.
                Sighting::Open(count) if *unseen == Some(count) => {}
                Sighting::Open(count) => {
                    *unseen = Some(count);
                    told.push((*key, look));
                }
                _ => told.push((*key, look)),
            }
        }
    }
}

fn input_of(view: &TreeView) -> Result<(Option<u32>, u64), String> {
    let Some(target) = &view.input else { return Ok((None, 0)) };
    let pids = view.pids().map_err(|error| error.to_string())?;
    let look = looks_for_input(&pids, target);
    match look.refusal {
        // Undecided where one can be seen, refused where none can.
        Some(refusal) if look.seen == 0 && look.waits.is_none() && look.unseen > 0 => Err(format!(
            "no process of the tree can be looked at: {refusal}; run the host as the same user, and with \
                 kernel.yama.ptrace_scope at most 1"
        )),
        _ => Ok((look.waits, look.unseen)),
    }
}

fn ports_in(
    view: &TreeView,
    listeners: &Listeners,
    seen: &mut TreePorts,
) -> Result<(Vec<ListeningPort>, u64), String> {
    if let Some(ports) = view.cgroup_id().and_then(|id| listeners.of_cgroup(id)) {
        return Ok((ports.into_iter().map(told).collect(), 0));
    }
    let pids = view.pids().map_err(|error| error.to_string())?;
    let look = seen.look(&pids, listeners);
    Ok((look.ports.into_iter().map(told).collect(), look.unseen))
}

/// The ports of a tree, once.
pub(super) fn ports_of(view: &TreeView) -> Result<(Vec<ListeningPort>, u64), String> {
    let listeners = Listeners::read().map_err(|error| error.to_string())?;
    ports_in(view, &listeners, &mut TreePorts::default())
}

fn told(Port { port, address, pid }: Port) -> ListeningPort {
    ListeningPort { port, address, pid }
}
