//! `ostler init`: the entry of an agent's configuration that starts `ostler mcp`.
//!
//! * in: which agent, and whether for all projects or for this one
//! * out: one entry more in its file, and a line that says what was written where
//! * keeps: everything else in the file, comments and layout included; nothing is written that was there already, and no entry of
//!   that name that differs is changed unasked

mod files;

use crate::{exit::Failure, term};
use clap::{Args, ValueEnum};
use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};
use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
};
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// The name of the entry.
const NAME: &str = "ostler";
const ARGS: &str = "mcp";

/// `ostler init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Whose configuration
    #[arg(value_enum)]
    agent: Agent,
    /// For all projects of this user [default]
    #[arg(long, conflicts_with = "project")]
    global: bool,
    /// For the project in this directory
    #[arg(long)]
    project: bool,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
    /// Replace an entry of this name that differs
    #[arg(long)]
    force: bool,
}

/// The agents that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Agent {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
    /// Gemini CLI
    Gemini,
    /// Visual Studio Code
    Vscode,
    /// Cursor
    Cursor,
    /// Claude Desktop
    ClaudeDesktop,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("{name} has no configuration of a project; leave --project out")]
    NoProject { name: &'static str },
    #[error("HOME is not set to an absolute path; with --project no home is needed")]
    NoHome,
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} can't be parsed, so it was left alone: {why}. Repair it, or add this by hand:\n{by_hand}", path.display())]
    Unreadable { path: PathBuf, why: String, by_hand: String },
    #[error("{} has an entry {NAME:?} that differs, so it was left alone: {there}. --force replaces it", path.display())]
    Differs { path: PathBuf, there: String },
}

impl Agent {
    /// Its file. `home` and the like are asked for only if they are needed.
    fn file(self, project: bool) -> Result<PathBuf, InitError> {
        let home = || absolute("HOME").ok_or(InitError::NoHome);
        let config = || absolute("XDG_CONFIG_HOME").map_or_else(|| Ok(home()?.join(".config")), Ok);
        let here = |path: &str| Ok(PathBuf::from(path));
        match (self, project) {
            (Agent::Claude, true) => here(".mcp.json"),
            (Agent::Claude, false) => {
                Ok(absolute("CLAUDE_CONFIG_DIR").map_or_else(home, Ok)?.join(".claude.json"))
            }
            (Agent::Codex, true) => here(".codex/config.toml"),
            (Agent::Codex, false) => {
                let dir = absolute("CODEX_HOME").map_or_else(|| Ok(home()?.join(".codex")), Ok)?;
                Ok(dir.join("config.toml"))
            }
            (Agent::Gemini, true) => here(".gemini/settings.json"),
            (Agent::Gemini, false) => Ok(home()?.join(".gemini/settings.json")),
            (Agent::Vscode, true) => here(".vscode/mcp.json"),
            (Agent::Vscode, false) => Ok(config()?.join("Code/User/mcp.json")),
            (Agent::Cursor, true) => here(".cursor/mcp.json"),
            (Agent::Cursor, false) => Ok(home()?.join(".cursor/mcp.json")),
            (Agent::ClaudeDesktop, true) => Err(InitError::NoProject { name: "Claude Desktop" }),
            (Agent::ClaudeDesktop, false) => Ok(config()?.join("Claude/claude_desktop_config.json")),
        }
    }

    /// The key under which its servers stand.
    fn servers(self) -> &'static str {
        match self {
            Agent::Vscode => "servers",
            Agent::Codex => "mcp_servers",
            _ => "mcpServers",
        }
    }

    /// Whether it is started from a desktop: then it has not the PATH of a shell.
    fn is_of_a_desktop(self) -> bool {
        matches!(self, Agent::Vscode | Agent::Cursor | Agent::ClaudeDesktop)
    }
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

pub(crate) fn init(args: &InitArgs) -> Result<u8, Failure> {
    let path = args.agent.file(args.project)?;
    let command = command(args.project, args.agent.is_of_a_desktop());
    let read = files::read(&path).map_err(|source| InitError::Io { path: path.clone(), source })?;
    let text = read.as_deref().unwrap_or_default();
    let edit = Edit { path: &path, servers: args.agent.servers(), command: &command, force: args.force };
    let new = match args.agent {
        Agent::Codex => edit.toml(text)?,
        Agent::Vscode => edit.json(text, true)?,
        _ => edit.json(text, false)?,
    };
    let Some(new) = new else {
        term::say(|out| writeln!(out, "{}: the entry {NAME:?} is there already", path.display()));
        return Ok(0);
    };
    let what = format!("{}: {}.{NAME} = {command} {ARGS}", path.display(), args.agent.servers());
    if args.dry_run {
        term::say(|out| writeln!(out, "would write {what}"));
        return Ok(0);
    }
    files::replace(&path, &new, if args.project { 0o644 } else { 0o600 })
        .map_err(|source| InitError::Io { path: path.clone(), source })?;
    term::say(|out| writeln!(out, "wrote {what}"));
    Ok(0)
}

/// How the agent is to start this program: by its name in what others of the project read, and where PATH leads to it.
fn command(project: bool, desktop: bool) -> String {
    let own = env::current_exe().and_then(|own| own.canonicalize()).ok();
    let found = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .filter_map(|dir| dir.join(NAME).canonicalize().ok())
        .next();
    let by_name = project || own.is_none() || (!desktop && found == own);
    own.filter(|_| !by_name).map_or_else(|| NAME.to_owned(), |own| own.display().to_string())
}

/// The change of one file.
struct Edit<'a> {
    path: &'a Path,
    servers: &'a str,
    command: &'a str,
    force: bool,
}

impl Edit<'_> {
    fn unreadable(&self, why: impl ToString, by_hand: String) -> InitError {
        InitError::Unreadable { path: self.path.to_owned(), why: why.to_string(), by_hand }
    }

    /// Whether there is nothing to do with an entry that is there.
    fn is_there(
        &self,
        command: Option<&str>,
        args: Option<Vec<&str>>,
        there: String,
    ) -> Result<bool, InitError> {
        let is_ours = |command: &str| Path::new(command).file_name().is_some_and(|name| name == NAME);
        match command {
            Some(command) if is_ours(command) && args == Some(vec![ARGS]) => Ok(true),
            _ if self.force => Ok(false),
            _ => Err(InitError::Differs { path: self.path.to_owned(), there }),
        }
    }

    /// None: it is there already.
    fn json(&self, text: &str, typed: bool) -> Result<Option<String>, InitError> {
        let entry = self.entry(typed);
        let by_hand = || {
            format!(
                "{}: {{\"{NAME}\": {{\"command\": {:?}, \"args\": [\"{ARGS}\"]}}}}",
                self.servers, self.command
            )
        };
        let text = if text.trim().is_empty() { "{}\n" } else { text };
        let root = CstRootNode::parse(text, &ParseOptions::default());
        let root = root.map_err(|error| self.unreadable(error, by_hand()))?;
        let not_one = |what: &str| self.unreadable(format!("{what} is no object"), by_hand());
        let top = root.object_value().ok_or_else(|| not_one("the whole"))?;
        let servers: CstObject =
            top.object_value_or_create(self.servers).ok_or_else(|| not_one(self.servers))?;
        match servers.get(NAME) {
            None => {
                servers.ensure_multiline();
                servers.append(NAME, entry);
            }
            Some(there) => {
                let held = there.value().and_then(|value| value.to_serde_value()).unwrap_or_default();
                let args =
                    held["args"].as_array().map(|args| args.iter().filter_map(|arg| arg.as_str()).collect());
                if self.is_there(held["command"].as_str(), args, held.to_string())? {
                    return Ok(None);
                }
                there.set_value(entry);
            }
        }
        Ok(Some(root.to_string()))
    }

    fn entry(&self, typed: bool) -> CstInputValue {
        let text = |text: &str| CstInputValue::String(text.to_owned());
        let typed = typed.then(|| ("type".to_owned(), text("stdio")));
        let rest = [
            ("command".to_owned(), text(self.command)),
            ("args".to_owned(), CstInputValue::Array(vec![text(ARGS)])),
        ];
        CstInputValue::Object(typed.into_iter().chain(rest).collect())
    }

    fn toml(&self, text: &str) -> Result<Option<String>, InitError> {
        let by_hand =
            || format!("[{}.{NAME}]\ncommand = {:?}\nargs = [\"{ARGS}\"]", self.servers, self.command);
        let mut document: DocumentMut = text.parse().map_err(|error| self.unreadable(error, by_hand()))?;
        let servers = document.entry(self.servers).or_insert_with(|| {
            let mut table = Table::new();
            // Only the tables in it have headings.
            table.set_implicit(true);
            Item::Table(table)
        });
        let no_table = || self.unreadable(format!("{} is no table", self.servers), by_hand());
        let servers = servers.as_table_like_mut().ok_or_else(no_table)?;
        if let Some(there) = servers.get(NAME) {
            let field = |name: &str| there.as_table_like().and_then(|table| table.get(name));
            let args = field("args").and_then(Item::as_array);
            let args = args.map(|args| args.iter().filter_map(|arg| arg.as_str()).collect());
            let command = field("command").and_then(Item::as_str);
            if self.is_there(command, args, there.to_string().trim().to_owned())? {
                return Ok(None);
            }
        }
        let mut entry = Table::new();
        entry.insert("command", value(self.command));
        entry.insert("args", value(Array::from_iter([ARGS])));
        servers.insert(NAME, Item::Table(entry));
        Ok(Some(document.to_string()))
    }
}
