//! Which variables a command gets.

use ostler_messages::{EnvMode, LaunchError, LaunchRequest, Text};
use std::{
    ffi::{CStr, CString, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// Ends of names that credentials have.
pub const CREDENTIAL_SUFFIXES: [&str; 7] =
    ["_API_KEY", "_TOKEN", "_SECRET", "_KEY", "_PASSWORD", "_PASSWD", "_CREDENTIALS"];
/// Beginnings of names that belong to model providers: what such a variable holds is the host's affair, not the tool's.
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
pub const CREDENTIAL_NAMES: [&str; 22] = [
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
    "KUBECONFIG",
    "MONGODB_URI",
    "MYSQL_PWD",
    "NETRC",
    "NPM_TOKEN",
    "PGPASSWORD",
    "PGPASSFILE",
    "REDIS_URL",
    "SENTRY_DSN",
];

/// Which inherited variables are credentials. Names are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialRule {
    /// Ends of names.
    pub suffixes: Vec<String>,
    /// Beginnings of names.
    pub prefixes: Vec<String>,
    /// Whole names.
    pub names: Vec<String>,
}
impl Default for CredentialRule {
    fn default() -> CredentialRule {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CredentialRule {
            suffixes: own(&CREDENTIAL_SUFFIXES),
            prefixes: own(&CREDENTIAL_PREFIXES),
            names: own(&CREDENTIAL_NAMES),
        }
    }
}
impl CredentialRule {
    /// Whether a variable of this name is a credential.
    pub fn covers(&self, name: &[u8]) -> bool {
        // For each variable of each launch, so nothing is allocated.
        let is = |part: Option<&[u8]>, text: &str| {
            part.is_some_and(|part| part.eq_ignore_ascii_case(text.as_bytes()))
        };
        let end = |length: usize| name.len().checked_sub(length).and_then(|start| name.get(start..));
        self.suffixes.iter().any(|suffix| is(end(suffix.len()), suffix))
            || self.prefixes.iter().any(|prefix| is(name.get(..prefix.len()), prefix))
            || self.names.iter().any(|known| is(Some(name), known))
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
}

impl Inherited {
    /// Variables that no exec could take, with a NUL inside, are left out: the kernel gives none.
    pub(crate) fn new(vars: impl Iterator<Item = (OsString, OsString)>, rule: &CredentialRule) -> Inherited {
        let variable = |(name, value): (OsString, OsString)| {
            let line = CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()?;
            Some(Variable { is_credential: rule.covers(name.as_bytes()), name: name.into_vec(), line })
        };
        Inherited(vars.filter_map(variable).collect())
    }
}

/// What the caller put into `env`, in the form that exec takes. Never filtered.
pub(crate) fn own_variables(request: &LaunchRequest) -> Result<Vec<CString>, LaunchError> {
    let line = |(name, value): (&Text, &Text)| {
        let field = || LaunchError::Nul { field: format!("env value of {name}") };
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).map_err(|_| field())
    };
    request.env.0.iter().map(line).collect()
}

/// The command's whole environment: what it inherits, then its own.
pub(crate) fn environment<'a>(
    inherited: &'a Inherited,
    request: &LaunchRequest,
    own: &'a [CString],
) -> Vec<&'a CStr> {
    let goes_along = |variable: &&Variable| {
        let is = |name: &Text| name.as_bytes() == variable.name;
        let by_mode = match request.env_mode {
            EnvMode::Replace => false,
            EnvMode::Patch => true,
            // A mode that this version does not know is the one that gives least away.
            _ => !variable.is_credential,
        };
        by_mode && !request.env_remove.iter().any(is) && !request.env.0.keys().any(is)
    };
    let inherited = inherited.0.iter().filter(goes_along).map(|variable| variable.line.as_c_str());
    inherited.chain(own.iter().map(CString::as_c_str)).collect()
}

/// The value of one variable of an environment.
pub(crate) fn value_of<'a>(environment: &[&'a CStr], name: &str) -> Option<&'a [u8]> {
    let value = |line: &&'a CStr| line.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    environment.iter().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_messages::{EnvVars, SessionId};
    use std::collections::BTreeMap;

    fn names(mode: EnvMode) -> Vec<String> {
        let host =
            ["PATH", "github_token", "MY_API_KEY", "OPENAI_BASE_URL", "DATABASE_URL", "KEYBOARD", "LANG"];
        let mut request = LaunchRequest::new(SessionId::new("s"), "true");
        request.env_mode = mode;
        request.env = EnvVars(BTreeMap::from([("GITHUB_TOKEN".into(), "asked for".into())]));
        request.env_remove = vec!["LANG".into()];
        let inherited = host.iter().map(|name| ((*name).into(), "x".into()));
        let inherited = Inherited::new(inherited, &CredentialRule::default());
        let own = own_variables(&request).unwrap();
        let lines = environment(&inherited, &request, &own);
        assert_eq!(value_of(&lines, "GITHUB_TOKEN"), Some(&b"asked for"[..]));
        let name = |line: &&CStr| line.to_str().unwrap().split('=').next().unwrap().to_owned();
        let mut names: Vec<String> = lines.iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn credentials_are_not_inherited_but_what_the_caller_sets_is_never_filtered() {
        assert_eq!(names(EnvMode::InheritClean), ["GITHUB_TOKEN", "KEYBOARD", "PATH"]);
        assert_eq!(names(EnvMode::Replace), ["GITHUB_TOKEN"]);
        assert_eq!(names(EnvMode::Patch).len(), 7);
    }
}
