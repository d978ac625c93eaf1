//! What holds a tree: chosen once, at the start of a graph, by trying the strongest until one works.
//!
//! * in: the tiers that the host allows
//! * out: the strongest that there is, and why not a stronger one; started commands
//! * keeps: the thread that chooses lives as long as the graph, since the guard is bound to it

use crate::backend::{ContainmentReport, Refused};
use crate::linux::{
    contain::cgroup::{Cgroups, Leaf},
    contain::group::GroupBy,
    contain::helper::{Helper, Helpers, Idle, NoHelper, Program, TRIAL_LIMIT},
    contain::helper_protocol as protocol,
    contain::limits::{NoLimit, TreeLimits},
    contain::link::{Launch, Link, Told},
    contain::members,
    contain::tree::Tree,
    exec::clone::{self, Failed, Image, Plan, Scratch},
    exec::slots::above_stdio,
};
use crossbeam_channel::Receiver;
use nix::{errno::Errno, sys::signal::Signal};
use ostler_messages::{Containment, Stage};
use std::{
    ffi::{CStr, CString},
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What a choice is made of.
pub(crate) struct Choice {
    /// The helpers' program, which is put into memory meanwhile.
    pub(crate) program: Receiver<Result<Program, String>>,
    pub(crate) allowed: Vec<Containment>,
    /// Unique on this machine.
    pub(crate) name: String,
    pub(crate) group_by: GroupBy,
    pub(crate) null: Arc<File>,
    pub(crate) scratch: Scratch,
}

/// What this machine has and the host allows.
pub(crate) struct Tiers {
    /// The strongest.
    tier: Containment,
    /// For a launch that can't have a cgroup.
    next: Option<Containment>,
    // Dropped first: while it kills what is left, the guard still stands by.
    cgroups: Option<Cgroups>,
    /// The parents of commands; none: the host is.
    helpers: Option<Arc<Helpers>>,
    group_by: GroupBy,
    /// What a new guard is made with.
    null: Arc<File>,
    scratch: Mutex<Scratch>,
    /// Why the death of the host is not covered at this moment.
    trouble: Arc<Mutex<Option<String>>>,
}

/// A command that is ready to be started in any tier.
pub(crate) struct Prepared<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) argv: &'a [CString],
    pub(crate) env: &'a [&'a CStr],
    pub(crate) cwd: Option<&'a CStr>,
    /// The host's own directory, for a command without `cwd`: it need not have a path.
    pub(crate) own_dir: Option<BorrowedFd<'a>>,
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// They are a terminal, which is to control it.
    pub(crate) terminal: bool,
    /// What is sent first to stop it.
    pub(crate) stop: Signal,
    /// What its whole tree may use.
    pub(crate) limits: TreeLimits,
    /// How long its helper is waited for.
    pub(crate) limit: Duration,
}

/// A leader that has reached its program.
pub(crate) struct Spawned {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) tree: Tree,
    /// None: the host is its parent.
    pub(crate) helper: Option<Helper>,
}

pub(crate) enum SpawnError {
    /// On its way to exec.
    Process(Failed),
    /// What goes with it could not be made.
    Around(Stage, Errno),
    /// There is no guard at this moment; how many there were.
    NoGuard(u64),
    /// A limit of its tree that can't be kept.
    NoLimit(NoLimit),
}

impl Tiers {
    /// Tries the allowed ones from the strongest down. An error is the last refusal. The thread must live as long as the graph, and never
    /// wait for a disk.
    pub(crate) fn choose(choice: Choice) -> Result<(Tiers, ContainmentReport), Refused> {
        let Choice { program, allowed, name, group_by, null, mut scratch } = choice;
        let allows = |tier| allowed.contains(&tier);
        let not_allowed = || "the host does not allow it".to_owned();
        let cgroups = if allows(Containment::Cgroup) {
            Cgroups::probe(&name, &mut scratch)
        } else {
            Err(not_allowed())
        };
        // A command whose orphans nobody but its helper can end.
        let ends_orphans = allows(Containment::Subreaper);
        let cgroup = cgroups.as_ref().ok().map(|cgroups| cgroups.path().to_owned());
        let helpers = program
            .recv()
            .unwrap_or_else(|_| Err("the graph's start was given up".to_owned()))
            .and_then(|program| Helpers::start(program, cgroup, ends_orphans, &null, &mut scratch));
        let (helpers, no_helpers) = match helpers {
            Ok((helpers, abilities)) => (Some((Arc::new(helpers), abilities)), None),
            Err(why) => (None, Some(why)),
        };
        let subreaper = match (&helpers, &no_helpers) {
            _ if !allows(Containment::Subreaper) => Err(not_allowed()),
            (Some((_, abilities)), _) if !abilities.proc => Err("/proc can't be relied on".to_owned()),
            (Some((_, abilities)), _) if !abilities.pidfds => Err("the helper has no pidfds".to_owned()),
            (Some(_), _) => members::readable()
                .and_then(|()| crate::linux::proc::children(std::process::id()))
                .map(drop)
                .map_err(|error| format!("/proc does not show who descends from whom: {error}")),
            (None, why) => Err(why.clone().unwrap_or_default()),
        };
        let group = if allows(Containment::Group) { Ok(()) } else { Err(not_allowed()) };
        let found = [
            (Containment::Cgroup, cgroups.as_ref().map(drop).map_err(Clone::clone)),
            (Containment::Subreaper, subreaper),
            (Containment::Group, group),
        ];
        let helpers = helpers.map(|(helpers, _)| helpers);
        let mut tiers = Tiers {
            tier: Containment::Group,
            next: None,
            cgroups: cgroups.ok(),
            helpers,
            group_by,
            null,
            scratch: Mutex::new(scratch),
            trouble: Arc::default(),
        };
        let mut refused = Vec::new();
        let mut had = Vec::new();
        for (tier, tried) in found {
            // The one below stands in for a launch that can't have a cgroup: whether it works that launch shows, and no start waits for it.
            let tried = if had.is_empty() { tried.and_then(|()| tiers.try_out(tier)) } else { tried };
            match tried {
                Ok(()) => had.push(tier),
                Err(reason) if had.is_empty() => refused.push(Refused { tier, reason }),
                Err(_) => {}
            }
        }
        let Some(first) = had.first() else {
            let nothing = Refused { tier: Containment::Group, reason: "no tier is allowed".into() };
            return Err(refused.into_iter().rfind(|refused| allows(refused.tier)).unwrap_or(nothing));
        };
        (tiers.tier, tiers.next) = (*first, had.get(1).copied());
        let host_death = match (&no_helpers, tiers.tier) {
            (Some(why), Containment::Cgroup) => Some(why.clone()),
            (_, Containment::Group) => Some("what has left the leader's group outlives the host".to_owned()),
            _ => None,
        };
        let report = ContainmentReport { tier: tiers.tier, host_death, host_is_parent: no_helpers, refused };
        Ok((tiers, report))
    }

    /// Up to a program that does not exist.
    fn try_out(&self, tier: Containment) -> Result<(), String> {
        if self.helpers.is_none() && tier != Containment::Subreaper {
            return Ok(());
        }
        let null = self.null.as_fd();
        let nothing = CString::default();
        let argv = [nothing.clone()];
        let command = Prepared {
            path: &nothing,
            argv: &argv,
            env: &[],
            cwd: None,
            own_dir: None,
            stdio: [null, null, null],
            terminal: false,
            stop: Signal::SIGTERM,
            limits: TreeLimits::default(),
            limit: TRIAL_LIMIT,
        };
        // No handle has this number.
        match self.spawn_in(tier, 0, &command, &mut self.scratch()) {
            Err(SpawnError::Process(Failed { stage: Stage::Exec, errno: Errno::ENOENT, .. })) => Ok(()),
            Err(SpawnError::Process(failed)) => {
                Err(format!("the helper can't start a command: {} ({})", failed.stage, failed.errno))
            }
            Err(SpawnError::Around(stage, errno)) => {
                Err(format!("the helper can't be run: {stage} ({errno})"))
            }
            Err(SpawnError::NoGuard(_) | SpawnError::NoLimit(_)) => Err("the guard was ended".into()),
            Ok(_) => Err("the helper has run what does not exist".into()),
        }
    }

    fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a guard in the place of one that is gone, in the thread that chose. Says why not.
    pub(crate) fn renew_guard(&self, helpers: &Helpers) -> Result<(), String> {
        helpers.renew(&self.null, &mut self.scratch()).map(drop)
    }

    /// The parents of commands, and their guard.
    pub(crate) fn helpers(&self) -> Option<&Arc<Helpers>> {
        self.helpers.as_ref()
    }

    /// Why the death of the host is not covered at this moment, though it was at the start.
    pub(crate) fn trouble(&self) -> &Arc<Mutex<Option<String>>> {
        &self.trouble
    }
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(crate) fn spawn(
        &self,
        n: u64,
        command: &Prepared<'_>,
        scratch: &mut Scratch,
    ) -> Result<Spawned, SpawnError> {
        match (self.spawn_in(self.tier, n, command, scratch), self.next) {
            // The limits of cgroups above are reached, or ours was turned threaded (cgroups(7)).
            (Err(error), Some(next))
                if self.tier == Containment::Cgroup && is_for_want_of_a_cgroup(&error) =>
            {
                self.spawn_in(next, n, command, scratch)
            }
            (spawned, _) => spawned,
        }
    }

    /// A program of ostler's own that answers a question: it has no cgroup. Its helper ends it with whatever it has started when
    /// [`Spawned`] is dropped; without a helper, that is for the caller to do.
    pub(crate) fn spawn_to_ask(
        &self,
        program: &Prepared<'_>,
        scratch: &mut Scratch,
    ) -> Result<Spawned, SpawnError> {
        let tier = if self.tier == Containment::Subreaper { self.tier } else { Containment::Group };
        // No handle has this number.
        self.spawn_in(tier, 0, program, scratch)
    }

    fn spawn_in(
        &self,
        tier: Containment,
        n: u64,
        command: &Prepared<'_>,
        scratch: &mut Scratch,
    ) -> Result<Spawned, SpawnError> {
        let mut leaf = match (tier, &self.cgroups) {
            (Containment::Cgroup, Some(cgroups)) => {
                cgroups.prepare(command.limits).map_err(SpawnError::NoLimit)?;
                Some(cgroups.leaf(n).map_err(|errno| SpawnError::Around(Stage::Cgroup, errno))?)
            }
            _ => None,
        };
        match (&leaf, command.limits.any()) {
            (Some(leaf), Some(_)) => leaf.limit(command.limits).map_err(SpawnError::NoLimit)?,
            (None, Some(field)) => {
                let why = format!("it needs a cgroup of its own, and the command would run in tier {tier}");
                return Err(SpawnError::NoLimit(NoLimit(field, why)));
            }
            (_, None) => {}
        }
        // A leaf that nobody is born into is removed when it is dropped.
        let dir = leaf.as_ref().and_then(Leaf::dir);
        let (pid, pidfd, helper) = match &self.helpers {
            Some(helpers) => self.helped(helpers, tier, command, dir).inspect_err(|_| {
                // Whoever was born into it all the same.
                let _ = leaf.as_ref().map(Leaf::kill);
            })?,
            None => {
                let spawned = clone::spawn(&direct(command, dir), scratch).map_err(SpawnError::Process)?;
                (spawned.pid, spawned.pidfd, None)
            }
        };
        if let Some(leaf) = &mut leaf {
            leaf.close_dir();
        }
        let tree = match (leaf, tier) {
            (Some(leaf), _) => Tree::Cgroup(leaf),
            (None, Containment::Subreaper) => Tree::Subreaper,
            (None, _) => Tree::Group,
        };
        Ok(Spawned { pid, pidfd, tree, helper })
    }

    /// Lets a helper start the leader.
    fn helped(
        &self,
        helpers: &Arc<Helpers>,
        tier: Containment,
        command: &Prepared<'_>,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<(u32, OwnedFd, Option<Helper>), SpawnError> {
        let around = |errno| SpawnError::Around(Stage::Helper, errno);
        // In the group, the number of the leader shows who else is of its session; and without group pidfds nothing else reaches it.
        let holds = tier == Containment::Group || self.group_by == GroupBy::Number;
        let flag = |set: bool, flag: i64| if set { flag } else { 0 };
        let mut files = command.stdio.to_vec();
        files.extend(command.own_dir);
        files.extend(cgroup);
        let launch = Launch {
            flags: flag(tier == Containment::Subreaper, protocol::SUBREAPER)
                | flag(holds, protocol::HOLD)
                | flag(command.own_dir.is_some(), protocol::OPEN_CWD)
                | flag(cgroup.is_some(), protocol::IN_CGROUP)
                | flag(command.terminal, protocol::TERMINAL)
                | (i64::from(command.stop as i32) << protocol::STOP_SIGNAL_SHIFT),
            cwd: command.cwd.unwrap_or_default(),
            path: command.path,
            argv: command.argv,
            env: command.env,
            files: &files,
        };
        loop {
            let Idle { link, pid, guard } = helpers.take().map_err(|none| match none {
                NoHelper::NoGuard(count) => SpawnError::NoGuard(count),
                NoHelper::Errno(errno) => SpawnError::Around(Stage::Helper, errno),
            })?;
            // For the leader's pidfd: it must not be for want of that that a command is given up which has begun.
            let spare = link.as_fd().try_clone_to_owned();
            let spare =
                spare.map_err(|error| around(error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw)))?;
            match link.launch(&launch, command.limit) {
                Ok(()) => return leader(link, (pid, guard), helpers, (command.limit, spare)),
                // It was ended by somebody while it had nothing to do. There are only so many; then a new one is made.
                Err(Errno::EPIPE) => {}
                Err(errno) => return Err(SpawnError::Around(Stage::Helper, errno)),
            }
        }
    }
}

/// Not for want of descriptors, which the next tier needs too.
fn is_for_want_of_a_cgroup(error: &SpawnError) -> bool {
    match error {
        SpawnError::Around(Stage::Cgroup, errno) => !matches!(errno, Errno::EMFILE | Errno::ENFILE),
        SpawnError::Process(Failed { stage: Stage::Fork, errno, .. }) => {
            matches!(errno, Errno::EOPNOTSUPP | Errno::EBUSY | Errno::ENODEV)
        }
        _ => false,
    }
}

fn direct<'a>(command: &'a Prepared<'a>, cgroup: Option<BorrowedFd<'a>>) -> Plan<'a> {
    Plan {
        image: Image::Path(command.path),
        argv: command.argv,
        env: command.env,
        cwd: command.cwd,
        files: &command.stdio,
        terminal: command.terminal,
        cgroup,
        dies_with_host: true,
    }
}

/// The leader that a helper has started. When the link is dropped, the helper ends whatever it has started.
fn leader(
    link: Link,
    (mut helper, guard): (Option<u32>, u64),
    helpers: &Arc<Helpers>,
    (limit, spare): (Duration, OwnedFd),
) -> Result<(u32, OwnedFd, Option<Helper>), SpawnError> {
    let around = |errno| SpawnError::Around(Stage::Helper, errno);
    let (limit, mut spare) = (Instant::now() + limit, Some(spare));
    loop {
        let left = limit.saturating_duration_since(Instant::now());
        match (link.first(left, || helpers.remind(), &mut spare).map_err(around)?, helper) {
            (Some(Told::Ready(pid)), _) => {
                helper = Some(pid);
                spare = link.as_fd().try_clone_to_owned().ok();
            }
            (Some(Told::Started { pid, pidfd }), Some(helper)) => {
                // A message comes without its descriptor where there is no room for another one.
                let pidfd = pidfd.ok_or(Errno::EMFILE).and_then(above_stdio).map_err(around)?;
                return Ok((pid, pidfd, Some(Helper::new(link, helpers.clone(), (helper, guard)))));
            }
            (Some(Told::Failed(failed)), helper) => {
                if let Some(helper) = helper {
                    helpers.give_back(link, (helper, guard));
                }
                return Err(match failed {
                    Failed { stage: Stage::Helper, errno, .. } => around(errno),
                    failed => SpawnError::Process(failed),
                });
            }
            // Its guard was ended before it could make it: nothing has begun.
            (None, None) => return Err(SpawnError::NoGuard(guard)),
            // It was killed before it could say anything.
            (Some(Told::Started { .. } | Told::Exited(_) | Told::Empty | Told::Watches(_)) | None, _) => {
                return Err(SpawnError::Process(Failed {
                    stage: Stage::Helper,
                    errno: Errno::UnknownErrno,
                    killed_by: Some(nix::libc::SIGKILL),
                }));
            }
        }
    }
}
