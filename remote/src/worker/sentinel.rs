//! Answers for workers that are gone for good. Every worker does it for all others; the store lets one of them win.

use super::{Inner, deliver};
use crate::{
    clock,
    core::Sentinel,
    errors::Error,
    names::{WorkerName, launch_key},
    store,
    words::{Claim, Heartbeat},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// So many looks in a lease: a worker that is gone is found at most that part of a lease later.
const PER_LEASE: u32 = 4;
/// A heartbeat that is not there is one that never changes.
const NONE: u64 = 0;

pub(super) async fn look(inner: Arc<Inner>) {
    let mut sentinels = BTreeMap::new();
    let interval = (inner.options.lease / PER_LEASE).max(Duration::from_millis(250));
    loop {
        tokio::time::sleep(interval).await;
        // What could not be read or written is for the next round.
        let _ = round(&inner, &mut sentinels).await;
    }
}

/// What clocks may differ by, and what a worker that is late may take to stop what it runs.
pub(super) fn margin_ms(lease_ms: u64) -> u64 {
    (lease_ms / super::MARGIN_PART).max(super::MARGIN_MIN_MS)
}

/// One for each length of a lease: a worker is judged by its own, or by ours if that is longer.
type Sentinels = BTreeMap<u64, Sentinel<WorkerName>>;

async fn round(inner: &Arc<Inner>, sentinels: &mut Sentinels) -> Result<(), Error> {
    let claims = store::list::<Claim>(&inner.store.claims, ">").await?;
    own_strays(inner, &claims);
    let claims: Vec<(Claim, u64)> =
        claims.into_iter().filter(|(claim, _)| claim.worker != inner.options.name).collect();
    let begun = clock::now_ms();
    let by_lease = heartbeats(inner, &claims).await?;
    let answered = clock::now_ms();
    sentinels.retain(|lease_ms, _| by_lease.contains_key(lease_ms));
    for (lease_ms, heartbeats) in by_lease {
        let new = || Sentinel::new(lease_ms, margin_ms(lease_ms));
        let sentinel = sentinels.entry(lease_ms).or_insert_with(new);
        let overdue: BTreeSet<WorkerName> = sentinel.read(heartbeats, begun, answered).into_iter().collect();
        // Of the same list: it was made before the next reads.
        for (claim, listed) in claims.iter().filter(|(claim, _)| overdue.contains(&claim.worker)) {
            let begun = clock::now_ms();
            // As the leader has it: what a consumer's server says could be old.
            let heartbeat = store::read::<Heartbeat>(&inner.store.workers, &claim.worker.to_string()).await?;
            let revision = heartbeat.map_or(NONE, |(_, revision)| revision);
            let key = launch_key(claim.session.as_str(), &claim.launch);
            if sentinel.is_gone(&claim.worker, revision, begun)
                && deliver::stays(inner, &key, claim, *listed).await
            {
                deliver::lost(inner, &key, claim, true).await;
            }
        }
    }
    Ok(())
}

/// What this worker has claimed, and nobody here knows of: an earlier life has, or a creation that was sent again has come to be there twice, after its command had
/// ended. Either can come long after it was sent.
fn own_strays(inner: &Arc<Inner>, claims: &[(Claim, u64)]) {
    // Who holds its lease after the list was answered knows that nobody had taken its name by then: whoever does waits for the end of this lease first. Without it, the claims
    // may be those of the next one of this name, which runs them.
    if inner.held().is_none() {
        return;
    }
    // What is known is asked after the list was answered: whatever stands in it was known before it was sent.
    let own = claims.iter().map(|(claim, _)| claim).filter(|claim| claim.worker == inner.options.name);
    for claim in own.filter(|claim| !inner.knows(claim)) {
        tokio::spawn(answer_stray(inner.clone(), claim.clone()));
    }
}

/// The list may be older than the end of an attempt that came to nothing and has taken its claim back: such a launch can be asked for again, and must not be found `lost`.
/// Nobody here knows of it any more, so whatever was to be taken back is; what is still there is a stray.
async fn answer_stray(inner: Arc<Inner>, claim: Claim) {
    let key = launch_key(claim.session.as_str(), &claim.launch);
    let there = store::read::<Claim>(&inner.store.claims, &key).await;
    if let Ok(Some((there, revision))) = there
        && there.mark == claim.mark
        && deliver::stays(&inner, &key, &there, revision).await
    {
        deliver::give_up(inner, key, there).await;
    }
}

/// The revisions of all heartbeats but our own, and of those that are missing, by the leases of their workers.
async fn heartbeats(
    inner: &Inner,
    claims: &[(Claim, u64)],
) -> Result<BTreeMap<u64, BTreeMap<WorkerName, u64>>, Error> {
    let there = store::list::<Heartbeat>(&inner.store.workers, ">").await?;
    let missing = claims.iter().map(|(claim, _)| (claim.worker.clone(), (inner.lease_ms(), NONE)));
    let mut all: BTreeMap<WorkerName, (u64, u64)> = missing.collect();
    all.extend(there.into_iter().map(|(heartbeat, revision)| {
        (heartbeat.worker, (heartbeat.lease_ms.max(inner.lease_ms()), revision))
    }));
    all.remove(&inner.options.name);
    let mut by_lease: BTreeMap<u64, BTreeMap<WorkerName, u64>> = BTreeMap::new();
    for (worker, (lease_ms, revision)) in all {
        by_lease.entry(lease_ms).or_default().insert(worker, revision);
    }
    Ok(by_lease)
}
