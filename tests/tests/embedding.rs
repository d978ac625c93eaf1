//! One graph, called from everything that a host may run on.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{Command, Config, Error, Filter, Handle, Ostler, Session, Status};
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(20);

fn start(dir: &TempDir) -> Ostler {
    Ostler::start(Config::new().artifact_root(dir.path().join("artifacts"))).unwrap()
}

fn is_embeddable<T: Send + Sync + Clone + 'static>() {}

async fn run_one(ostler: Ostler) -> String {
    let session = ostler.open_session().await.unwrap();
    let handle = session.launch(Command::new("sh").args(["-c", "printf one; printf two"])).await.unwrap();
    let entries = session.inbox().receive(Filter::results(), 1, LONG).await.unwrap();
    let result = entries[0].record().unwrap();
    assert_eq!((result.status, result.handle_id), (Status::Completed, handle.id()));
    let page = handle.read().wait_for(LONG).await.unwrap();
    assert!(page.eof);
    session.end().await.unwrap();
    page.text()
}

#[test]
fn handles_to_the_graph_are_send_sync_and_clone() {
    is_embeddable::<Ostler>();
    is_embeddable::<Session>();
    is_embeddable::<Handle>();
}

#[test]
fn from_plain_threads() {
    let dir = tempfile::tempdir().unwrap();
    let ostler = start(&dir);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let ostler = ostler.clone();
            std::thread::spawn(move || {
                let session = ostler.open_session().wait().unwrap();
                session.launch(Command::new("true")).wait().unwrap();
                let entries = session.inbox().receive(Filter::results(), 1, LONG).wait().unwrap();
                entries[0].record().unwrap().exit_code
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == Some(0)));
    ostler.shutdown().wait().unwrap();
}

#[test]
fn from_tokio_with_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let ostler = start(&dir);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(run_one(ostler.clone()))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "onetwo");
        }
    });
    ostler.shutdown().wait().unwrap();
}

/// On a runtime of one thread any call that blocked it would keep the other task from ever answering.
#[test]
fn an_async_call_never_blocks_its_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let ostler = start(&dir);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let session = ostler.open_session().wait().unwrap();
    let inbox = session.inbox();
    local.block_on(&runtime, async move {
        let waiter = tokio::task::spawn_local({
            let inbox = inbox.clone();
            async move { inbox.receive(Filter::kind("note"), 1, LONG).await.unwrap().len() }
        });
        let handle = session.launch(Command::new("sh").args(["-c", "sleep 0.1; echo late"])).await.unwrap();
        let reader =
            tokio::task::spawn_local(async move { handle.read().wait_for(LONG).await.unwrap().text() });
        inbox.push("note", "test", 1.into()).await.unwrap();
        assert_eq!(waiter.await.unwrap(), 1);
        assert_eq!(reader.await.unwrap(), "late\n");
    });
    ostler.shutdown().wait().unwrap();
}

#[test]
fn from_within_another_actix_system() {
    let dir = tempfile::tempdir().unwrap();
    let ostler = start(&dir);
    let text = actix::System::new().block_on(run_one(ostler.clone()));
    assert_eq!(text, "onetwo");
    ostler.shutdown().wait().unwrap();
}

#[test]
fn a_graph_can_be_started_and_dropped_on_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let ostler = start(&dir);
        assert_eq!(run_one(ostler).await, "onetwo");
    });
}

#[test]
fn two_graphs_in_one_process_share_nothing_but_the_numbers() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (start(&one), start(&two));
    let (a, b) = (one.open_session().wait().unwrap(), two.open_session().wait().unwrap());
    let (ha, hb) =
        (a.launch(Command::new("true")).wait().unwrap(), b.launch(Command::new("true")).wait().unwrap());
    assert_ne!(ha.id(), hb.id());
    assert!(matches!(two.cancel(ha.id(), None, false).wait(), Err(Error::Call(_))));
    one.shutdown().wait().unwrap();
    assert_eq!(b.inbox().receive(Filter::results(), 1, LONG).wait().unwrap().len(), 1);
    assert_eq!(one.shutdown().wait(), Err(Error::Closed));
    two.shutdown().wait().unwrap();
}

#[test]
fn a_drain_whose_caller_gives_up_loses_no_result() {
    let dir = tempfile::tempdir().unwrap();
    let ostler = start(&dir);
    let session = ostler.open_session().wait().unwrap();
    for _ in 0..200 {
        session.launch(Command::new("true")).wait().unwrap();
        session.inbox().wait(Filter::results(), LONG).wait().unwrap();
        // Dropped somewhere between the sending and the taking of the answer.
        drop(session.inbox().drain().begin());
        assert_eq!(session.inbox().receive(Filter::results(), 2, LONG).wait().unwrap().len(), 1);
    }
    ostler.shutdown().wait().unwrap();
}
