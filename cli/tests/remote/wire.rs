//! What a network does to a connection: bytes that go through, or nowhere, without either end being told.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// A port that leads to another one, until it is cut.
pub(crate) struct Wire {
    port: u16,
    state: Arc<(Mutex<Cut>, Condvar)>,
}
/// Which way nothing goes through.
#[derive(Clone, Copy, Default)]
struct Cut {
    there: bool,
    back: bool,
}

impl Wire {
    pub(crate) fn to(url: &str) -> Wire {
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        let ears = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire { port: ears.local_addr().unwrap().port(), state: Arc::default() };
        let state = wire.state.clone();
        // It ends with the process of the test.
        thread::spawn(move || {
            for near in ears.incoming().flatten() {
                let state = state.clone();
                thread::spawn(move || connect(near, port, &state));
            }
        });
        wire
    }
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
    /// Nothing goes through any more; what is sent waits.
    pub(crate) fn cut(&self) {
        *self.state.0.lock().unwrap() = Cut { there: true, back: true };
    }
    /// What is asked goes through, and no answer.
    pub(crate) fn is_cut_back(&self) {
        *self.state.0.lock().unwrap() = Cut { there: false, back: true };
    }
    pub(crate) fn mends(&self) {
        *self.state.0.lock().unwrap() = Cut::default();
        self.state.1.notify_all();
    }
}

fn connect(near: TcpStream, port: u16, state: &Arc<(Mutex<Cut>, Condvar)>) {
    wait(state, |cut| cut.there);
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let back = (far.try_clone().unwrap(), near.try_clone().unwrap(), state.clone());
    thread::spawn(move || copy(back.0, back.1, &back.2, |cut| cut.back));
    copy(near, far, state, |cut| cut.there);
}

fn wait(state: &(Mutex<Cut>, Condvar), is_cut: fn(Cut) -> bool) {
    let cut = state.0.lock().unwrap();
    drop(state.1.wait_while(cut, |cut| is_cut(*cut)).unwrap());
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &(Mutex<Cut>, Condvar), is_cut: fn(Cut) -> bool) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        wait(state, is_cut);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
