//! Commands as tasks of the extension `io.modelcontextprotocol/tasks` (SEP-2663), over ostler's own handles: a task is a handle, so none
//! expires before its record does, and a client that is lost loses nothing.
//!
//! * keeps: a task tells nothing for good: the end that it has shown is told by the next answer of a tool all the same

use crate::{
    answer::{self, Waited},
    place::Handle,
    server::Opened,
    shown,
};
use ostler::{HandleId, Record, Status, StopCause};
use rmcp::{
    ErrorData, RoleServer,
    model::{CreateTaskResult, DetailedTask, GetTaskResult, JsonObject, Task, TaskPayload, TaskStatus},
    service::RequestContext,
};
use std::time::Duration;

/// How often a client should ask. An end is seen that late at most, and a look costs a tenth of a millisecond.
const POLL_MS: u64 = 1_000;

/// Whether the client of this request knows tasks. One that does not can't read them.
pub(crate) fn are_declared(request: &RequestContext<RoleServer>) -> bool {
    request.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks())
}

/// The answer to a call whose command goes on.
pub(crate) fn created(handle: &Handle) -> CreateTaskResult {
    CreateTaskResult::new(task(handle.record()))
}

fn task(record: &Record) -> Task {
    let at = |stamp: Option<ostler::Stamp>| stamp.map(|stamp| stamp.to_string()).unwrap_or_default();
    let begun = at(record.started_at);
    let changed = record.ended_at.map_or_else(|| begun.clone(), |stamp| stamp.to_string());
    Task::new(record.handle_id.to_string(), TaskStatus::Working, begun, changed)
        .with_status_message(record.how_it_stands())
        .with_poll_interval_ms(POLL_MS)
}

pub(crate) async fn find(opened: Option<&Opened>, id: &str) -> Result<Handle, ErrorData> {
    let unknown = |why: String| ErrorData::invalid_params(format!("there is no task {id:?}: {why}"), None);
    let opened = opened.ok_or_else(|| unknown("no command was run".to_owned()))?;
    let id: HandleId = id.parse().map_err(|_| unknown("a task is a handle".to_owned()))?;
    opened.session.handle(id).await.map_err(|error| unknown(error.to_string()))
}

/// How it stands, with its result once it has ended.
pub(crate) async fn get(opened: Option<&Opened>, id: &str) -> Result<GetTaskResult, ErrorData> {
    let handle = find(opened, id).await?;
    let record = handle.record();
    let payload = match (record.status, record.stop_cause) {
        (Status::Running, _) => TaskPayload::Working,
        (_, Some(StopCause::Cancelled)) => TaskPayload::Cancelled,
        _ => TaskPayload::Completed { result: result(&handle).await },
    };
    Ok(GetTaskResult::new(DetailedTask::new(task(record), payload)))
}

async fn result(handle: &Handle) -> JsonObject {
    let record = handle.record();
    let shown = shown::output(handle, record, 0, shown::SHOWN_MAX_BYTES).await;
    answer::as_map(&answer::of_command(record, shown, None, Waited::default()).into_result(Vec::new()))
}

/// Stops it; the task says so when it has ended.
pub(crate) async fn cancel(opened: Option<&Opened>, id: &str) -> Result<(), ErrorData> {
    let handle = find(opened, id).await?;
    // It is stopped also when nobody waits for the answer. Its end is told by the next answer.
    drop(tokio::spawn(async move { handle.cancel(false, Duration::ZERO).await.map(drop) }));
    Ok(())
}
