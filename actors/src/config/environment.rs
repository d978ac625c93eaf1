//! Which variables a command gets.

use ostler_messages::{EnvMode, LaunchRequest, Text};
use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStrExt};

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

/// The command's whole environment. What the caller put into `env` is never filtered.
pub(crate) fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    request: &LaunchRequest,
    rule: &CredentialRule,
) -> BTreeMap<Text, Text> {
    let mut vars: BTreeMap<Text, Text> = match request.env_mode {
        EnvMode::Replace => BTreeMap::new(),
        EnvMode::Patch => inherited.map(|(name, value)| (Text(name), Text(value))).collect(),
        // A mode that this version does not know is the one that gives least away.
        _ => inherited
            .filter(|(name, _)| !rule.covers(name.as_bytes()))
            .map(|(name, value)| (Text(name), Text(value)))
            .collect(),
    };
    for name in &request.env_remove {
        vars.remove(name);
    }
    vars.extend(request.env.0.iter().map(|(name, value)| (name.clone(), value.clone())));
    vars
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_messages::{EnvVars, SessionId};

    fn names(mode: EnvMode) -> Vec<String> {
        let host =
            ["PATH", "github_token", "MY_API_KEY", "OPENAI_BASE_URL", "DATABASE_URL", "KEYBOARD", "LANG"];
        let mut request = LaunchRequest::new(SessionId::new("s"), "true");
        request.env_mode = mode;
        request.env = EnvVars(BTreeMap::from([("GITHUB_TOKEN".into(), "asked for".into())]));
        request.env_remove = vec!["LANG".into()];
        let inherited = host.iter().map(|name| ((*name).into(), "x".into()));
        environment(inherited, &request, &CredentialRule::default()).keys().map(Text::to_string).collect()
    }

    #[test]
    fn credentials_are_not_inherited_but_what_the_caller_sets_is_never_filtered() {
        assert_eq!(names(EnvMode::InheritClean), ["GITHUB_TOKEN", "KEYBOARD", "PATH"]);
        assert_eq!(names(EnvMode::Replace), ["GITHUB_TOKEN"]);
        assert_eq!(names(EnvMode::Patch).len(), 7);
    }
}
