//! `ostler mcp`: a server of the Model Context Protocol, for as long as its client is there.

mod front;
#[cfg(feature = "http")]
mod http;
mod keeper;
mod link;
mod log;
mod network;

use crate::{args::McpArgs, config::Settings, events, exit::Failure};
#[cfg(feature = "http")]
pub(crate) use http::{Address, address};
use link::Place;
use ostler::{
    Config, Journal, Ostler,
    journal::{Reader, SessionState},
};
use ostler_mcp::{Options, Server, stdio_pipes};
use std::{
    io,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long a server that ends its session is waited for: it does nothing else any more.
const LEAVING_TIME: Duration = Duration::from_secs(5);
/// Between two looks at it.
const LEAVING_PAUSE: Duration = Duration::from_millis(20);
/// Longest name of a session that is a folder's name too.
const NAME_MAX_BYTES: usize = 40;

/// The journal of a session: one of its own, since a host that starts takes over whatever it finds in its journal.
fn journal_of(session: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match session.len() <= NAME_MAX_BYTES && session.chars().all(plain) {
        true => format!("mcp-{session}"),
        false => format!("mcp.{}", link::digits_of(session)),
    }
}

pub(crate) fn mcp(args: &McpArgs) -> Result<u8, Failure> {
    let settings = Settings::of(args)?;
    if settings.no_network {
        // Before there is another thread.
        leave_network(args)?;
    }
    let _log = log::begin(settings.log.as_deref()).map_err(Failure::system("--log"))?;
    let stop = Arc::new(Notify::new());
    let told = stop.clone();
    events::signals(&[], move |_| {
        told.notify_one();
        true
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::system("no runtime"))?;
    let runs = runs(args, &settings)?;
    // The connection of a pool ends with it, out here, where what it has to say yet can be waited for.
    let kept = runs.clone();
    let ended = runtime.block_on(serve(args, (&settings, runs), &stop));
    // A read of stdin that is no pipe can't be interrupted, and is not waited for.
    runtime.shutdown_background();
    drop(kept);
    ended.map(|()| 0)
}

fn leave_network(args: &McpArgs) -> Result<(), Failure> {
    #[cfg(feature = "http")]
    if matches!(&args.http, Some(Address::Loopback(_))) {
        let error = io::Error::other("no client could reach an address in it; serve over unix:PATH");
        return Err(Failure::system("--no-network with --http")(error));
    }
    let _ = args;
    network::leave().map_err(Failure::system("--no-network"))
}

async fn serve(args: &McpArgs, (settings, runs): (&Settings, Where), stop: &Notify) -> Result<(), Failure> {
    #[cfg(feature = "http")]
    if let Some(address) = &args.http {
        return http::serve(address, args.token_file.as_deref(), runs, stop).await;
    }
    let (server, is_here) = server(args, runs);
    let Some(session) = args.session.as_ref().filter(|_| is_here) else {
        server.serve_stdio(stop.notified()).await;
        server.end().await;
        return Ok(());
    };
    let failed = |error| Failure::system("the session's keeper")(error);
    let base = ostler::journal::default_base();
    let base =
        base.ok_or_else(|| io::Error::other("neither XDG_STATE_HOME nor HOME is set, so it has no place"));
    let place = Place::of(base.map_err(failed)?.join(journal_of(session)), session, settings.decisive());
    let served = match (args.keeper, settings.keep_for) {
        (true, Some(keep)) => {
            let kept = keeper::keep(&server, &place, keep, stop).await;
            if let Err(error) = &kept {
                // Whoever has begun it reads this in place of the word that it is ready.
                println!("{error}");
            }
            kept
        }
        (_, keep) => {
            let keeper = keep.map(|_| again()).transpose().map_err(failed)?;
            let served = front::serve(&server, &place, keeper, stdio_pipes(), stop).await;
            server.end().await;
            served
        }
    };
    served.map_err(failed)
}

/// This program with these arguments, as a keeper.
fn again() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--keeper");
    Ok(command)
}

fn options(settings: &Settings) -> Options {
    let mut options = Options::new();
    options.root = settings.root.clone();
    options.env_mode = settings.env_mode;
    options.timeout = settings.timeout;
    options.memory_limit = settings.memory_limit;
    options.processes_limit = settings.processes_limit;
    options.output_limit = settings.output_limit;
    options
}

/// Where its commands run.
#[derive(Clone)]
enum Where {
    /// By a graph of this configuration.
    Here(Options, Box<Config>),
    /// Whatever this opens.
    #[cfg(feature = "nats")]
    Pool(Options, crate::remote::Open),
}

fn runs(args: &McpArgs, settings: &Settings) -> Result<Where, Failure> {
    #[cfg(feature = "nats")]
    if let Some((pool, open)) = crate::remote::of_pool(args, settings)? {
        let mut options = options(settings);
        options.pool = Some(pool.to_string());
        return Ok(Where::Pool(options, open));
    }
    let _ = args;
    Ok(Where::Here(options(settings), Box::new(settings.config())))
}

/// The server of one session, and whether that is on this machine.
fn server(args: &McpArgs, runs: Where) -> (Server, bool) {
    let session = args.session.clone();
    match runs {
        Where::Here(options, config) => (here(options, *config, session), true),
        #[cfg(feature = "nats")]
        Where::Pool(options, open) => {
            (Server::new(options, move || open(session.as_deref().unwrap_or_default())), false)
        }
    }
}

fn here(options: Options, mut config: Config, session: Option<String>) -> Server {
    if let Some(name) = &session {
        config = config.journal(Journal::named(journal_of(name)));
    }
    Server::new(options, move || {
        let Some(name) = &session else { return Ok(Ostler::start(config.clone())?.open_session().wait()?) };
        let until = Instant::now() + LEAVING_TIME;
        loop {
            let session = Ostler::start(config.clone())?.open_session_as(name.as_str()).wait()?;
            if Instant::now() > until || !is_left_by_another(name) {
                return Ok(session);
            }
            // Its server has ended it, and is not gone yet: only then what was not told there can be told here.
            session.end().wait()?;
            drop(session);
            std::thread::sleep(LEAVING_PAUSE);
        }
    })
}

/// Whether another host has something unread of this session.
fn is_left_by_another(session: &str) -> bool {
    let hosts = Reader::open(&journal_of(session), None).and_then(|reader| reader.hosts());
    // What can't be read can't be waited for; starting has said so.
    let others = hosts.unwrap_or_default().into_iter().filter(|host| host.pid != std::process::id());
    let is_it = |found: SessionState| found.session_id.as_str() == session && !found.unread.is_empty();
    others.flat_map(|host| host.sessions).any(is_it)
}
