//! Commands as resources: `ostler://commands/{handle}` is the record, `ostler://commands/{handle}/output` the output, by range if asked
//! (`?offset=0&length=30000`). Both can be subscribed.

use crate::{place::Handle, server::Opened, shown::fit, tasks};
use ostler::{READ_MAX_BYTES, ReadRequest, Status, clean_text, on_one_line};
use rmcp::{
    ErrorData, RoleServer,
    model::{
        ReadResourceResult, Resource, ResourceContents, ResourceTemplate, ResourceUpdatedNotificationParam,
    },
    service::{Peer, SubscriptionContext, SubscriptionSink},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

const COMMANDS: &str = "ostler://commands/";
/// How often a subscriber hears of output, at most. An end is told at once.
const UPDATE_INTERVAL: Duration = Duration::from_secs(2);
/// Most subscriptions of a client at a time.
const SUBSCRIPTIONS: usize = 256;
/// Of a command in a list of resources.
const NAME_BYTES: usize = 200;
/// Most commands in a list of resources: the newest.
const LISTED: usize = 100;

/// What an address means.
struct Address {
    handle: String,
    output: Option<(u64, u64)>,
}

impl Address {
    fn of(uri: &str) -> Option<Address> {
        let (path, query) =
            uri.strip_prefix(COMMANDS)?.split_once('?').unwrap_or((uri.strip_prefix(COMMANDS)?, ""));
        let (handle, what) = path.split_once('/').unwrap_or((path, ""));
        let (mut offset, mut length) = (0, READ_MAX_BYTES);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=')? {
                ("offset", value) => offset = value.parse().ok()?,
                ("length", value) => length = value.parse().ok()?,
                _ => return None,
            }
        }
        let output = match what {
            "" if query.is_empty() => None,
            "output" => Some((offset, length)),
            _ => return None,
        };
        Some(Address { handle: handle.to_owned(), output })
    }
}

fn unknown(uri: &str) -> ErrorData {
    let said = format!(
        "there is no resource {uri:?}; there are {COMMANDS}{{handle}} and {COMMANDS}{{handle}}/output?offset=0&length={READ_MAX_BYTES}"
    );
    ErrorData::resource_not_found(said, Some(serde_json::json!({ "uri": uri })))
}

async fn locate(opened: Option<&Opened>, uri: &str) -> Result<(Handle, Address), ErrorData> {
    let address = Address::of(uri).ok_or_else(|| unknown(uri))?;
    let handle = tasks::find(opened, &address.handle).await.map_err(|_| unknown(uri))?;
    Ok((handle, address))
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{COMMANDS}{{handle}}"), "command")
            .with_description("How a command stands: its whole record")
            .with_mime_type("application/json"),
        ResourceTemplate::new(format!("{COMMANDS}{{handle}}/output{{?offset,length}}"), "output")
            .with_description("What a command has written, both streams in order of arrival, from a byte on")
            .with_mime_type("text/plain"),
    ]
}

pub(crate) async fn list(opened: Option<&Opened>) -> Vec<Resource> {
    let Some(opened) = opened else { return Vec::new() };
    // A graph that has ended has nothing.
    let listed = opened.session.list(LISTED).await.map(|list| list.listed).unwrap_or_default();
    let mut resources = Vec::new();
    for listed in listed.iter().rev().take(LISTED) {
        let (id, command) = (listed.handle.id(), on_one_line(&listed.handle.record().command, NAME_BYTES));
        let output = format!("{COMMANDS}{id}/output");
        resources.push(
            Resource::new(format!("{COMMANDS}{id}"), command.clone()).with_mime_type("application/json"),
        );
        resources.push(Resource::new(output, format!("output of {command}")).with_mime_type("text/plain"));
    }
    resources
}

pub(crate) async fn read(opened: Option<&Opened>, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let (handle, address) = locate(opened, uri).await?;
    let failed = |error: &dyn std::fmt::Display| ErrorData::internal_error(format!("{uri}: {error}"), None);
    let contents = match address.output {
        None => {
            let record = serde_json::to_string(handle.record()).map_err(|error| failed(&error))?;
            ResourceContents::text(record, uri).with_mime_type("application/json")
        }
        Some((offset, length)) => {
            let request = ReadRequest::new().offset(offset).length(length);
            let page = handle.read(request).await.map_err(|error| failed(&error))?;
            ResourceContents::text(fit(clean_text(&page.content), READ_MAX_BYTES), uri)
        }
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

/// What a client of the older protocol has subscribed.
#[derive(Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<String, CancellationToken>>);

impl Subscriptions {
    pub(crate) async fn begin(
        &self,
        opened: Option<&Opened>,
        uri: String,
        peer: Peer<RoleServer>,
        gone: CancellationToken,
    ) -> Result<(), ErrorData> {
        let (handle, _) = locate(opened, &uri).await?;
        let until = gone.child_token();
        {
            let mut subscriptions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            subscriptions.retain(|_, until| !until.is_cancelled());
            if subscriptions.len() >= SUBSCRIPTIONS {
                let said =
                    format!("a client can have {SUBSCRIPTIONS} subscriptions at a time; end some before");
                return Err(ErrorData::invalid_request(said, None));
            }
            if let Some(before) = subscriptions.insert(uri.clone(), until.clone()) {
                before.cancel();
            }
        }
        tokio::spawn(async move {
            tokio::select! {
                () = changes(handle, uri, Sink::Peer(peer)) => {}
                () = until.cancelled() => {}
            }
            until.cancel();
        });
        Ok(())
    }

    pub(crate) fn end(&self, uri: &str) {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uri);
        if let Some(until) = ended {
            until.cancel();
        }
    }
}

/// The same for a client of 2026-07-28: until it ends its request, or every command that it asked for has ended.
pub(crate) async fn listen(
    opened: Option<&Opened>,
    subscription: &SubscriptionContext,
    gone: &CancellationToken,
) {
    let uris = subscription.accepted().resource_subscriptions.clone().unwrap_or_default();
    let mut all = JoinSet::new();
    for uri in uris.into_iter().take(SUBSCRIPTIONS) {
        // One that is not there has no updates.
        let Ok((handle, _)) = locate(opened, &uri).await else { continue };
        all.spawn(changes(handle, uri, Sink::Subscription(subscription.sink().clone())));
    }
    let ends = async { while all.join_next().await.is_some() {} };
    tokio::select! {
        () = async { ends.await; std::future::pending().await } => {}
        () = subscription.cancelled() => {}
        () = gone.cancelled() => {}
    }
}

/// Where an update goes.
enum Sink {
    Peer(Peer<RoleServer>),
    Subscription(SubscriptionSink),
}

impl Sink {
    /// False if nobody hears it any more.
    async fn tell(&self, uri: &str) -> bool {
        match self {
            Sink::Peer(peer) => {
                peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_ok()
            }
            Sink::Subscription(sink) => sink.notify_resource_updated(uri).await.is_ok(),
        }
    }
}

/// Tells of output from time to time, and of the end once; returns after that, or when it can't be told.
async fn changes(handle: Handle, uri: String, sink: Sink) {
    let mut offset = handle.record().output_offset;
    loop {
        let record = match handle.exited_within(UPDATE_INTERVAL).await {
            Ok(record) => record,
            Err(error) if error.is_elsewhere() => {
                sleep(UPDATE_INTERVAL).await;
                continue;
            }
            Err(_) => return,
        };
        let ended = record.status != Status::Running;
        let changed = ended || record.output_offset != offset;
        if changed && !sink.tell(&uri).await || ended {
            return;
        }
        offset = record.output_offset;
    }
}
