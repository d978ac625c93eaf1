//! `ostler demo` is a guided tour, `ostler run` runs one command the way ostler runs those of an agent.

mod args;
mod ask;
mod board;
mod cancel;
mod demo;
mod events;
mod exit;
mod logs;
mod manual;
mod meant;
mod pass;
mod run;
mod shown;
mod stdin;
mod stored;
mod term;
mod terminal;
mod tour;
mod values;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let error = meant::by(error);
            // Nobody is left to tell if this can't be written.
            let _ = error.print();
            let mut own = std::env::args_os().skip(1).take_while(|arg| arg != "--");
            if error.use_stderr() && own.any(|arg| arg == "--json") {
                let _ = term::print_line(&exit::usage(&error));
            }
            return if error.use_stderr() { ExitCode::from(exit::OWN_ERROR) } else { ExitCode::SUCCESS };
        }
    };
    let json = args.what.json();
    let code = match args.what {
        args::What::Demo(args) => demo::demo(&args),
        args::What::Run(args) => run::run(*args),
        args::What::Ps(args) => stored::ps(&args),
        args::What::Logs(args) => logs::logs(&args),
        args::What::Show(args) => stored::show(&args),
        args::What::Wait(args) => logs::wait(&args),
        args::What::Cancel(args) => cancel::cancel(&args),
        args::What::Rm(args) => stored::rm(&args),
        args::What::Gc(args) => stored::gc(&args),
        args::What::Completions(args) => manual::completions(&args),
        args::What::Man(args) => manual::man(&args),
    };
    ExitCode::from(code.unwrap_or_else(|failure| {
        term::failed(&failure);
        if json {
            // If it can't be written, stderr has said it.
            let _ = term::print_line(&exit::json(&failure));
        }
        failure.exit_code()
    }))
}
