//! What stands behind an option: its parsers, and its words.

use clap::ValueEnum;
use ostler::{EnvMode, LeftoversPolicy, OutputFile, OutputPolicy, Preset, Toolchain, UnixSignal};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    time::Duration,
};

/// `--stream`, by the wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Both streams in order of arrival
    Combined,
    /// Stdout
    Stdout,
    /// Stderr
    Stderr,
    /// What kept leftovers said after its end
    Kept,
}
impl From<Output> for OutputFile {
    fn from(which: Output) -> OutputFile {
        match which {
            Output::Combined => OutputFile::Combined,
            Output::Stdout => OutputFile::Stdout,
            Output::Stderr => OutputFile::Stderr,
            Output::Kept => OutputFile::Kept,
        }
    }
}

/// `--env-mode`, by the wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// All but credentials
    #[value(name = "inherit_clean", alias = "inherit-clean")]
    InheritClean,
    /// All
    #[value(alias = "inherit")]
    Patch,
    /// None: only what --env sets
    Replace,
}
impl From<Mode> for EnvMode {
    fn from(mode: Mode) -> EnvMode {
        match mode {
            Mode::InheritClean => EnvMode::InheritClean,
            Mode::Patch => EnvMode::Patch,
            Mode::Replace => EnvMode::Replace,
        }
    }
}

/// `--preset`, by the wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum For {
    /// No colour, no pager, no prompt, UTF-8
    Agent,
    /// A terminal of its own
    Terminal,
}
impl From<For> for Preset {
    fn from(purpose: For) -> Preset {
        match purpose {
            For::Agent => Preset::Agent,
            For::Terminal => Preset::Terminal,
        }
    }
}

/// `--toolchain`, by the wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tools {
    /// What is in its PATH
    Off,
    /// Those of the nearest mise.toml, .mise.toml or .tool-versions
    Auto,
}
impl From<Tools> for Toolchain {
    fn from(tools: Tools) -> Toolchain {
        match tools {
            Tools::Off => Toolchain::Off,
            Tools::Auto => Toolchain::Auto,
        }
    }
}

/// `--leftovers`, by the wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Left {
    /// They are ended
    Kill,
    /// They run on, and so does ostler: it passes on what they say, and Ctrl-C ends them
    Keep,
}
impl From<Left> for LeftoversPolicy {
    fn from(left: Left) -> LeftoversPolicy {
        match left {
            Left::Kill => LeftoversPolicy::Kill,
            Left::Keep => LeftoversPolicy::Keep,
        }
    }
}

/// `--output-policy`, by the wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Beyond {
    /// It goes on; the rest is read and counted only
    #[value(name = "stop_recording", alias = "stop-recording")]
    StopRecording,
    /// It is stopped
    #[value(name = "stop_command", alias = "stop-command")]
    StopCommand,
}
impl From<Beyond> for OutputPolicy {
    fn from(beyond: Beyond) -> OutputPolicy {
        match beyond {
            Beyond::StopRecording => OutputPolicy::StopRecording,
            Beyond::StopCommand => OutputPolicy::StopCommand,
        }
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (write 500ms, 10s, 2m or 1h)"))
}

/// A duration; a bare number is seconds, as timeout(1) has it.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).or_else(|_| duration(text))
}

/// With or without its `SIG`, in either case.
pub(crate) fn signal(text: &str) -> Result<UnixSignal, &'static str> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    use UnixSignal::{SigHup, SigInt, SigQuit, SigTerm, SigUsr1, SigUsr2};
    let known = [SigInt, SigHup, SigQuit, SigUsr1, SigUsr2, SigTerm];
    let named = known.into_iter().find(|signal| signal.name().strip_prefix("SIG") == Some(name));
    named.ok_or("write INT, HUP, QUIT, USR1, USR2 or TERM")
}

pub(crate) fn label(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("there is no '='; write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Splits at the first `=`: a value may hold more of them. Bytes need not be UTF-8.
pub(crate) fn variable(text: OsString) -> Result<(OsString, OsString), &'static str> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(0) => Err("the name is empty; write NAME=VALUE"),
        Some(at) => Ok((OsStr::from_bytes(&bytes[..at]).into(), OsStr::from_bytes(&bytes[at + 1..]).into())),
        None => Err("there is no '='; write NAME=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["5", "", "s", "-1s", "5 parsecs", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bare_number_is_seconds_where_a_command_is_timed() {
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("90ms"), Ok(Duration::from_millis(90)));
        for bad in ["", "-1", "1.5", "99999999999999999999"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signal_is_named_in_each_way_that_kill_takes() {
        for name in ["INT", "SIGINT", "int", "sigint"] {
            assert_eq!(signal(name), Ok(UnixSignal::SigInt));
        }
        assert!(signal("KILL").is_err() && signal("").is_err() && signal("SIG").is_err());
    }

    #[test]
    fn a_variable_is_split_at_the_first_equals_sign_and_need_not_be_text() {
        assert_eq!(variable("A=b=c".into()), Ok(("A".into(), "b=c".into())));
        let raw = OsString::from_vec(b"A=\xff".to_vec());
        assert_eq!(variable(raw), Ok(("A".into(), OsString::from_vec(vec![0xff]))));
        assert!(variable("A".into()).is_err() && variable("=x".into()).is_err());
    }
}
