//! Listens on a TCP port of 127.0.0.1 that the kernel chooses, says which, and does nothing more until it is ended.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here fails the test that runs it")]

use std::{io::Write, net::TcpListener};

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("port {}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}
