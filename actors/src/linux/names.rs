//! Names of signals.

use nix::{libc, sys::signal::Signal as UnixSignal};

/// The name of a signal: `SIGKILL`, `SIGRTMIN+3`.
pub(crate) fn signal_name(number: i32) -> String {
    let first = libc::SIGRTMIN();
    match UnixSignal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if number == first => "SIGRTMIN".to_owned(),
        Err(_) if number > first && number <= libc::SIGRTMAX() => format!("SIGRTMIN+{}", number - first),
        Err(_) => format!("signal {number}"),
    }
}
