//! What is known of a pool, or of a session: what runs, from claims, and what has ended, from results.

use crate::{
    errors::Error,
    names::{LaunchId, WorkerName, launch_key},
    store::{self, Store},
    words::{Claim, End, Stored, StoredHead},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use ostler::{Record, SessionId, Stamp};
use std::{cmp::Reverse, collections::HashSet, fmt, sync::Arc};

/// Records that are read by their keys at a time: each is an answer of the server.
const READ_AT_ONCE: usize = 16;

/// How one launch stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ListedState {
    /// Claimed, and not yet known to run.
    Starting,
    /// It runs: the record as of its start.
    Running(Box<Record>),
    /// It has ended.
    Ended(Box<Record>),
}
/// One launch in a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Listed {
    /// Its session.
    pub session: SessionId,
    /// Its name.
    pub launch: LaunchId,
    /// Who runs it, or ran it.
    pub worker: WorkerName,
    /// When it was claimed, or its result was stored.
    pub at: Stamp,
    /// The command, shell-quoted.
    pub command: String,
    /// How it stands.
    pub state: ListedState,
}

/// What a list is to have; everything, unless it says less. What has ended is kept for a week, with up to 512 KiB of text each: a list of it all is read as a whole.
#[derive(Clone, Default)]
pub struct ListRequest {
    ended: Option<usize>,
    only: Option<Only>,
}
type Only = Arc<dyn Fn(&LaunchId) -> bool + Send + Sync>;

impl fmt::Debug for ListRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let only = self.only.as_ref().map(|_| "those that fit");
        f.debug_struct("ListRequest").field("ended", &self.ended).field("only", &only).finish()
    }
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct List {
    /// The oldest first.
    pub launches: Vec<Listed>,
    /// How many more have ended. In a list only of what runs, at most: launches that did not start, which are in no list, are counted, too.
    pub more: u64,
}

impl ListRequest {
    /// Everything that runs, and everything that has ended and is kept.
    pub fn new() -> ListRequest {
        ListRequest::default()
    }
    /// Only what runs.
    pub fn running(self) -> ListRequest {
        self.newest(0)
    }
    /// Of what has ended only so many, those whose results were stored last. The others are counted, and not read.
    pub fn newest(mut self, ended: usize) -> ListRequest {
        self.ended = Some(ended);
        self
    }
    /// Only launches whose ids fit: no record of another one that has ended is read.
    pub fn only(mut self, fits: impl Fn(&LaunchId) -> bool + Send + Sync + 'static) -> ListRequest {
        self.only = Some(Arc::new(fits));
        self
    }
    fn fits(&self, launch: &LaunchId) -> bool {
        self.only.as_ref().is_none_or(|fits| fits(launch))
    }

    /// Of the keys of a scope. Who has both, a claim and a result, has ended.
    pub(super) async fn list(&self, store: &Store, scope: &str) -> Result<List, Error> {
        let mut claims = store::list::<Claim>(&store.claims, scope).await?;
        claims.retain(|(claim, _)| self.fits(&claim.launch));
        let of_claim = |claim: &Claim| launch_key(claim.session.as_str(), &claim.launch);
        let of_result = |stored: &Stored| launch_key(stored.session.as_str(), &stored.launch);
        // After the claims: a result is there before its claim goes.
        let (has_ended, results, more): (HashSet<String>, Vec<Stored>, u64) = match (self.ended, &self.only) {
            (None, None) => {
                let results = store::list::<Stored>(&store.results, scope).await?;
                let results: Vec<Stored> = results.into_iter().map(|(stored, _)| stored).collect();
                (results.iter().map(of_result).collect(), results, 0)
            }
            (Some(0), None) => {
                let claimed = read(store, claims.iter().map(|(claim, _)| of_claim(claim)).collect()).await?;
                let more = store::count(&store.results, scope).await?;
                (claimed.iter().map(of_result).collect(), Vec::new(), more)
            }
            (ended, _) => {
                let keys = store::keys(&store.results, scope).await?;
                let heads = keys.into_iter().filter_map(|(key, headers, revision)| {
                    let fits = self.fits(&launch_of(&key)?);
                    fits.then(|| (key, StoredHead::of(&headers, revision)))
                });
                let mut heads: Vec<(String, StoredHead)> = heads.collect();
                let has_ended = heads.iter().map(|(key, _)| key.clone()).collect();
                heads.retain(|(_, head)| !head.refused);
                heads.sort_by_key(|(_, head)| Reverse(head.first));
                let mut keys: Vec<String> = heads.into_iter().map(|(key, _)| key).collect();
                let left = keys.split_off(ended.unwrap_or(usize::MAX).min(keys.len()));
                (has_ended, read(store, keys).await?, left.len() as u64)
            }
        };
        let runs = claims.into_iter().map(|(claim, _)| claim);
        let runs = runs.filter(|claim| !has_ended.contains(&of_claim(claim)));
        let mut launches: Vec<Listed> =
            results.into_iter().filter_map(Listed::of_result).chain(runs.map(Listed::of_claim)).collect();
        launches.sort_by(|one, other| (one.at, &one.launch).cmp(&(other.at, &other.launch)));
        Ok(List { launches, more })
    }
}

/// What stands under these keys; one that is gone by now has been kept for long enough, or nobody can read it.
async fn read(store: &Store, keys: Vec<String>) -> Result<Vec<Stored>, Error> {
    let read = stream::iter(keys).map(|key| async move {
        match store::read::<Stored>(&store.results, &key).await {
            Ok(there) => Ok(there.map(|(stored, _)| stored)),
            // As in a list of everything.
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    });
    read.buffered(READ_AT_ONCE).try_filter_map(|there| async move { Ok(there) }).try_collect().await
}

/// The launch of a key.
fn launch_of(key: &str) -> Option<LaunchId> {
    key.split_once('.')?.1.parse().ok()
}

impl Listed {
    fn of_result(stored: Stored) -> Option<Listed> {
        let Stored { session, launch, worker, at, end: End::Result { record, .. }, .. } = stored else {
            return None;
        };
        let command = record.command.clone();
        Some(Listed { session, launch, worker, at, command, state: ListedState::Ended(record) })
    }
    fn of_claim(claim: Claim) -> Listed {
        let Claim { session, launch, worker, at, command, record, .. } = claim;
        let state = record.map_or(ListedState::Starting, ListedState::Running);
        Listed { session, launch, worker, at, command, state }
    }
}
