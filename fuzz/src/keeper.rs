//! What a client's process and the keeper of its session say to each other: frames, to the keeper; its first line, from it. A first byte `g` is
//! such a line, `c` a client's bytes to be sent and read, anything else frames.

// The program has no library; this is the file itself.
#[allow(dead_code, unreachable_pub, reason = "the program uses all of it")]
#[path = "../../cli/src/mcp/link.rs"]
mod link;

use crate::{files::made, pieces};
use link::{FRAME_BYTES, Place};
use std::collections::BTreeMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::{Builder, Runtime},
    sync::watch,
};

thread_local! {
    static RUNTIME: Runtime = made(Builder::new_current_thread().enable_all().build());
}

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    RUNTIME.with(|runtime| match bytes.split_first() {
        Some((b'g', line)) => runtime.block_on(greets(line)),
        Some((b'c', said)) => runtime.block_on(comes_through(said)),
        _ => {
            let whole = runtime.block_on(taken(&[bytes]));
            let parts = runtime.block_on(taken(&pieces(bytes)));
            assert_eq!(whole, parts, "what comes through depends on the pieces");
        }
    });
}

/// What comes out, how much the client has, and why it ended.
async fn taken(pieces: &[&[u8]]) -> (Vec<u8>, u64, String) {
    let (mut client, keeper) = made(UnixStream::pair());
    let (ours, mut server) = tokio::io::duplex(FRAME_BYTES);
    let (_, write) = tokio::io::split(ours);
    let (written, seen) = watch::channel(0);
    let (from, _) = keeper.into_split();
    let says = async move {
        for piece in pieces {
            // It has had enough.
            if client.write_all(piece).await.is_err() {
                break;
            }
        }
        drop(client);
    };
    let mut out = Vec::new();
    let (ended, (), read) =
        tokio::join!(link::receive(from, write, written), says, server.read_to_end(&mut out));
    made(read);
    let why = match ended {
        Ok(()) => panic!("a receiver ended, and nobody had gone"),
        Err(error) => error.to_string(),
    };
    assert!(why.contains(' '), "{why:?} is no reason");
    (out, *seen.borrow(), why)
}

async fn comes_through(said: &[u8]) {
    let (client, keeper) = made(UnixStream::pair());
    let (ours, mut server) = tokio::io::duplex(FRAME_BYTES);
    let (_, write) = tokio::io::split(ours);
    let (written, seen) = watch::channel(0);
    let (from, _) = keeper.into_split();
    let (_, mut to) = client.into_split();
    let says = async move {
        for piece in pieces(said) {
            made(link::send_data(&mut to, piece).await);
        }
        made(link::send_written(&mut to, said.len() as u64).await);
        made(link::send_end(&mut to).await);
    };
    let mut out = Vec::new();
    let (_, (), read) = tokio::join!(link::receive(from, write, written), says, server.read_to_end(&mut out));
    made(read);
    assert_eq!((out.as_slice(), *seen.borrow()), (said, said.len() as u64));
}

/// Somebody says this in place of a keeper.
async fn greets(line: &[u8]) {
    let dir = made(tempfile::tempdir());
    let settings = BTreeMap::from([("trace", "/a".to_owned()), ("root", "/b".to_owned())]);
    let place = Place::of(dir.path().to_owned(), "chat", settings);
    let lock = made(place.lock().await);
    let listener = made(place.listen());
    let keeper = async {
        let (mut stream, _) = made(listener.accept().await);
        // Who connects may have had enough.
        let _ = stream.write_all(line).await;
    };
    let (connected, ()) = tokio::join!(place.connect(&lock), keeper);
    match connected {
        Ok(Some(_)) => assert!(line.contains(&b'\n'), "half a line is none"),
        Ok(None) => assert!(!line.contains(&b'\n'), "a line that was said is not heard"),
        Err(error) => assert!(error.to_string().contains(' '), "{error}"),
    }
}
