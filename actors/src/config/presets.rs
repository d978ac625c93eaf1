//! What a preset makes of a command's environment.
//!
//! * in: the preset of a launch, and what the command would have without it
//! * out: lines to add, names that are not inherited
//! * keeps: what the caller sets or removes is never touched. What shows colour, a pager or a prompt is really off, also where the
//!   host has switched it on: that is what the preset is for. The rest is set only where the host says nothing

use super::{
    environment::{speaks_of, value_of},
    locales::{is_utf8, utf8_locale},
};
use ostler_messages::{LaunchRequest, Preset, Text};
use std::ffi::CStr;

/// Nobody looks at the output with eyes, and nobody answers.
const AGENT: [&CStr; 10] = [
    c"NO_COLOR=1",
    c"TERM=dumb",
    c"PAGER=cat",
    c"GIT_PAGER=cat",
    c"GH_PAGER=cat",
    c"GIT_TERMINAL_PROMPT=0",
    c"GIT_ASKPASS=",
    c"SSH_ASKPASS=",
    c"GCM_INTERACTIVE=never",
    c"DEBIAN_FRONTEND=noninteractive",
];
/// Set where the host says nothing: whoever runs in CI has its own word for it.
const AGENT_IF_UNSET: [&CStr; 1] = [c"CI=1"];
/// What would switch colours or a pager on again.
const AGENT_NOT_INHERITED: [&str; 11] = [
    "COLORTERM",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "CARGO_TERM_COLOR",
    "PY_COLORS",
    "MANPAGER",
    "SYSTEMD_PAGER",
    "AWS_PAGER",
    "BAT_PAGER",
    "DELTA_PAGER",
    "SSH_ASKPASS_REQUIRE",
];

/// The terminal is the command's own: what the host's can do says nothing of it.
const TERMINAL: [&CStr; 1] = [c"TERM=xterm-256color"];
const TERMINAL_NOT_INHERITED: [&str; 8] =
    ["COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "VTE_VERSION", "TMUX", "STY", "LINES", "COLUMNS"];

/// What a preset does.
#[derive(Default)]
pub(crate) struct Changes {
    always: &'static [&'static CStr],
    if_unset: &'static [&'static CStr],
    not_inherited: &'static [&'static str],
    has_utf8: bool,
}

impl Changes {
    pub(crate) fn of(preset: Option<Preset>) -> Changes {
        match preset {
            Some(Preset::Agent) => Changes {
                always: &AGENT,
                if_unset: &AGENT_IF_UNSET,
                not_inherited: &AGENT_NOT_INHERITED,
                has_utf8: true,
            },
            Some(Preset::Terminal) => Changes {
                always: &TERMINAL,
                if_unset: &[],
                not_inherited: &TERMINAL_NOT_INHERITED,
                has_utf8: true,
            },
            // One that this version does not know can't come here: a request with it is not read.
            _ => Changes::default(),
        }
    }

    /// Whether the command gets this variable from elsewhere, or not at all.
    pub(crate) fn replaces(&self, name: &[u8]) -> bool {
        self.not_inherited.iter().any(|known| known.as_bytes() == name)
            || self.always.iter().any(|line| name_of(line) == name)
    }

    /// Adds its lines to those that are there, but for what the caller speaks of.
    pub(crate) fn add(&self, lines: &mut Vec<&CStr>, request: &LaunchRequest) {
        let mut set = |line: &'static CStr, wins: bool| {
            let is_there = || lines.iter().any(|there| name_of(there) == name_of(line));
            if !speaks_of(request, name_of(line)) && (wins || !is_there()) {
                lines.push(line);
            }
        };
        self.always.iter().for_each(|line| set(line, true));
        self.if_unset.iter().for_each(|line| set(line, false));
        // One word of the caller on languages, and all of them are the caller's: LC_ALL would be above it.
        let mut callers = request.env.0.keys().chain(&request.env_remove).map(Text::as_bytes);
        let is_callers = callers.any(|name| name == b"LANG" || name.starts_with(b"LC_"));
        if self.has_utf8
            && !is_callers
            && !is_utf8(locale_in(lines))
            && let Some(locale) = utf8_locale()
        {
            lines.retain(|line| name_of(line) != b"LC_ALL");
            lines.push(locale);
        }
    }
}

/// Which locale decides the encoding (locale(7)). An empty value counts as none.
fn locale_in<'a>(lines: &[&'a CStr]) -> &'a [u8] {
    let value = |name: &str| value_of(lines, name).filter(|value| !value.is_empty());
    ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value).unwrap_or_default()
}

/// The name in a line `NAME=value`.
pub(super) fn name_of(line: &CStr) -> &[u8] {
    line.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}
