//! What the tour shows before and after: the plan, the inbox, the messages, and where to go from there.

use crate::{
    term::{BOLD, DIM, style},
    tour::Stop,
};
use anstyle::Style;
use ostler::{ActorName, Delivery, Entry, HandleId, Tally, Text};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{self, Write},
    path::Path,
};

/// Longest text of a row of the inbox, in characters.
const TEXT_CHARS: usize = 40;
/// Longest line of the story, in characters.
const STORY_CHARS: usize = 116;

/// To stdout, in one piece; colors only for a terminal, and not with `NO_COLOR`.
fn say(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let mut text = Vec::new();
    write(&mut text)?;
    let mut stdout = anstream::stdout();
    stdout.write_all(&text)?;
    stdout.flush()
}

/// What there will be to see.
pub(crate) fn plan(stops: &[Stop]) -> io::Result<()> {
    say(|out| {
        writeln!(out, "{BOLD}Five commands at once, in one session{BOLD:#}\n")?;
        for stop in stops {
            writeln!(out, "    {BOLD}{:<8}{BOLD:#}{}", stop.name, stop.about)?;
        }
        writeln!(out)
    })
}

/// What an agent finds when it looks, before and after the session's end.
pub(crate) fn inbox(
    names: &[(HandleId, &str)],
    before: &[Entry],
    tally: &Tally,
    after: &[Entry],
) -> io::Result<()> {
    say(|out| {
        writeln!(out, "\n{BOLD}The inbox, as the agent finds it{BOLD:#}\n")?;
        writeln!(
            out,
            "{DIM}    seq  kind           handle          command  status               newest line{DIM:#}"
        )?;
        let row = |out: &mut Vec<u8>, entry: &Entry| {
            let Some(record) = entry.record() else { return Ok(()) };
            let name = names.iter().find(|(id, _)| *id == record.handle_id).map_or("", |(_, name)| name);
            let (style, ending) = match entry.is_result() {
                true => (style(record), record.ending()),
                false => (Style::new(), record.status.to_string()),
            };
            let (handle, text) = (
                record.handle_id.to_string(),
                shortened(record.stdout.lines().last().unwrap_or_default(), TEXT_CHARS),
            );
            let (sequence, kind) = (entry.sequence, &entry.kind);
            writeln!(
                out,
                "    {sequence:>3}  {kind:<13}  {handle:<14}  {name:<7}  {style}{ending:<19}{style:#}  {text}"
            )
        };
        before.iter().try_for_each(|entry| row(out, entry))?;
        let Tally { completed, killed, timed_out, .. } = tally;
        writeln!(
            out,
            "{DIM}         the session ends: {completed} completed, {killed} killed, {timed_out} timed out{DIM:#}"
        )?;
        after.iter().try_for_each(|entry| row(out, entry))?;
        writeln!(
            out,
            "\n    {DIM}Of each command at most one progress entry is unread: the newest, which is gone when the result\n    \
             comes. The result of a cancel is the answer to the one who cancelled, so `server` is not here.{DIM:#}"
        )
    })
}

fn shortened(line: &str, most_chars: usize) -> String {
    match line.char_indices().nth(most_chars) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

/// The life of one command, as the messages between the actors tell it.
pub(crate) fn story(trace: &str, about: HandleId) -> io::Result<()> {
    say(|out| {
        writeln!(out, "\n{BOLD}What the actors said to each other about `server`{BOLD:#}\n")?;
        writeln!(
            out,
            "    {DIM}What comes from the host or the kernel has a time; what followed from it is indented.{DIM:#}\n"
        )?;
        for line in ostler::narrate(&excerpt(trace, about)).lines() {
            writeln!(out, "{}", shortened(line, STORY_CHARS))?;
        }
        Ok(())
    })
}

/// The lines of a trace that are about one command, and those that they follow from.
fn excerpt(trace: &str, about: HandleId) -> String {
    let id = about.to_string();
    let of_it = |name: ActorName| match name {
        ActorName::Process(n) | ActorName::Drain(n, _) | ActorName::Ticker(n) => n == about.n,
        _ => false,
    };
    let deliveries: Vec<(&str, Delivery)> =
        trace.lines().filter_map(|line| Some((line, serde_json::from_str(line).ok()?))).collect();
    let causes: BTreeMap<u64, Option<u64>> =
        deliveries.iter().map(|(_, delivery)| (delivery.sequence, delivery.cause)).collect();
    let mut kept = BTreeSet::new();
    for (_, delivery) in &deliveries {
        if of_it(delivery.from) || of_it(delivery.to) || names(&delivery.body, &id) {
            let mut next = Some(delivery.sequence);
            while let Some(sequence) = next.filter(|sequence| kept.insert(*sequence)) {
                next = causes.get(&sequence).copied().flatten();
            }
        }
    }
    let lines = deliveries.iter().filter(|(_, delivery)| kept.contains(&delivery.sequence));
    lines.flat_map(|(line, _)| [line, "\n"]).collect()
}

/// Whether a message is about this handle.
fn names(body: &Value, id: &str) -> bool {
    match body {
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| (key == "handle_id" && value == id) || names(value, id))
        }
        Value::Array(items) => items.iter().any(|item| names(item, id)),
        _ => false,
    }
}

/// Where to go from here.
pub(crate) fn end(artifact_root: &Path) -> io::Result<()> {
    say(|out| {
        let root = Text::from(artifact_root);
        // As it was called: after `cargo run` it is not in PATH.
        let ostler = env::args_os().next().map_or("ostler".into(), Text);
        writeln!(out, "\n{BOLD}Where to go from here{BOLD:#}\n")?;
        let rows = [
            (root.to_string(), "all output, a directory for each command"),
            (format!("{ostler} run -- cargo --version"), "one command of yours"),
            (format!("{ostler} run --trace FILE -- …"), "and its messages, as JSON Lines"),
            ("messages/src/lib.rs".to_owned(), "the vocabulary: begin to read here"),
        ];
        let width = rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        rows.iter().try_for_each(|(what, about)| writeln!(out, "    {what:<width$}  {DIM}{about}{DIM:#}"))
    })
}
