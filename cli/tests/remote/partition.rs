//! A worker in a network of its own, whose link goes down: what runs, and what becomes of the result. The wire of `deaths.rs` stands in for this where it can't be had.

use crate::{
    deaths::{LEASE, launch, results, runs},
    net::Net,
    place::{LIMIT, Running},
    pool::Pool,
};
use ostler::{Command, Status, StopCause};
use ostler_remote::{ListRequest, ListedState};
use std::time::Duration;

/// A network, a server that is reached from there, and a worker that is in there.
fn apart(args: &[&str]) -> Option<(Net, Pool, Running)> {
    let net = Net::new()?;
    let pool = Pool::at(&net.host())?;
    assert!(net.reaches(&pool.server.url()));
    let worker = net.inside(|| pool.worker("w1", args));
    Some((net, pool, worker))
}

#[test]
fn what_is_cut_off_for_less_than_the_lease_goes_on_and_its_results_arrive() {
    // Longer than anything takes here.
    let Some((net, pool, _worker)) = apart(&["--lease", "300s"]) else { return };
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let (ends, goes_on) = (launch(&session, runs(&pool, "go")), launch(&session, runs(&pool, "later")));
    net.cut();
    assert!(!net.reaches(&pool.server.url()));
    pool.touch("go");
    pool.has_ended(&ends);
    let listed = session.list(ListRequest::new()).wait().unwrap().launches;
    assert!(!listed.iter().any(|one| matches!(one.state, ListedState::Ended(_))), "{listed:?}");
    net.mends();
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!((result.success, &*result.stdout), (Some(true), "begun\nended\n"), "{result:?}");
    assert_eq!(*ends.exited().wait().unwrap(), **result);
    assert_eq!(goes_on.status().wait().unwrap().status, Status::Running);
    pool.touch("later");
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!((result.success, &*result.stdout), (Some(true), "begun\nended\n"), "{result:?}");
}

#[test]
fn what_is_cut_off_for_longer_is_stopped_and_its_worker_says_so_when_it_can() {
    let Some((net, pool, _worker)) = apart(LEASE) else { return };
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    launch(&session, runs(&pool, "never"));
    net.cut();
    assert!(!net.reaches(&pool.server.url()));
    pool.is_left_alone_but("w1", LIMIT);
    assert!(session.inbox().drain().wait().unwrap().is_empty());
    net.mends();
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!((result.status, result.stop_cause), (Status::Killed, Some(StopCause::LeaseLost)));
    let next = session.launch(Command::new("true")).wait().unwrap();
    assert_eq!(next.exited().wait().unwrap().success, Some(true));
    assert_eq!(results(&session, 1).len(), 1, "of the next one");
}

#[test]
fn what_is_cut_off_for_longer_beside_another_worker_is_lost_and_that_does_not_change() {
    let Some((net, pool, _worker)) = apart(LEASE) else { return };
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let handle = launch(&session, runs(&pool, "never"));
    let mut other = pool.worker("w2", LEASE);
    net.cut();
    assert!(!net.reaches(&pool.server.url()));
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!((result.status, result.stop_cause), (Status::Lost, Some(StopCause::HostGone)));
    // Before that, by its own clock.
    pool.is_left_alone_but("w1", Duration::from_secs(2));
    net.mends();
    pool.is_back("w1", "w2");
    // The next one is its own, and its result the only one that is new.
    other.is_killed();
    let next = session.launch(Command::new("true")).wait().unwrap();
    assert_eq!(next.worker().to_string(), "w1");
    assert_eq!(next.exited().wait().unwrap().success, Some(true));
    assert_eq!(results(&session, 1).len(), 1, "of the next one");
    assert_eq!(*handle.exited().wait().unwrap(), **result);
}
