//! `ostler demo` is a guided tour, `ostler run` runs one command the way ostler runs those of an agent.

mod args;
mod ask;
mod board;
mod cancel;
mod config;
mod demo;
mod events;
mod exit;
mod explain;
mod follow;
mod init;
mod json_lines;
mod kin;
mod locale;
mod logs;
mod manual;
mod mcp;
mod meant;
mod pass;
#[cfg(feature = "nats")]
mod remote;
mod replay;
mod run;
mod screen;
mod shown;
mod stdin;
mod stored;
mod table;
mod term;
mod terminal;
mod top;
mod tour;
mod trace;
mod used;
mod values;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    term::choose_colours();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let error = meant::by(error);
            // Nobody is left to tell if this can't be written.
            let _ = error.print();
            let mut own = std::env::args_os().skip(1).take_while(|arg| arg != "--");
            let asked = own.find(|arg| arg == "--json" || arg == "--events").filter(|_| error.use_stderr());
            if let Some(asked) = asked {
                let events = asked == "--events";
                let usage = if events { json_lines::usage(&error) } else { exit::usage(&error) };
                let _ = term::print_line(&usage);
            }
            return if error.use_stderr() { ExitCode::from(exit::OWN_ERROR) } else { ExitCode::SUCCESS };
        }
    };
    let (json, events) = (args.what.json(), args.what.events());
    let code = match args.what {
        #[cfg(feature = "nats")]
        args::What::Run(args) if args.pool.is_given() => remote::run(*args),
        #[cfg(feature = "nats")]
        args::What::Ps(args) if args.pool.is_given() => remote::ps(&args),
        #[cfg(feature = "nats")]
        args::What::Logs(args) if args.pool.is_given() => remote::logs(&args),
        #[cfg(feature = "nats")]
        args::What::Cancel(args) if args.pool.is_given() => remote::cancel(&args),
        #[cfg(feature = "nats")]
        args::What::Worker(args) => remote::worker(*args),
        args::What::Demo(args) => demo::demo(&args),
        args::What::Run(args) => run::run(*args),
        args::What::Ps(args) => stored::ps(&args),
        args::What::Top(args) => top::top(&args),
        args::What::Logs(args) => logs::logs(&args),
        args::What::Show(args) => stored::show(&args),
        args::What::Wait(args) => logs::wait(&args),
        args::What::Follow(args) => follow::follow(&args),
        args::What::Cancel(args) => cancel::cancel(&args),
        args::What::Rm(args) => stored::rm(&args),
        args::What::Gc(args) => stored::gc(&args),
        args::What::Trace(args) => trace::trace(&args),
        args::What::Replay(args) => replay::replay(&args),
        args::What::Explain(args) => explain::explain(&args),
        args::What::Mcp(args) => mcp::mcp(&args),
        args::What::Config(args) => config::config(&args),
        args::What::Init(args) => init::init(&args),
        args::What::Completions(args) => manual::completions(&args),
        args::What::Man(args) => manual::man(&args),
    };
    ExitCode::from(code.unwrap_or_else(|failure| {
        term::failed(&failure);
        if json {
            // If it can't be written, stderr has said it.
            let error = if events { json_lines::error(&failure) } else { exit::json(&failure) };
            let _ = term::print_line(&error);
        }
        failure.exit_code()
    }))
}
