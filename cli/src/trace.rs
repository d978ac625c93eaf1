//! `ostler trace`: what `--trace` has recorded, in a form for people.

use crate::exit::Failure;
use clap::{Args as Group, ValueEnum};
use ostler::{
    HandleId,
    trace::{MERMAID_MESSAGES, Trace},
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// How many handles an error names.
const NAMED: usize = 10;

pub(crate) const HELP: &str = "\
Examples:
  ostler run --trace t.jsonl -- make          records what goes on
  ostler trace t.jsonl | less                 every message, and what followed from it
  ostler trace t.jsonl --as html --out t.html a page to click through; it needs no network
  ostler trace t.jsonl --as perfetto --out t.json, then open t.json on ui.perfetto.dev
  ostler trace t.jsonl --as mermaid           a sequence diagram, for a document

A trace has arguments and output of commands: look before you give one away.";

/// `ostler trace`.
#[derive(Debug, Group)]
pub(crate) struct TraceArgs {
    /// The trace, of a host that lives too; - reads stdin
    pub(crate) file: PathBuf,
    /// In which form [default: text]
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Text, hide_default_value = true)]
    pub(crate) form: Form,
    /// Only what is about this handle, and what that follows from: hto-2e96-4, 2e96-4 or 4
    #[arg(long, value_name = "H")]
    pub(crate) handle: Option<String>,
    /// Most messages of a sequence diagram [default: 200]
    #[arg(long, value_name = "N", default_value_t = MERMAID_MESSAGES, hide_default_value = true)]
    pub(crate) max_messages: usize,
    /// Write to this file, mode 0600 if it is new [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What becomes of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Each message in words, under the one that it follows from
    Text,
    /// A sequence diagram
    Mermaid,
    /// A timeline for ui.perfetto.dev, or chrome://tracing
    Perfetto,
    /// A page of its own
    Html,
}

/// Reads it whole, then writes.
pub(crate) fn trace(args: &TraceArgs) -> Result<u8, Failure> {
    let read = match args.file.as_os_str() == "-" {
        true => Trace::parse(io::stdin().lock()),
        false => Trace::read(&args.file),
    };
    let mut trace = read?;
    if let Some(text) = &args.handle {
        trace = trace.of_handle(handle(&trace, text)?);
    }
    let shown = match args.form {
        Form::Text => trace.text(),
        Form::Mermaid => trace.mermaid(args.max_messages),
        Form::Perfetto => trace.perfetto(),
        Form::Html => trace.html(),
    };
    match &args.out {
        Some(out) => write(&args.file, out, &shown)?,
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(shown.as_bytes())?;
            stdout.flush()?;
        }
    }
    Ok(0)
}

/// One of the trace's own.
pub(crate) fn handle(trace: &Trace, text: &str) -> Result<HandleId, Failure> {
    let handles = trace.handles();
    let is_it = |handle: &&HandleId| {
        let id = handle.to_string();
        id == text || id.strip_prefix("hto-") == Some(text) || handle.n.to_string() == text
    };
    handles.iter().find(is_it).copied().ok_or_else(|| {
        let mut names: Vec<String> = handles.iter().take(NAMED).map(HandleId::to_string).collect();
        if handles.len() > NAMED {
            names.push(format!("… {} in all", handles.len()));
        }
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Failure::NotInTrace { text: text.to_owned(), names }
    })
}

fn write(from: &Path, out: &Path, shown: &str) -> Result<(), Failure> {
    let failed = |source| Failure::Root { root: out.to_owned(), source };
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    if identity(out).is_some_and(|found| identity(from) == Some(found)) {
        return Err(failed(io::Error::other("this is the trace itself; write to another file")));
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(out);
    file.and_then(|mut file| file.write_all(shown.as_bytes())).map_err(failed)
}
