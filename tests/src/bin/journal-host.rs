//! A host with a journal in a process of its own, that does what it is told, so that a test can kill it at any moment.
//!
//! ```text
//! journal-host ROOT BASE [power-loss]
//! ```
//!
//! It records a trace to a file of its own in `traces` beside BASE. It says what it has found, and then answers each line of its input with a line, both JSON:
//!
//! ```text
//! {"open": SESSION}                                     {"recovered": true} or {"error": …}
//! {"launch": [PROGRAM, ARGS…], "session": SESSION, "key": KEY}   the record
//! {"take": SESSION, "wait_ms": MS}                      its entries, taken
//! {"read": SESSION}                                     its entries
//! {"acknowledge": [NUMBERS], "session": SESSION}        how many
//! {"push": CONTENT, "session": SESSION}                 its number
//! {"result": HANDLE, "session": SESSION}                {"taken": …, "record": …}
//! {"cancel": HANDLE, "session": SESSION}                the same
//! {"output": HANDLE, "session": SESSION}                its combined output
//! {"list": SESSION}                                     its records, those that have ended too
//! {"end": SESSION}                                      the tally
//! {"health": null}                                      what is wrong
//! {"shutdown": null}                                    the tally, and its end
//! ```

use ostler::{
    Command, Config, Durability, Entry, Error, Filter, HandleId, Inbox, Journal, Ostler, Record, Session,
    TraceTo,
};
use ostler_tests::hosts::Done;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

fn main() -> Done<()> {
    let mut args = std::env::args().skip(1);
    let (root, base) = (args.next().ok_or("ROOT")?, args.next().ok_or("BASE")?);
    let durability = match args.next().as_deref() {
        Some("power-loss") => Durability::PowerLoss,
        _ => Durability::HostDeath,
    };
    let tier = std::env::var(ostler_tests::TIER_VARIABLE).unwrap_or_default();
    let traces = Path::new(&base).with_file_name("traces");
    std::fs::create_dir_all(&traces)?;
    // A number of a process can come again.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let trace = traces.join(format!("{}-{}.jsonl", now.as_nanos(), std::process::id()));
    let journal = Journal::named("agent").below(PathBuf::from(base)).durability(durability);
    let config = Config::new().artifact_root(root).journal(journal).trace(TraceTo::File(trace));
    let config = config.containment(ostler_tests::tier_of(&tier));
    let ostler = match Ostler::start(config) {
        Ok(ostler) => ostler,
        Err(error) => return say(&json!({ "error": error.to_string() })),
    };
    let found = ostler.recovered();
    say(&json!({
        "pid": std::process::id(),
        "sessions": found.sessions,
        "lost": found.lost,
        "unread": found.unread,
        "trouble": found.trouble,
    }))?;
    // A reader holds what it has read as long as it lives.
    let mut readers = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let ends = asked.get("shutdown").is_some();
        match answer(&ostler, &asked, &mut readers) {
            Ok(answer) => say(&answer)?,
            Err(error) => say(&json!({ "error": error.to_string() }))?,
        }
        if ends {
            return Ok(());
        }
    }
    Ok(())
}

fn say(value: &Value) -> Done<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

fn answer(ostler: &Ostler, asked: &Value, readers: &mut BTreeMap<String, Inbox>) -> Done<Value> {
    let text = |name: &str| asked.get(name).and_then(Value::as_str).map(str::to_owned);
    let session = || -> Session { ostler.session(text("session").unwrap_or_default()) };
    let handle_id = |name: &str| -> Done<HandleId> { Ok(text(name).ok_or("no handle")?.parse()?) };
    let entries = |entries: Vec<Entry>| json!(entries);
    let record = |record: &Record| json!(record);
    if let Some(id) = text("open") {
        let session = ostler.open_session_as(id.as_str()).wait()?;
        readers.insert(id, session.inbox());
        return Ok(json!({ "recovered": session.is_recovered() }));
    }
    if let Some(words) = asked.get("launch").and_then(Value::as_array) {
        let mut words = words.iter().filter_map(Value::as_str);
        let mut command = Command::new(words.next().ok_or("no program")?).args(words);
        command = command.grace(Duration::from_millis(200));
        if let Some(key) = text("key") {
            command = command.launch_key(key);
        }
        return Ok(record(session().launch(command).wait()?.record()));
    }
    if let Some(id) = text("take") {
        let wait = Duration::from_millis(asked["wait_ms"].as_u64().unwrap_or(0));
        let taken = ostler.session(id).inbox().receive(Filter::any(), usize::MAX, wait).wait()?;
        return Ok(entries(taken));
    }
    if let Some(id) = text("read") {
        let reader = readers.entry(id.clone()).or_insert_with(|| ostler.session(id).inbox());
        return Ok(entries(reader.read(Filter::any(), usize::MAX).wait()?));
    }
    if let Some(numbers) = asked.get("acknowledge").and_then(Value::as_array) {
        let numbers: Vec<u64> = numbers.iter().filter_map(Value::as_u64).collect();
        return Ok(json!(session().inbox().acknowledge_these(&numbers).wait()?));
    }
    if let Some(content) = asked.get("push") {
        return Ok(json!(session().inbox().push("note", "host", content.clone()).wait()?));
    }
    if asked.get("result").is_some() {
        let ended = session().handle(handle_id("result")?).wait()?.result().wait()?;
        return Ok(json!({ "taken": ended.taken, "record": record(&ended.record) }));
    }
    if asked.get("cancel").is_some() {
        let cancelled = session().handle(handle_id("cancel")?).wait()?.cancel().wait()?;
        return Ok(json!({ "taken": cancelled.taken, "record": record(&cancelled.record) }));
    }
    if asked.get("output").is_some() {
        let page = session().handle(handle_id("output")?).wait()?.read().wait()?;
        return Ok(json!(page.text()));
    }
    if let Some(id) = text("list") {
        let listed = ostler.session(id).list_all().wait()?;
        return Ok(listed.iter().map(|listed| record(listed.handle.record())).collect());
    }
    if let Some(id) = text("end") {
        return Ok(json!(ostler.session(id).end().wait()?));
    }
    if asked.get("health").is_some() {
        return Ok(json!(ostler.health().journal_error));
    }
    if asked.get("shutdown").is_some() {
        readers.clear();
        return Ok(json!(ostler.shutdown().wait()?));
    }
    Err(Error::Closed.into())
}
