//! The tools that a directory asks for, as a person's shell there would have them: mise or asdf is asked, or the host's hook.
//!
//! * in: a command's directory, and the environment that it has without them
//! * out: lines to put above what is inherited, or why there are none: that refuses no command
//! * keeps: nobody is waited for beyond [`TOOLCHAIN_LIMIT`], and who is asked is ended with its group after it. Answers are kept as long
//!   as no file that decides has changed; a hook's are not, since nobody knows what it looks at

use super::{lookup, stdio::out_pipe as pipe};
use crate::{
    backend::thread,
    config::{Hook, TOOLCHAIN_LIMIT, ToolchainHook, Variables, value_of},
    linux::{
        contain::limits::TreeLimits,
        contain::tier::{Prepared, SpawnError, Spawned},
        sys,
    },
};
use crossbeam_channel::{RecvTimeoutError, bounded};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use ostler_messages::{Text, duration};
use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{CStr, CString, OsStr, OsString},
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{ErrorKind, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The files that ask for tools. asdf reads only the last one.
const FILES: [&str; 3] = ["mise.toml", ".mise.toml", ASDF_FILE];
const ASDF_FILE: &str = ".tool-versions";
/// Answers that are kept, a few KiB each: more directories than one agent works in.
const KEPT: usize = 64;
/// A failure is kept only so long: its cause may go without a change of these files (a tool is installed, a file is trusted), and
/// a tool that hangs must not hold up launch after launch.
const FAILURE_KEPT: Duration = Duration::from_secs(3);
/// An answer that is longer is none. An environment of this size could not be given to most commands.
const ANSWER_BYTES: usize = 1 << 20;
/// So much of what is said of a failure.
const REASON_BYTES: usize = 400;
/// Calls of a hook at a time, those included that were given up: a hook that hangs must not take all threads of the host.
const HOOKS_AT_ONCE: usize = 16;

/// What a directory's tools add. Nothing, with or without a reason.
#[derive(Clone, Default)]
pub(crate) struct Tools {
    /// `NAME=value`, as exec takes them.
    pub(crate) lines: Vec<CString>,
    pub(crate) error: Option<String>,
}

/// A file that decides. If any of these numbers has changed, the file has.
#[derive(Clone, PartialEq, Eq)]
struct Identity {
    path: PathBuf,
    numbers: [i64; 6],
}

/// What an answer depends on.
#[derive(PartialEq, Eq)]
struct Key {
    cwd: PathBuf,
    files: Vec<Identity>,
    /// Of the environment, which may hold secrets: it is not kept.
    env: u64,
}

struct Kept {
    key: Key,
    tools: Tools,
    until: Option<Instant>,
}

/// Starts a program.
pub(super) type Run<'a> = dyn FnMut(&Prepared<'_>) -> Result<Spawned, SpawnError> + 'a;

/// What all spawn threads know of toolchains.
pub(crate) struct Toolchains {
    hook: Option<ToolchainHook>,
    limit: Duration,
    hooks_at_work: Arc<AtomicUsize>,
    kept: Mutex<VecDeque<Kept>>,
    hasher: RandomState,
}

impl Toolchains {
    /// `start_limit`: how long a launch may take. It has to be left enough of it to go on without tools.
    pub(crate) fn new(hook: Option<ToolchainHook>, start_limit: Duration) -> Toolchains {
        let limit = TOOLCHAIN_LIMIT.min(start_limit / 2);
        let (hooks_at_work, kept, hasher) = (Arc::default(), Mutex::default(), RandomState::new());
        Toolchains { hook, limit, hooks_at_work, kept, hasher }
    }

    /// The tools of this directory. `env` is what a command there has without them, `null` an empty stdin.
    pub(super) fn of(&self, cwd: &Path, env: &[&CStr], null: &File, run: &mut Run<'_>) -> Tools {
        if let Some(ToolchainHook(hook)) = &self.hook {
            match self.ask_hook(hook.clone(), cwd, env).and_then(|said| said.map(lines).transpose()) {
                Ok(None) => {}
                Ok(Some(lines)) => return Tools { lines, error: None },
                Err(error) => return Tools::none(format!("the host's toolchain hook: {error}")),
            }
        }
        let files = deciding(cwd);
        let Some(first) = files.first() else { return Tools::default() };
        let first = first.path.clone();
        let key = Key { cwd: cwd.to_owned(), files, env: self.hasher.hash_one(env) };
        if let Some(tools) = self.kept(&key) {
            return tools;
        }
        // Nobody waits for another's answer: of many launches at once each may ask.
        let tools = ask(&first, &Place { cwd, env, null, limit: self.limit }, run)
            .and_then(lines)
            .map_or_else(Tools::none, |lines| Tools { lines, error: None });
        let until = tools.error.as_ref().map(|_| Instant::now() + FAILURE_KEPT);
        let mut kept = self.lock();
        kept.retain(|old| old.key.cwd != key.cwd || old.key.env != key.env);
        kept.truncate(KEPT - 1);
        kept.push_front(Kept { key, tools: tools.clone(), until });
        tools
    }

    fn kept(&self, key: &Key) -> Option<Tools> {
        let mut kept = self.lock();
        kept.retain(|kept| kept.until.is_none_or(|until| until > Instant::now()));
        kept.iter().find(|kept| kept.key == *key).map(|kept| kept.tools.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On a thread of its own: a function can't be ended.
    fn ask_hook(&self, hook: Arc<Hook>, cwd: &Path, env: &[&CStr]) -> Result<Option<Variables>, String> {
        let at_work = AtWork::enter(&self.hooks_at_work)
            .ok_or_else(|| format!("{HOOKS_AT_ONCE} calls of it have not come back"))?;
        let (cwd, env) = (cwd.to_owned(), variables(env));
        let (say, said) = bounded(1);
        let asked = thread::spawn("ostler-toolchain", move || {
            let _at_work = at_work;
            let _ = say.send(hook(&cwd, &env));
        });
        asked.map_err(|error| format!("no thread for it: {error}"))?;
        said.recv_timeout(self.limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => late(self.limit),
            RecvTimeoutError::Disconnected => "it panicked".to_owned(),
        })?
    }
}

impl Tools {
    fn none(error: String) -> Tools {
        let mut end = error.len().min(REASON_BYTES);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        Tools { lines: Vec::new(), error: Some(error[..end].to_owned()) }
    }
}

/// A call of a hook.
struct AtWork(Arc<AtomicUsize>);
impl AtWork {
    fn enter(count: &Arc<AtomicUsize>) -> Option<AtWork> {
        let at_work = AtWork(count.clone());
        (count.fetch_add(1, Ordering::Relaxed) < HOOKS_AT_ONCE).then_some(at_work)
    }
}
impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {}", duration(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)))
}

/// Every file that asks for tools, from this directory upwards: the nearest comes first.
fn deciding(cwd: &Path) -> Vec<Identity> {
    let dirs = cwd.is_absolute().then(|| cwd.ancestors()).into_iter().flatten();
    dirs.flat_map(|dir| FILES.map(|name| dir.join(name)))
        .filter_map(|path| {
            let about = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
            let size = i64::try_from(about.size()).unwrap_or(i64::MAX);
            let numbers = [
                about.mtime(),
                about.mtime_nsec(),
                about.ctime(),
                about.ctime_nsec(),
                size,
                about.ino().cast_signed(),
            ];
            Some(Identity { path, numbers })
        })
        .collect()
}

/// Where a question is asked.
struct Place<'a> {
    cwd: &'a Path,
    env: &'a [&'a CStr],
    null: &'a File,
    limit: Duration,
}

/// Whoever is there that can read the file.
fn ask(file: &Path, place: &Place<'_>, run: &mut Run<'_>) -> Result<Variables, String> {
    let Place { cwd, env, .. } = *place;
    let find = |name: &str| lookup::find(&Text::from(name), cwd, value_of(env, "PATH"));
    if let Ok(mise) = find("mise") {
        return said(&mise.path, place, run).map_err(|error| format!("mise env --json: {error}"));
    }
    let at = file.display();
    if !file.ends_with(ASDF_FILE) {
        return Err(format!("{at} asks for tools, and there is no mise in PATH"));
    }
    if find("asdf").is_err() {
        return Err(format!("{at} asks for tools, and there is neither mise nor asdf in PATH"));
    }
    // It has no question to answer: its shims find out for themselves where they are run.
    let home = || Some(Path::new(OsStr::from_bytes(value_of(env, "HOME")?)).join(".asdf"));
    let data = value_of(env, "ASDF_DATA_DIR").filter(|dir| !dir.is_empty());
    let data = data.map(|dir| PathBuf::from(OsStr::from_bytes(dir))).or_else(home);
    let shims = data.ok_or("asdf: neither ASDF_DATA_DIR nor HOME is set")?.join("shims");
    if !shims.is_dir() {
        return Err(format!("asdf has no shims: {} is no directory", shims.display()));
    }
    let inherited = value_of(env, "PATH").unwrap_or(lookup::DEFAULT_PATH);
    let path = [shims.as_os_str().as_bytes(), b":", inherited].concat();
    Ok(Variables::from([("PATH".into(), OsStr::from_bytes(&path).to_owned())]))
}

/// What `mise env --json` says in this directory.
fn said(mise: &Path, place: &Place<'_>, run: &mut Run<'_>) -> Result<Variables, String> {
    let Place { cwd, env, null, limit } = *place;
    let deadline = Instant::now() + limit;
    let c_string = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string());
    let (path, cwd) = (c_string(mise)?, c_string(cwd)?);
    let argv = [c"mise", c"env", c"--json"].map(CStr::to_owned);
    let pipes = || pipe().map_err(|error| error.to_string());
    let [(out, out_write), (err, err_write)] = [pipes()?, pipes()?];
    let spawned = run(&Prepared {
        path: &path,
        argv: &argv,
        env,
        cwd: Some(&cwd),
        own_dir: None,
        stdio: [null.as_fd(), out_write.as_fd(), err_write.as_fd()],
        limits: TreeLimits::default(),
        terminal: false,
        stop: Signal::SIGTERM,
        limit,
    });
    let asked = Asked(spawned.map_err(|error| match error {
        SpawnError::Process(failed) => format!("{}: {}", failed.stage, failed.errno),
        SpawnError::Around(stage, errno) => format!("{stage}: {errno}"),
        SpawnError::NoGuard(_) | SpawnError::NoLimit(_) => "it could not be run".to_owned(),
    })?);
    drop((out_write, err_write));
    let (mut answer, mut complaint) = (Stream::new(out), Stream::new(err));
    while !answer.ended && Instant::now() < deadline {
        wait_for(&answer.file, &complaint, deadline);
        answer.take();
        complaint.take();
    }
    drop(asked);
    if !answer.ended {
        return Err(late(limit));
    }
    complaint.take();
    let values: Result<BTreeMap<String, Option<String>>, _> = serde_json::from_slice(&answer.bytes);
    values
        .map(|values| {
            values.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into()))).collect()
        })
        .map_err(|error| {
            let text = String::from_utf8_lossy(&complaint.bytes);
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            match lines.is_empty() {
                true => format!("its answer is no JSON: {error}"),
                false => lines.join("; "),
            }
        })
}

/// Who was asked. It ends with this, and its group with it: whatever it is at.
struct Asked(Spawned);
impl Drop for Asked {
    fn drop(&mut self) {
        // A helper ends its tree when its line is dropped.
        if self.0.helper.is_some() {
            return;
        }
        let asked = self.0.pidfd.as_fd();
        // Before kernel 6.9 a pidfd does not reach the group.
        if sys::signal_group(asked, Some(Signal::SIGKILL)).is_err() {
            let _ = sys::signal_process(asked, Signal::SIGKILL);
        }
        if sys::wait_for_death(asked, TOOLCHAIN_LIMIT) {
            let _ = sys::wait(asked, true);
        }
    }
}

/// One of its two streams. What comes beyond the limit is read and thrown away.
struct Stream {
    file: File,
    bytes: Vec<u8>,
    ended: bool,
}
impl Stream {
    fn new(fd: OwnedFd) -> Stream {
        Stream { file: fd.into(), bytes: Vec::new(), ended: false }
    }
    /// All that is there now.
    fn take(&mut self) {
        let mut buffer = [0; 16 << 10];
        while !self.ended {
            match self.file.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    let room = (ANSWER_BYTES - self.bytes.len()).min(count);
                    self.bytes.extend_from_slice(&buffer[..room]);
                    if room < count {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }
}

fn wait_for(answer: &File, complaint: &Stream, deadline: Instant) {
    let mut watched = vec![PollFd::new(answer.as_fd(), PollFlags::POLLIN)];
    // One that has ended would be ready for ever.
    watched.extend((!complaint.ended).then(|| PollFd::new(complaint.file.as_fd(), PollFlags::POLLIN)));
    let left = deadline.saturating_duration_since(Instant::now());
    // Refused or interrupted: the clock is looked at before the next turn.
    let _ = poll(&mut watched, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
}

fn variables(env: &[&CStr]) -> Variables {
    let pair = |line: &&CStr| {
        let bytes = line.to_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| OsString::from(OsStr::from_bytes(bytes));
        Some((text(&bytes[..at]), text(&bytes[at + 1..])))
    };
    env.iter().filter_map(pair).collect()
}

/// As exec takes them. Each line has to be one.
fn lines(variables: Variables) -> Result<Vec<CString>, String> {
    let line = |(name, value): (OsString, OsString)| {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(format!("{name:?} is no name of a variable"));
        }
        let line = CString::new([name.as_bytes(), b"=", value.as_bytes()].concat());
        line.map_err(|_| format!("there is a NUL in the variable {name:?}"))
    };
    // The command's own directory stands in PWD, and nothing else.
    variables.into_iter().filter(|(name, _)| name != "PWD").map(line).collect()
}
