//! The keeper of a session: it has the graph, and serves whoever connects, until nobody has for some time.

use super::link::{self, FRAME_BYTES, Place};
use ostler_mcp::Server;
use std::{
    io::{self, Write},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    sync::{Notify, watch},
    task::JoinSet,
};

/// Written to stdout once it listens.
pub(super) const READY: &str = "ready\n";

/// How long one that has connected before the end takes to be seen: a look at the socket, and nobody can connect meanwhile.
const LATE: Duration = Duration::from_millis(50);

/// Most clients of a session at a time.
const CLIENTS: usize = 64;
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Serves until no client was there for `keep`, or `stop`; then the session ends, and only then another keeper can begin.
pub(super) async fn keep(server: &Server, place: &Place, keep: Duration, stop: &Notify) -> io::Result<()> {
    // Of its own session: what the client sends to its group or its terminal does not hit it.
    nix::unistd::setsid().map(drop).or_else(|error| match error {
        nix::Error::EPERM => Ok(()),
        error => Err(io::Error::from(error)),
    })?;
    let listener = place.listen()?;
    let own = place.identity()?;
    // Its stdin is the lock of whoever has begun it, who may be dead: until here nobody else begins a keeper.
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let mut stdout = io::stdout();
    // Who has begun it may be dead; another comes.
    let _ = stdout.write_all(READY.as_bytes()).and_then(|()| stdout.flush());
    let mut clients = JoinSet::new();
    // Of errors in a row (no descriptors are left) each is waited out longer: what runs here does not end for them.
    let mut pause = PAUSE_MIN;
    let lock = loop {
        let idle = clients.is_empty();
        tokio::select! {
            accepted = listener.accept(), if clients.len() < CLIENTS => match accepted {
                Ok((client, _)) => {
                    pause = PAUSE_MIN;
                    accept(server, &mut clients, client, place.greeting());
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            },
            Some(_) = clients.join_next() => {}
            () = stop.notified() => break place.lock().await,
            () = tokio::time::sleep(keep), if idle => {
                let lock = place.lock().await;
                // Who has connected meanwhile has come in time.
                match tokio::time::timeout(LATE, listener.accept()).await {
                    Ok(Ok((client, _))) => accept(server, &mut clients, client, place.greeting()),
                    _ => break lock,
                }
            }
        }
    };
    // What can't be removed is found to be dead by the next.
    let _ = place.remove(own);
    clients.shutdown().await;
    server.end().await;
    // Held until this process is gone: who comes then begins another keeper, which takes over what this one leaves.
    std::mem::forget(lock);
    Ok(())
}

fn accept(server: &Server, clients: &mut JoinSet<()>, client: UnixStream, greeting: Vec<u8>) {
    let own = client.peer_cred().is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw());
    if !own {
        return;
    }
    let server = server.clone();
    clients.spawn(async move {
        let (from, mut to) = client.into_split();
        if to.write_all(&greeting).await.is_err() {
            return;
        }
        let (bytes, server_side) = tokio::io::duplex(FRAME_BYTES);
        let (_, bytes) = tokio::io::split(bytes);
        let (read, _) = tokio::io::split(server_side);
        let (written, known) = watch::channel(0);
        let gone = async {
            // Its end, and a frame that is none, are the client's end.
            let _ = link::receive(from, bytes, written).await;
        };
        server.serve_confirmed(read, to, known, gone).await;
    });
}
