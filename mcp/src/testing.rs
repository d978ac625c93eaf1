//! Commands under the names that a suite of tests calls: such a call is one of `run_command` with other arguments, and all that follows is as for
//! any other.

use crate::{HttpServer, OpenError, Options, Session, server::Opened};
use rmcp::model::{CallToolRequestParams, JsonObject, Tool};
use serde_json::json;

/// A command with this label is not waited for before a task is made of it.
pub(crate) const TASK_AT_ONCE: &str = "task-at-once";

/// Addresses that a suite of tests reads.
const ADDRESSES: [&str; 3] = ["test://static-text", "test://template/123/data", "test://watched-resource"];

/// A tool that runs a command.
#[derive(Debug)]
pub struct Fixture {
    /// By which it is called.
    name: &'static str,
    /// Of its arguments; each is a text or a number.
    parameters: &'static [&'static str],
    /// A line for `/bin/sh`; `$ARG_NAME` is the argument `name`.
    line: &'static str,
    /// A task is made of it at once, for a client that knows tasks.
    is_task: bool,
}

impl Fixture {
    /// One whose call waits as `run_command` does.
    pub const fn of(name: &'static str, parameters: &'static [&'static str], line: &'static str) -> Fixture {
        Fixture { name, parameters, line, is_task: false }
    }

    /// The same as a task.
    #[must_use]
    pub const fn task(self) -> Fixture {
        Fixture { is_task: true, ..self }
    }

    pub(crate) fn tool(&self) -> Tool {
        let properties: JsonObject =
            self.parameters.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let mut schema = JsonObject::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), properties.into());
        Tool::new(self.name, format!("Runs {}", self.line), schema)
    }
}

impl Options {
    pub(crate) fn fixture(&self, name: &str) -> Option<&Fixture> {
        self.fixtures.iter().find(|fixture| fixture.name == name)
    }

    /// The call of `run_command` that a call of a fixture is.
    pub(crate) fn as_command(
        &self,
        asked: CallToolRequestParams,
        knows_tasks: bool,
    ) -> CallToolRequestParams {
        let Some(fixture) = self.fixture(&asked.name) else { return asked };
        let given = asked.arguments.unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let env: JsonObject = given
            .iter()
            .map(|(name, value)| (format!("ARG_{}", name.to_uppercase()), text(value).into()))
            .collect();
        let mut arguments = JsonObject::new();
        arguments.insert("command".to_owned(), fixture.line.into());
        arguments.insert("env".to_owned(), env.into());
        if fixture.is_task && knows_tasks {
            arguments.insert("labels".to_owned(), json!({ TASK_AT_ONCE: "" }));
        }
        let mut command = CallToolRequestParams::new("run_command").with_arguments(arguments);
        command.meta = asked.meta;
        command
    }
}

/// What an address of the suite's stands for: the output of the session's first command.
pub(crate) async fn address(opened: Option<&Opened>, uri: String) -> String {
    let Some(opened) = opened.filter(|_| ADDRESSES.contains(&&*uri)) else { return uri };
    let listed = opened.session.list(usize::MAX).await.map(|list| list.listed).unwrap_or_default();
    listed.first().map_or(uri, |listed| format!("ostler://commands/{}/output", listed.handle.id()))
}

/// A server that asks nobody for a token.
pub fn without_token<S: Into<Session> + 'static>(
    options: Options,
    open: impl Fn(&str) -> Result<S, OpenError> + Clone + Send + Sync + 'static,
) -> HttpServer {
    HttpServer::with_token(None, options, open)
}
