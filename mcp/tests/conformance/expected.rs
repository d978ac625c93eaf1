//! What is expected of each scenario, in each way in which the suite is run.

/// The suite's newest scenarios are run in the version that each names itself, and all that can be in an older and in the newest one.
pub(crate) const RUNS: [&str; 3] = ["2025-06-18", OWN, "2026-07-28"];
/// Each scenario in its own version: 2025-11-25, the newest one, or that of an extension.
pub(crate) const OWN: &str = "own";

/// Those that pass, by the runs that have them.
pub(crate) const PASS: &[(&[&str], &[&str])] = &[
    (
        &["2025-06-18", OWN],
        &[
            "server-initialize",
            "server-session-lifecycle",
            "ping",
            "resources-subscribe",
            "resources-unsubscribe",
        ],
    ),
    (
        &["2025-06-18", OWN, "2026-07-28"],
        &[
            "tools-list",
            "tools-call-simple-text",
            "tools-call-error",
            "tools-call-with-progress",
            "resources-list",
            "resources-read-text",
            "resources-templates-read",
        ],
    ),
    (&["2026-07-28"], &["server-sse-multiple-streams"]),
    (
        &[OWN, "2026-07-28"],
        &[
            "sep-2164-resource-not-found",
            "dns-rebinding-protection",
            "http-header-validation",
            "input-required-result-unsupported-methods",
            "input-required-result-validate-input",
        ],
    ),
    (
        &[OWN],
        &[
            "tasks-capability-negotiation",
            "tasks-wire-fields",
            "tasks-request-state-removal",
            "tasks-request-headers",
            "tasks-dispatch-and-envelope",
        ],
    ),
];

/// One that does not pass.
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) runs: &'static [&'static str],
    /// The checks that fail or warn, and how many the suite skips.
    pub(crate) checks: &'static [&'static str],
    /// Why that is so.
    pub(crate) why: &'static str,
}

pub(crate) const FAIL: &[Row] = &[
    Row {
        scenario: "logging-set-level",
        runs: &["2025-06-18", OWN],
        checks: &["logging-set-level"],
        why: "ostler sends no log messages to clients, and does not say that it does; its own log is stderr",
    },
    Row {
        scenario: "completion-complete",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["completion-complete"],
        why: "nothing has arguments to complete: there are no prompts, and handles are listed",
    },
    Row {
        scenario: "tools-call-image",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["tools-call-image"],
        why: "answers are text: a command has no images",
    },
    Row {
        scenario: "tools-call-audio",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["tools-call-audio"],
        why: "answers are text: a command has no sound",
    },
    Row {
        scenario: "tools-call-embedded-resource",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["tools-call-embedded-resource"],
        why: "answers are text; what is a resource is named by its handle",
    },
    Row {
        scenario: "tools-call-mixed-content",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["tools-call-mixed-content"],
        why: "answers are text: a command has no images and no embedded resources",
    },
    Row {
        scenario: "tools-call-with-logging",
        runs: &["2025-06-18", OWN],
        checks: &["tools-call-with-logging"],
        why: "the same: no log messages",
    },
    Row {
        scenario: "tools-call-sampling",
        runs: &["2025-06-18", OWN],
        checks: &["tools-call-sampling"],
        why: "ostler asks nothing of its client in the middle of a call: it has no use for a model",
    },
    Row {
        scenario: "tools-call-elicitation",
        runs: &["2025-06-18", OWN],
        checks: &["tools-call-elicitation"],
        why: "ostler asks nothing of its client in the middle of a call: a command that waits for input says so, and write_stdin answers it",
    },
    Row {
        scenario: "resources-read-binary",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["resources-read-binary"],
        why: "output is text: bytes that are none are shown as such, and the file has them",
    },
    Row {
        scenario: "prompts-list",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["prompts-list"],
        why: "no prompts: ostler runs commands, and has no texts to offer",
    },
    Row {
        scenario: "prompts-get-simple",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["prompts-get-simple"],
        why: "no prompts: ostler runs commands, and has no texts to offer",
    },
    Row {
        scenario: "prompts-get-with-args",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["prompts-get-with-args"],
        why: "no prompts: ostler runs commands, and has no texts to offer",
    },
    Row {
        scenario: "prompts-get-embedded-resource",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["prompts-get-embedded-resource"],
        why: "no prompts: ostler runs commands, and has no texts to offer",
    },
    Row {
        scenario: "prompts-get-with-image",
        runs: &["2025-06-18", OWN, "2026-07-28"],
        checks: &["prompts-get-with-image"],
        why: "no prompts: ostler runs commands, and has no texts to offer",
    },
    Row {
        scenario: "server-stateless",
        runs: &[OWN, "2026-07-28"],
        checks: &[
            "sep-2575-missing-capability-http-400",
            "sep-2575-server-rejects-undeclared-capability",
            "2 skipped",
        ],
        why: "no tool needs something of its client, so none can miss it (two checks); tools never change and there are no prompts, so no change is told (two that the suite skips itself)",
    },
    Row {
        scenario: "json-schema-2020-12",
        runs: &[OWN, "2026-07-28"],
        checks: &["json-schema-2020-12-tool-found"],
        why: "wants a tool with a schema of its own; that those of ostler arrive as they are is tested in mcp/tests/for_models.rs",
    },
    Row {
        scenario: "elicitation-sep1034-defaults",
        runs: &[OWN],
        checks: &["elicitation-sep1034-general"],
        why: "ostler asks nothing of its client in the middle of a call: no forms, so no defaults",
    },
    Row {
        scenario: "server-sse-polling",
        runs: &[OWN],
        checks: &["server-sse-polling-session", "server-sse-priming-event", "server-sse-retry-field"],
        why: "there is no session of HTTP and no stream to resume: what a lost answer carried is told by the next one",
    },
    Row {
        scenario: "server-sse-multiple-streams",
        runs: &[OWN],
        checks: &["server-sse-multiple-streams-session"],
        why: "warns that there is no session of HTTP; there is none by design",
    },
    Row {
        scenario: "elicitation-sep1330-enums",
        runs: &[OWN],
        checks: &["elicitation-sep1330-general"],
        why: "ostler asks nothing of its client in the middle of a call: no forms, so no choices",
    },
    Row {
        scenario: "sep-2640-skills-directory",
        runs: &[OWN],
        checks: &["6 skipped"],
        why: "no skills over this protocol: the plugins of integrations/ bring one as a file",
    },
    Row {
        scenario: "sep-2640-skills-enumeration",
        runs: &[OWN],
        checks: &["31 skipped"],
        why: "no skills over this protocol: the plugins of integrations bring one as a file",
    },
    Row {
        scenario: "sep-2640-skills-manifest",
        runs: &[OWN],
        checks: &["5 skipped"],
        why: "no skills over this protocol: the plugins of integrations bring one as a file",
    },
    Row {
        scenario: "caching",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2549-prompts-list-caching-hints"],
        why: "asks for prompts too, which there are none of; all else of it passes",
    },
    Row {
        scenario: "http-custom-header-server-validation",
        runs: &[OWN, "2026-07-28"],
        checks: &[
            "sep-2243-server-decode-base64",
            "sep-2243-server-no-xmcp-tool",
            "sep-2243-server-reject-invalid-param-chars",
            "sep-2243-server-reject-param-mismatch",
            "sep-2243-server-validate-param-match",
        ],
        why: "no argument of a tool is sent as a header",
    },
    Row {
        scenario: "tasks-lifecycle",
        runs: &[OWN],
        checks: &["sep-2663-tasks-get-status-failed", "sep-2663-tool-error-uses-completed-status"],
        why: "a command that fails is no error of the tool, as a task as well as an answer: the result has its exit code. And once it was started, nothing becomes an error of the protocol: a command that is lost has a result that says so",
    },
    Row {
        scenario: "tasks-mrtr-input",
        runs: &[OWN],
        checks: &["sep-2663-tasks-get-status-input-required", "tasks-mrtr-partial-fulfillment"],
        why: "a task asks nothing of its client: a command that waits for input says so, and write_stdin answers it",
    },
    Row {
        scenario: "tasks-status-notifications",
        runs: &[OWN],
        checks: &["1 skipped"],
        why: "the suite skips it itself: it has to be rewritten for the way on which such notifications come now",
    },
    Row {
        scenario: "tasks-required-task-error",
        runs: &[OWN],
        checks: &["sep-2663-server-returns-missing-capability-when-required"],
        why: "no tool needs tasks: without them run_command answers with a handle",
    },
    Row {
        scenario: "tasks-mrtr-composition",
        runs: &[OWN],
        checks: &["sep-2663-mrtr-synchronous-before-task-creation"],
        why: "a task asks nothing of its client before it begins either",
    },
    Row {
        scenario: "input-required-result-basic-elicitation",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-elicitation-incomplete"],
        why: "ostler asks nothing of its client in the middle of a call: no forms",
    },
    Row {
        scenario: "input-required-result-basic-sampling",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-sampling-incomplete"],
        why: "ostler asks nothing of its client in the middle of a call: no model",
    },
    Row {
        scenario: "input-required-result-basic-list-roots",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-list-roots-incomplete"],
        why: "ostler asks nothing of its client in the middle of a call: where commands may start is its own setting",
    },
    Row {
        scenario: "input-required-result-request-state",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-request-state-incomplete"],
        why: "ostler asks nothing of its client in the middle of a call: so there is no state to come back",
    },
    Row {
        scenario: "input-required-result-multiple-input-requests",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-multiple-inputs-incomplete"],
        why: "ostler asks nothing of its client in the middle of a call: not once, and not several times",
    },
    Row {
        scenario: "input-required-result-multi-round",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-multi-round-r1"],
        why: "ostler asks nothing of its client in the middle of a call: so there are no rounds",
    },
    Row {
        scenario: "input-required-result-missing-input-response",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-missing-response-rerequests"],
        why: "warns that the tool of this name does not ask again; there is none",
    },
    Row {
        scenario: "input-required-result-non-tool-request",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-non-tool-incomplete"],
        why: "no prompts: ostler runs commands, and has no texts to offer",
    },
    Row {
        scenario: "input-required-result-result-type",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-result-type-included"],
        why: "wants a tool that asks; that results say that they are complete is part of the other scenarios",
    },
    Row {
        scenario: "input-required-result-tampered-state",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-reject-tampered-state"],
        why: "ostler asks nothing of its client in the middle of a call: so there is no state to be changed on its way",
    },
    Row {
        scenario: "input-required-result-capability-check",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-respect-client-capabilities"],
        why: "ostler asks nothing of its client in the middle of a call: so it never asks for too much",
    },
    Row {
        scenario: "input-required-result-ignore-extra-params",
        runs: &[OWN, "2026-07-28"],
        checks: &["sep-2322-ignore-unexpected-params"],
        why: "warns that the tool of this name does not complete; there is none",
    },
];
