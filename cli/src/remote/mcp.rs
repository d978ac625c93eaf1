//! `ostler mcp --pool`: the same server, whose commands run on workers.

use super::{Failure, run::own_session};
use crate::{args::McpArgs, config::Settings};
use ostler_mcp::{OpenError, Session};
use ostler_remote::{Pool, Remote};
use std::sync::{Arc, Mutex, PoisonError};

/// What opens a session by its name, the first time that one is asked for; "": one of its own, which ends with its client.
pub(crate) type Open = Arc<dyn Fn(&str) -> Result<Session, OpenError> + Send + Sync>;

/// None: its commands run on this machine.
pub(crate) fn of_pool(args: &McpArgs, settings: &Settings) -> Result<Option<(Pool, Open)>, Failure> {
    let Some(pool) = args.pool.pool.clone() else { return Ok(None) };
    refused(args, settings)?;
    let (to, name) = (super::server(&args.pool.server)?, pool.clone());
    let connected = Mutex::new(None);
    let open = move |session: &str| {
        let mut connected = connected.lock().unwrap_or_else(PoisonError::into_inner);
        let remote = match &*connected {
            Some(remote) => Clone::clone(remote),
            None => Clone::clone(connected.insert(Remote::connect(&to)?)),
        };
        drop(connected);
        let (id, own) = match session {
            "" => (own_session("mcp"), true),
            id => (id.to_owned(), false),
        };
        Ok(Session::of_pool(remote.session(id, &name).wait()?, own))
    };
    Ok(Some((pool, Arc::new(open))))
}

/// The first setting that was asked for and can't be had, whoever has set it: one that bounds what commands do must not be left out in silence.
fn refused(args: &McpArgs, settings: &Settings) -> Result<(), Failure> {
    let not = |option, why| Err(Failure::NotThere { option, why });
    if settings.keep_for.is_some() && args.session.is_some() {
        return not(
            "--keep-for (mcp.keep_for)",
            "a session that has a name stays open there until it is ended",
        );
    }
    if settings.root.is_some() {
        return not(
            "--root (mcp.root)",
            "directories are those of the workers, and what bounds them is their user",
        );
    }
    if settings.no_network {
        return not("--no-network (mcp.no_network)", "the network is that of the workers");
    }
    if settings.max_commands.is_some() {
        return not("--max-commands (mcp.max_commands)", "the slots of its workers are the limit");
    }
    if settings.trace.is_some() {
        return not("--trace", "the actors are those of its worker");
    }
    if args.artifacts.artifacts.is_some() {
        return not("--artifacts", "it is an option of `ostler worker`");
    }
    Ok(())
}
