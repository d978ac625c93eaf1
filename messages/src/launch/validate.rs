//! What no kernel could run, no clock could measure, or no table could show.

use super::{
    LABEL_NAME_MAX_BYTES, LABEL_VALUE_MAX_BYTES, LABELS_MAX, LaunchRequest, MAX_CPU_SHARE,
    MAX_INLINE_BYTES_LIMIT, MAX_TIME_MS,
};
use crate::{INPUT_MAX_BYTES, LaunchError, Stdin, TerminalSize, notice::is_unseen};
use std::os::unix::ffi::OsStrExt;

impl LaunchRequest {
    /// Refuses what no kernel could run or no clock could measure, naming the field.
    pub fn validate(&self) -> Result<(), LaunchError> {
        let nul = |field: String, bytes: &[u8]| match bytes.contains(&0) {
            true => Err(LaunchError::Nul { field }),
            false => Ok(()),
        };
        if self.program.as_bytes().is_empty() {
            return Err(LaunchError::EmptyProgram);
        }
        nul("program".into(), self.program.as_bytes())?;
        for (n, arg) in self.args.iter().enumerate() {
            nul(format!("args[{n}]"), arg.as_bytes())?;
        }
        if let Some(cwd) = &self.cwd {
            nul("cwd".into(), cwd.as_os_str().as_bytes())?;
        }
        for (name, value) in &self.env.0 {
            nul(format!("env name {name}"), name.as_bytes())?;
            nul(format!("env value of {name}"), value.as_bytes())?;
            if name.as_bytes().is_empty() || name.as_bytes().contains(&b'=') {
                return Err(LaunchError::EnvName { name: name.to_string() });
            }
        }
        for (field, limit) in [("timeout_ms", self.timeout_ms), ("idle_timeout_ms", self.idle_timeout_ms)] {
            if limit == Some(0) {
                return Err(LaunchError::ZeroTime { field: field.to_owned() });
            }
        }
        let side = |side: fn(TerminalSize) -> u16| self.terminal.map(side).map(u64::from);
        for (field, limit) in [
            ("memory_limit_bytes", self.memory_limit_bytes),
            ("processes_limit", self.processes_limit),
            ("cpu_share", self.cpu_share),
            ("terminal.rows", side(|size| size.rows)),
            ("terminal.columns", side(|size| size.columns)),
        ] {
            if limit == Some(0) {
                return Err(LaunchError::ZeroLimit { field: field.to_owned() });
            }
        }
        let max = |field: &str, value: u64, limit: u64| match value > limit {
            true => Err(LaunchError::TooLarge { field: field.to_owned(), value, limit }),
            false => Ok(()),
        };
        max("cpu_share", self.cpu_share.unwrap_or(1), MAX_CPU_SHARE)?;
        if let Stdin::Bytes(bytes) = &self.stdin {
            if self.terminal.is_some() {
                let (field, other) = ("stdin.bytes".to_owned(), "terminal".to_owned());
                let reason =
                    "a terminal has no end of file; leave stdin out, and write to the handle".to_owned();
                return Err(LaunchError::Excluded { field, other, reason });
            }
            max("stdin.bytes", bytes.as_bytes().len() as u64, INPUT_MAX_BYTES)?;
        }
        self.validate_labels()?;
        max("timeout_ms", self.timeout_ms.unwrap_or(0), MAX_TIME_MS)?;
        max("idle_timeout_ms", self.idle_timeout_ms.unwrap_or(0), MAX_TIME_MS)?;
        max("grace_ms", self.grace_ms, MAX_TIME_MS)?;
        max("drain_grace_ms", self.drain_grace_ms, MAX_TIME_MS)?;
        max("leftovers_grace_ms", self.leftovers_grace_ms, MAX_TIME_MS)?;
        max("progress_interval_ms", self.progress_interval_ms.unwrap_or(0), MAX_TIME_MS)?;
        max("progress_max_interval_ms", self.progress_max_interval_ms, MAX_TIME_MS)?;
        max("capture.max_inline_bytes", self.capture.max_inline_bytes, MAX_INLINE_BYTES_LIMIT)
    }

    fn validate_labels(&self) -> Result<(), LaunchError> {
        let (value, limit) = (self.labels.len() as u64, LABELS_MAX);
        if value > limit {
            return Err(LaunchError::TooLarge { field: "labels".to_owned(), value, limit });
        }
        for (name, value) in &self.labels {
            let reason = match () {
                () if name.is_empty() => Some("its name is empty".to_owned()),
                () if name.len() > LABEL_NAME_MAX_BYTES => {
                    Some(format!("its name can have at most {LABEL_NAME_MAX_BYTES} bytes"))
                }
                () if value.len() > LABEL_VALUE_MAX_BYTES => {
                    Some(format!("its value can have at most {LABEL_VALUE_MAX_BYTES} bytes"))
                }
                () if name.contains('=') => Some("its name can't hold '='".to_owned()),
                () if name.chars().chain(value.chars()).any(is_unseen) => {
                    Some("it can't hold characters that are not seen".to_owned())
                }
                () => None,
            };
            if let Some(reason) = reason {
                return Err(LaunchError::Label { name: name.clone(), reason });
            }
        }
        Ok(())
    }
}
