//! What is made of the command line itself: completions for a shell, pages for man(1).

use crate::{
    args::{Args, CompletionsArgs, ManArgs},
    exit::Failure,
};
use clap::CommandFactory;
use std::io::{self, Write};

/// `ostler completions`.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "ostler", &mut text);
    io::stdout().write_all(&text)?;
    Ok(0)
}

/// `ostler man`.
pub(crate) fn man(args: &ManArgs) -> Result<u8, Failure> {
    let mut all = Args::command();
    all.build();
    let page = match &args.of {
        Some(name) => {
            let found = all.find_subcommand(name).cloned();
            let page = found.ok_or_else(|| Failure::NoPage { name: name.clone() })?;
            page.version(env!("CARGO_PKG_VERSION"))
        }
        None => all,
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    io::stdout().write_all(&text)?;
    Ok(0)
}
