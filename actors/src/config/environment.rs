//! Which variables a command gets.

use super::presets::{Changes, name_of};
use ostler_messages::{EnvMode, LaunchError, LaunchRequest, Text, TraceContext};
use std::{
    ffi::{CStr, CString, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// Ends of names that credentials have.
pub const CREDENTIAL_SUFFIXES: [&str; 9] = [
    "_API_KEY",
    "_ACCESS_KEY",
    "_SECRET_KEY",
    "_PRIVATE_KEY",
    "_TOKEN",
    "_SECRET",
    "_PASSWORD",
    "_PASSWD",
    "_CREDENTIALS",
];
/// Beginnings of names that belong to model providers: those of them that end in `_KEY` are credentials. The rest choose a place
/// or a model, and go along.
pub const CREDENTIAL_PREFIXES: [&str; 14] = [
    "ANTHROPIC_",
    "OPENAI_",
    "GEMINI_",
    "MISTRAL_",
    "COHERE_",
    "GROQ_",
    "DEEPSEEK_",
    "OPENROUTER_",
    "XAI_",
    "TOGETHER_",
    "FIREWORKS_",
    "PERPLEXITY_",
    "REPLICATE_",
    "HUGGINGFACE_",
];
/// Names that are known to hold credentials.
pub const CREDENTIAL_NAMES: [&str; 19] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "CLOUDFLARE_API_TOKEN",
    "DATABASE_URL",
    "DOCKER_AUTH_CONFIG",
    "GH_TOKEN",
    "GITHUB_PAT",
    "GITHUB_TOKEN",
    "GITLAB_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HF_TOKEN",
    "MONGODB_URI",
    "MYSQL_PWD",
    "NPM_TOKEN",
    "PGPASSWORD",
    "REDIS_URL",
    "SENTRY_DSN",
];

/// What speaks of the host's own place or descriptors: its directories, sockets that were handed to it, the repository of a hook
/// that it runs in (`git rev-parse --local-env-vars`).
const OF_THE_HOST: [&str; 25] = [
    "OLDPWD",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
    "SYSTEMD_EXEC_PID",
];

/// Whether a variable speaks of what only the host has. A jobserver of make(1) is a pair of descriptors; other flags in the
/// same variable go with it.
fn is_of_the_host(name: &[u8], value: &[u8]) -> bool {
    let names_jobserver = || value.windows(11).any(|part| part == b"--jobserver");
    OF_THE_HOST.iter().any(|known| known.as_bytes() == name)
        || (matches!(name, b"MAKEFLAGS" | b"MFLAGS" | b"CARGO_MAKEFLAGS") && names_jobserver())
}

/// Which inherited variables are withheld, because they are credentials: those that its lists name. Or an allow-list
/// ([`CredentialRule::only`]): all but what it names. Names are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialRule {
    /// Ends of names.
    pub suffixes: Vec<String>,
    /// Beginnings of names; with one of these, any that ends in `_KEY`.
    pub prefixes: Vec<String>,
    /// Whole names.
    pub names: Vec<String>,
    /// Whole names that are no credentials, whatever else is said of them.
    pub allowed: Vec<String>,
    /// Whether every name is withheld that is not `allowed`: then the other lists say nothing. Default: no.
    pub allowed_only: bool,
}
impl Default for CredentialRule {
    fn default() -> CredentialRule {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CredentialRule {
            suffixes: own(&CREDENTIAL_SUFFIXES),
            prefixes: own(&CREDENTIAL_PREFIXES),
            names: own(&CREDENTIAL_NAMES),
            allowed: Vec::new(),
            allowed_only: false,
        }
    }
}
impl CredentialRule {
    /// An allow-list: of the host's environment a command inherits these names, and no other. What the caller of a launch sets is
    /// never filtered; `env_mode: patch` still inherits all.
    pub fn only<N: Into<String>>(names: impl IntoIterator<Item = N>) -> CredentialRule {
        let allowed = names.into_iter().map(Into::into).collect();
        CredentialRule { allowed, allowed_only: true, ..CredentialRule::default() }
    }
    /// Whether a variable of this name is withheld.
    pub fn covers(&self, name: &[u8]) -> bool {
        let is = |part: Option<&[u8]>, text: &str| {
            part.is_some_and(|part| part.eq_ignore_ascii_case(text.as_bytes()))
        };
        let end = |length: usize| name.len().checked_sub(length).and_then(|start| name.get(start..));
        let ends_in = |suffix: &str| is(end(suffix.len()), suffix);
        let begins_with = |prefix: &String| is(name.get(..prefix.len()), prefix);
        let is_name = |known: &String| is(Some(name), known);
        !self.allowed.iter().any(is_name)
            && (self.allowed_only
                || self.suffixes.iter().any(|suffix| ends_in(suffix))
                || (ends_in("_KEY") && self.prefixes.iter().any(begins_with))
                || self.names.iter().any(is_name))
    }
}

/// The host's environment as it was when the graph started, in the form that exec takes: made once, and not for each
/// launch.
pub(crate) struct Inherited(Vec<Variable>);

struct Variable {
    name: Vec<u8>,
    /// `NAME=value`.
    line: CString,
    is_credential: bool,
    is_of_the_host: bool,
}

impl Inherited {
    /// Variables that no exec could take, with a NUL inside, are left out: the kernel gives none.
    pub(crate) fn new(vars: impl Iterator<Item = (OsString, OsString)>, rule: &CredentialRule) -> Inherited {
        let variable = |(name, value): (OsString, OsString)| {
            let line = CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()?;
            let is_credential = rule.covers(name.as_bytes());
            let is_of_the_host = is_of_the_host(name.as_bytes(), value.as_bytes());
            Some(Variable { is_credential, is_of_the_host, name: name.into_vec(), line })
        };
        Inherited(vars.filter_map(variable).collect())
    }
}

/// What a terminal of ours is called: all programs know it.
const TERM: &CStr = c"TERM=xterm-256color";

/// A command with a terminal, whose caller does not say what that is called.
fn names_terminal(request: &LaunchRequest) -> bool {
    request.terminal.is_some() && !request.env.0.keys().any(|name| name.as_bytes() == b"TERM")
}

/// What the caller put into `env`, in the form that exec takes. Never filtered.
pub(crate) fn own_variables(request: &LaunchRequest) -> Result<Vec<CString>, LaunchError> {
    let line = |(name, value): (&Text, &Text)| {
        let field = || LaunchError::Nul { field: format!("env value of {name}") };
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).map_err(|_| field())
    };
    let mut own: Vec<CString> = request.env.0.iter().map(line).collect::<Result<_, _>>()?;
    if names_terminal(request) {
        own.push(TERM.into());
    }
    for (name, value) in request.trace_context.iter().flat_map(TraceContext::variables) {
        if !request.env.0.keys().any(|own| own.as_bytes() == name.as_bytes()) {
            let nul = |_| LaunchError::Nul { field: "trace_context".to_owned() };
            own.push(CString::new(format!("{name}={value}")).map_err(nul)?);
        }
    }
    Ok(own)
}

/// A command's whole environment.
pub(crate) struct Environment<'a> {
    /// What it inherits, what the tools of its directory add, what its preset says, then its own.
    pub(crate) lines: Vec<&'a CStr>,
    /// Names of what it would have inherited but for being a credential.
    pub(crate) withheld: Vec<String>,
}

/// `tools`: what the tools of its directory add, above what is inherited. `pwd`: `PWD=` and its working directory, which stands in place of the host's; what the caller says of it comes first.
pub(crate) fn environment<'a>(
    inherited: &'a Inherited,
    request: &LaunchRequest,
    own: &'a [CString],
    tools: &'a [CString],
    pwd: Option<&'a CStr>,
) -> Environment<'a> {
    let preset = Changes::of(request.preset);
    let mut environment = Environment { lines: Vec::new(), withheld: Vec::new() };
    if request.env_mode != EnvMode::Replace {
        for variable in &inherited.0 {
            // A mode that this version does not know is the one that gives least away.
            let clean = request.env_mode != EnvMode::Patch;
            if variable.name == b"PWD"
                || speaks_of(request, &variable.name)
                || preset.replaces(&variable.name)
                || tools.iter().any(|line| name_of(line) == variable.name)
                || (clean && variable.is_of_the_host)
            {
                continue;
            }
            if clean && variable.is_credential {
                environment.withheld.push(String::from_utf8_lossy(&variable.name).into_owned());
            } else {
                environment.lines.push(&variable.line);
            }
        }
        environment.lines.extend(pwd.filter(|_| !speaks_of(request, b"PWD")));
    }
    let tools = tools.iter().map(CString::as_c_str);
    let stands = |line: &&CStr| !speaks_of(request, name_of(line)) && !preset.replaces(name_of(line));
    environment.lines.extend(tools.filter(stands));
    preset.add(&mut environment.lines, request);
    environment.lines.extend(own.iter().map(CString::as_c_str));
    environment
}

/// Whether the caller sets or removes this variable: then nobody else says anything of it.
pub(super) fn speaks_of(request: &LaunchRequest, name: &[u8]) -> bool {
    let is = |known: &Text| known.as_bytes() == name;
    let is_own = request.env.0.keys().any(is) || (name == b"TERM" && names_terminal(request));
    let is_trace_context = request.trace_context.is_some() && TraceContext::names(name);
    is_own || is_trace_context || request.env_remove.iter().any(is)
}

/// The value of one variable of an environment.
pub(crate) fn value_of<'a>(environment: &[&'a CStr], name: &str) -> Option<&'a [u8]> {
    let value = |line: &&'a CStr| line.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    environment.iter().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_messages::{EnvVars, Preset, SessionId};
    use std::collections::BTreeMap;

    fn names(mode: EnvMode) -> Vec<String> {
        let host = [
            "PATH",
            "github_token",
            "MY_API_KEY",
            "OPENAI_BASE_URL",
            "DATABASE_URL",
            "KEYBOARD",
            "LANG",
            "PWD",
            "GIT_DIR",
        ];
        let mut request = LaunchRequest::new(SessionId::new("s"), "true");
        request.env_mode = mode;
        request.env = EnvVars(BTreeMap::from([("GITHUB_TOKEN".into(), "asked for".into())]));
        request.env_remove = vec!["LANG".into()];
        let inherited = host.iter().map(|name| ((*name).into(), "x".into()));
        let inherited = Inherited::new(inherited, &CredentialRule::default());
        let own = own_variables(&request).unwrap();
        let Environment { lines, withheld } =
            environment(&inherited, &request, &own, &[], Some(c"PWD=/here"));
        assert_eq!(withheld.is_empty(), mode != EnvMode::InheritClean, "{withheld:?}");
        assert_eq!(value_of(&lines, "GITHUB_TOKEN"), Some(&b"asked for"[..]));
        let name = |line: &&CStr| line.to_str().unwrap().split('=').next().unwrap().to_owned();
        let mut names: Vec<String> = lines.iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn credentials_are_not_inherited_but_what_the_caller_sets_is_never_filtered() {
        assert_eq!(
            names(EnvMode::InheritClean),
            ["GITHUB_TOKEN", "KEYBOARD", "OPENAI_BASE_URL", "PATH", "PWD"]
        );
        assert_eq!(names(EnvMode::Replace), ["GITHUB_TOKEN"]);
        assert_eq!(names(EnvMode::Patch).len(), 9);
    }

    #[test]
    fn f89_only_secrets_are_credentials_and_the_rule_has_an_allow_list() {
        let mut rule = CredentialRule::default();
        for name in
            ["OPENAI_API_KEY", "openai_org_key", "X_ACCESS_KEY", "GITHUB_TOKEN", "PGPASSWORD", "DATABASE_URL"]
        {
            assert!(rule.covers(name.as_bytes()), "{name}");
        }
        for name in ["KUBECONFIG", "PGPASSFILE", "OPENAI_BASE_URL", "ANTHROPIC_MODEL", "SORT_KEY", "NETRC"] {
            assert!(!rule.covers(name.as_bytes()), "{name}");
        }
        rule.allowed = vec!["GITHUB_TOKEN".into()];
        assert!(!rule.covers(b"github_token") && rule.covers(b"GITLAB_TOKEN"));
    }

    #[test]
    fn a_rule_can_be_an_allow_list() {
        let rule = CredentialRule::only(["PATH", "HOME"]);
        assert!(!rule.covers(b"PATH") && !rule.covers(b"Home"));
        assert!(rule.covers(b"KUBECONFIG") && rule.covers(b"PATHS") && rule.covers(b"GITHUB_TOKEN"));
    }

    /// What a command gets from a host with these variables, with `env` of the caller.
    fn with_preset(preset: Preset, host: &[(&str, &str)], own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut request = LaunchRequest::new(SessionId::new("s"), "true");
        request.preset = Some(preset);
        request.env = EnvVars(own.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
        let inherited = host.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let inherited = Inherited::new(inherited, &CredentialRule::default());
        let own = own_variables(&request).unwrap();
        let lines = environment(&inherited, &request, &own, &[], None).lines;
        let pairs: Vec<(String, String)> = lines
            .iter()
            .map(|line| line.to_str().unwrap().split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
        assert_eq!(map.len(), pairs.len(), "a name stands there twice: {pairs:?}");
        map
    }

    #[test]
    fn a_preset_wins_over_the_host_where_it_has_to_and_the_caller_wins_over_both() {
        let host =
            [("TERM", "xterm"), ("PAGER", "less"), ("CI", "true"), ("FORCE_COLOR", "1"), ("HOME", "/h")];
        let got = with_preset(Preset::Agent, &host, &[("GIT_PAGER", "delta"), ("COLORTERM", "mine")]);
        let of = |name: &str| got.get(name).map(String::as_str);
        assert_eq!((of("TERM"), of("PAGER"), of("NO_COLOR")), (Some("dumb"), Some("cat"), Some("1")));
        assert_eq!((of("CI"), of("FORCE_COLOR"), of("HOME")), (Some("true"), None, Some("/h")));
        assert_eq!((of("GIT_PAGER"), of("COLORTERM")), (Some("delta"), Some("mine")));
        assert_eq!(with_preset(Preset::Agent, &[], &[]).get("CI").map(String::as_str), Some("1"));

        let host = [("TERM", "dumb"), ("COLORTERM", "truecolor"), ("COLUMNS", "7"), ("NO_COLOR", "1")];
        let got = with_preset(Preset::Terminal, &host, &[]);
        assert_eq!(got.get("TERM").map(String::as_str), Some("xterm-256color"));
        assert!(
            !got.contains_key("COLORTERM") && !got.contains_key("COLUMNS") && got.contains_key("NO_COLOR")
        );
        assert!(!got.contains_key("CI"));
    }

    #[test]
    fn a_preset_has_utf8_unless_the_caller_speaks_of_languages() {
        // Whatever this machine has: "C" is never UTF-8.
        let all = |host: &[(&str, &str)], own: &[(&str, &str)]| {
            with_preset(Preset::Agent, host, own).get("LC_ALL").cloned()
        };
        let here = crate::config::locales::utf8_locale().map(|line| line.to_str().unwrap()[7..].to_owned());
        assert_eq!(all(&[("LC_ALL", "C"), ("LANG", "xx_XX.UTF-8")], &[]).filter(|is| is != "C"), here);
        assert_eq!(all(&[], &[]), here);
        assert_eq!(all(&[("LC_ALL", "C")], &[("LC_TIME", "C")]).as_deref(), Some("C"));
        if let Some(here) = here {
            assert_eq!(all(&[("LC_CTYPE", &here)], &[]), None);
        }
    }

    #[test]
    fn f75_a_jobserver_is_the_hosts_and_other_flags_of_make_are_not() {
        assert!(is_of_the_host(b"MAKEFLAGS", b" -j8 --jobserver-auth=3,4"));
        assert!(!is_of_the_host(b"MAKEFLAGS", b" -j8"));
        assert!(is_of_the_host(b"NOTIFY_SOCKET", b"/run/x") && !is_of_the_host(b"GIT_AUTHOR_NAME", b"x"));
    }
}
