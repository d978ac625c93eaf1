//! `ostler.toml`: what a person or a machine's owner has set once for all of ostler's servers, and `ostler config`, which says what is in
//! force and from where.
//!
//! * keeps: nothing is read from the working directory: a repository would set the limits of what runs in it

use crate::{
    args::{ConfigArgs, McpArgs},
    exit::Failure,
    term,
    values::{Mode, seconds},
};
use bytesize::ByteSize;
use clap::ValueEnum;
use ostler::{Config, EnvMode, TraceTo};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{Table, Value};

/// Each setting, and what holds if nobody sets it.
const SETTINGS: [(&str, &str); 14] = [
    ("artifacts", "~/.local/state/ostler/artifacts"),
    ("mcp.root", "anywhere"),
    (NO_NETWORK, "false"),
    ("mcp.log", "what is wrong, to stderr"),
    ("mcp.env_mode", "inherit_clean"),
    ("mcp.keep_for", "not at all"),
    ("mcp.max_commands", "1024"),
    ("mcp.timeout", "no limit"),
    ("mcp.output_limit", "no limit"),
    ("mcp.memory_limit", "no limit"),
    ("mcp.processes_limit", "no limit"),
    ("retention.age", "7days"),
    ("retention.commands", "512"),
    ("retention.bytes", "10GiB"),
];
/// The only one that is a yes or no.
const NO_NETWORK: &str = "mcp.no_network";
const NAME: &str = "ostler.toml";
const MACHINE: &str = "/etc/ostler";

/// What is in force.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) artifacts: Option<PathBuf>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) no_network: bool,
    pub(crate) log: Option<PathBuf>,
    pub(crate) env_mode: EnvMode,
    pub(crate) keep_for: Option<Duration>,
    pub(crate) max_commands: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) output_limit: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) processes_limit: Option<u64>,
    /// By a flag only: it is for looking into one server.
    pub(crate) trace: Option<PathBuf>,
    retention: (Option<Duration>, Option<u64>, Option<u64>),
}

impl Settings {
    /// What the flags say, and where they say nothing the files.
    pub(crate) fn of(args: &McpArgs) -> Result<Settings, Failure> {
        let found = Found::read(args.config.as_deref())?;
        let path = |name| found.get(name, path);
        let mode = |text: &str| Mode::from_str(text, false);
        let env_mode = args.env_mode.or(found.get("mcp.env_mode", mode)?);
        // Once: a command could put a link in its place.
        let root = args.root.clone().or(path("mcp.root")?).map(|root| {
            let resolved = root.canonicalize();
            resolved.map_err(|source| Failure::Root { root, source })
        });
        Ok(Settings {
            artifacts: args.artifacts.artifacts.clone().or(path("artifacts")?),
            root: root.transpose()?,
            no_network: args.no_network || found.get(NO_NETWORK, yes)?.unwrap_or(false),
            log: args.log.clone().or(path("mcp.log")?),
            env_mode: env_mode.unwrap_or(Mode::InheritClean).into(),
            keep_for: args.keep_for.or(found.get("mcp.keep_for", seconds)?),
            max_commands: args.max_commands.or(found.get("mcp.max_commands", count)?),
            timeout: args.timeout.or(found.get("mcp.timeout", limit)?),
            output_limit: args.output_limit.or(found.get("mcp.output_limit", bytes)?),
            memory_limit: args.memory_limit.or(found.get("mcp.memory_limit", bytes)?),
            processes_limit: args.processes_limit.or(found.get("mcp.processes_limit", count)?),
            trace: args.trace.clone(),
            retention: (
                found.get("retention.age", seconds)?,
                found.get("retention.commands", count)?,
                found.get("retention.bytes", bytes)?,
            ),
        })
    }

    /// What commands depend on, by name: those of a session that outlives its client have what it was begun with.
    pub(crate) fn decisive(&self) -> BTreeMap<&'static str, String> {
        let mut set = BTreeMap::from([("mcp.env_mode", format!("{:?}", self.env_mode))]);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let all = [
            ("artifacts", path(&self.artifacts)),
            ("mcp.root", path(&self.root)),
            // From where the client was started; a keeper has another directory in the end.
            ("--trace", path(&self.trace.as_ref().and_then(|path| std::path::absolute(path).ok()))),
            (NO_NETWORK, self.no_network.then(|| "true".to_owned())),
            ("mcp.max_commands", number(self.max_commands)),
            ("mcp.timeout", self.timeout.map(|time| humantime::format_duration(time).to_string())),
            ("mcp.output_limit", number(self.output_limit)),
            ("mcp.memory_limit", number(self.memory_limit)),
            ("mcp.processes_limit", number(self.processes_limit)),
        ];
        set.extend(all.into_iter().filter_map(|(name, value)| Some((name, value?))));
        set
    }

    /// For the graph.
    pub(crate) fn config(&self) -> Config {
        let mut config = crate::run::config(self.artifacts.as_ref());
        if let Some(commands) = self.max_commands {
            config.limits.session_handles = commands;
        }
        if let Some(path) = &self.trace {
            config = config.trace(TraceTo::File(path.clone()));
        }
        let (age, commands, bytes) = self.retention;
        if let Some(age) = age {
            config.retention.age = age;
        }
        if let Some(commands) = commands {
            config.retention.commands = usize::try_from(commands).unwrap_or(usize::MAX);
        }
        if let Some(bytes) = bytes {
            config.retention.bytes = bytes;
        }
        // To stderr, and to the file of `--log`.
        config.on_trace_dump(|dump| tracing::warn!(target: "ostler", "{dump}"))
    }
}

/// Of the user's home, or absolute: where a server was started decides nothing.
fn path(text: &str) -> Result<PathBuf, String> {
    let home = || env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    match (text.strip_prefix("~/"), Path::new(text).is_absolute()) {
        (Some(rest), _) => Ok(home().ok_or("HOME is not set; write the whole path")?.join(rest)),
        (None, true) => Ok(PathBuf::from(text)),
        (None, false) => Err("write an absolute path, or one that begins with ~/".to_owned()),
    }
}

fn yes(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "write true or false".to_owned())
}

fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("0 is no limit; leave it out".to_owned()),
        other => other.map_err(|_| "write a whole number".to_owned()),
    }
}

fn limit(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("0 leaves no time at all; leave it out for no limit".to_owned()),
        time => Ok(time),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => Err("0 is no limit; leave it out".to_owned()),
        other => {
            other.map(|size| size.0).map_err(|_| "write a number of bytes, like 1000000 or 2GiB".to_owned())
        }
    }
}

/// What the files say, by name; of the nearest file that says something.
#[derive(Debug, Default)]
struct Found(Vec<(&'static str, String, PathBuf)>);

impl Found {
    /// Of this file alone, or of the user's and the machine's.
    fn read(chosen: Option<&Path>) -> Result<Found, Failure> {
        let mut found = Found::default();
        if let Some(path) = chosen {
            found.add(path, &fs::read_to_string(path).map_err(|error| failed(path, error))?)?;
            return Ok(found);
        }
        for path in places() {
            match fs::read_to_string(&path) {
                Ok(text) => found.add(&path, &text)?,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Ok(found)
    }

    fn add(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| failed(path, error))?;
        self.take(path, "", &table)
    }

    fn take(&mut self, path: &Path, before: &str, table: &Table) -> Result<(), Failure> {
        for (key, value) in table {
            let name = format!("{before}{key}");
            let text = match value {
                Value::Table(inner) if before.is_empty() => {
                    self.take(path, &format!("{name}."), inner)?;
                    continue;
                }
                Value::String(text) => text.clone(),
                Value::Integer(number) => number.to_string(),
                Value::Boolean(yes) if name == NO_NETWORK => yes.to_string(),
                _ => return Err(failed(path, format!("{name}: write a text or a number"))),
            };
            let Some((known, _)) = SETTINGS.iter().find(|(known, _)| *known == name) else {
                let names = SETTINGS.map(|(name, _)| name).join(", ");
                return Err(failed(path, format!("{name} is no setting; there are {names}")));
            };
            if !self.0.iter().any(|(given, ..)| given == known) {
                self.0.push((known, text, path.to_owned()));
            }
        }
        Ok(())
    }

    fn get<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Failure> {
        let Some((_, text, path)) = self.0.iter().find(|(given, ..)| *given == name) else { return Ok(None) };
        read(text).map(Some).map_err(|error| failed(path, format!("{name}: {error}")))
    }
}

fn failed(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Settings { path: path.to_owned(), why: why.to_string().trim_end().to_owned() }
}

/// The user's file, then the machine's.
fn places() -> Vec<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let own = own.map(|dir| dir.join("ostler").join(NAME));
    own.into_iter().chain([Path::new(MACHINE).join(NAME)]).collect()
}

/// `ostler config`: every setting, its value, and from where.
pub(crate) fn config(args: &ConfigArgs) -> Result<u8, Failure> {
    // What can't be read is told in the same way as a server would.
    let only_files = McpArgs { config: args.config.clone(), ..McpArgs::default() };
    Settings::of(&only_files)?;
    let found = Found::read(args.config.as_deref())?;
    let rows = SETTINGS.map(|(name, default)| {
        let given = found.0.iter().find(|(given, ..)| *given == name);
        given.map_or((name, default.to_owned(), None), |(_, value, path)| (name, value.clone(), Some(path)))
    });
    if args.json {
        let rows = rows.map(|(name, value, from)| {
            serde_json::json!({ "name": name, "value": value, "from": from.map(|path| path.to_string_lossy()) })
        });
        term::print_line(&serde_json::json!({ "settings": rows }))?;
        return Ok(0);
    }
    let mut out = io::stdout().lock();
    for (name, value, from) in &rows {
        let from = from.map_or_else(|| "default".to_owned(), |path| path.display().to_string());
        writeln!(out, "{name:<20} {value:<32} {from}")?;
    }
    if args.config.is_none() {
        let places: Vec<String> = places().iter().map(|path| path.display().to_string()).collect();
        writeln!(out, "\nRead where they are there, the first that says something: {}", places.join(", "))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Found, String> {
        let mut found = Found::default();
        found.add(Path::new("/f"), text).map_err(|error| error.to_string())?;
        Ok(found)
    }

    #[test]
    fn what_is_no_setting_is_refused_by_name() {
        for (text, says) in [
            ("[mcp]\nrot = \"/\"", "mcp.rot is no setting"),
            ("root = \"/\"", "root is no setting"),
            ("[mcp]\ntimeout = true", "mcp.timeout: write a text or a number"),
            ("[mcp", "/f: "),
            ("[mcp.more]\nroot = 1", "mcp.more: write a text"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn values_are_those_of_the_flags() {
        let found = read("[mcp]\ntimeout = 90\noutput_limit = \"2MiB\"\nmax_commands = 0").unwrap();
        assert_eq!(found.get("mcp.timeout", limit).unwrap(), Some(Duration::from_secs(90)));
        assert_eq!(found.get("mcp.output_limit", bytes).unwrap(), Some(2 << 20));
        assert!(
            found.get("mcp.max_commands", count).unwrap_err().to_string().contains("mcp.max_commands: 0")
        );
        assert_eq!(path("/a"), Ok(PathBuf::from("/a")));
        assert!(path("a").is_err() && path(".").is_err());
        assert_eq!(found.get("mcp.memory_limit", bytes).unwrap(), None);
    }
}
