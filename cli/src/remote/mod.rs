//! What goes to other machines, by way of a NATS server.
//!
//! * in: the name of a pool, and where the server is
//! * out: what its workers do, shown as what this machine does
//! * keeps: what can't be had there is refused by the name of its option, before anything is asked for

mod errors;
mod find;
mod list;
mod mcp;
mod pass;
mod progress;
mod refused;
mod run;
mod stdin;
mod worker;

pub(crate) use errors::Failure;
pub(crate) use find::{cancel, logs};
pub(crate) use list::ps;
pub(crate) use mcp::{Open, of_pool};
pub(crate) use run::run;
pub(crate) use worker::worker;

use crate::args::{PoolArgs, ServerArgs};
use ostler_remote::{Connect, Pool, Remote};
use std::env;

/// Where the server is, by the options and by what the tool `nats` reads of the environment.
fn server(args: &ServerArgs) -> Result<Connect, Failure> {
    let from = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let url = args.url.clone().or_else(|| from("NATS_URL")).ok_or(Failure::NoServer)?;
    let mut connect = Connect::to(url);
    if let Some(file) = args.credentials.clone().or_else(|| from("NATS_CREDS").map(Into::into)) {
        connect = connect.credentials(file);
    }
    if let Some(file) = &args.ca {
        connect = connect.ca(file);
    }
    if let (Some(certificate), Some(key)) = (&args.cert, &args.key) {
        connect = connect.certificate(certificate, key);
    }
    Ok(connect)
}

/// The connection of one that was given a pool.
fn connect(args: &PoolArgs) -> Result<(Remote, Pool), Failure> {
    let pool = args.pool.clone().ok_or(Failure::NoPool)?;
    Ok((Remote::connect(&server(&args.server)?)?, pool))
}

/// The name of this host (proc_sys_kernel(5)).
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
