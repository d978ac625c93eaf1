//! One client: what it asks is handed to the tools, tasks and resources, what they say goes back with the ends that were not told.

use crate::{
    answer::Said,
    ledger::{Ledger, Told},
    resources,
    server::{Opened, Server},
    tasks,
    tools::{self, Asked},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, CustomRequest, CustomResult, ErrorCode,
        GetTaskParams, GetTaskResult, Implementation, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
        ReadResourceResponse, ServerCapabilities, ServerConfig, SubscribeRequestParams, SubscriptionFilter,
        Tool, UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use std::{sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;

/// What a client shows to its model beside the tools.
const INSTRUCTIONS: &str = "ostler runs commands that outlive a call. run_command answers with the result, or after yield_ms with a \
handle while the command goes on; it is never lost, and its end is told once, by the next answer of any tool. Do not start a \
command again to see how it gets on: wait_command waits for its end, a line of output, a port or a prompt; \
read_command_output reads on from next_offset.";

pub(crate) struct Connection {
    server: Server,
    ledger: Arc<Ledger>,
    gone: CancellationToken,
    subscriptions: resources::Subscriptions,
}

impl Connection {
    pub(crate) fn new(server: Server, gone: CancellationToken) -> Connection {
        Connection { server, gone, ledger: Arc::default(), subscriptions: Default::default() }
    }

    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    async fn said(
        &self,
        tool: tools::Tool,
        arguments: serde_json::Value,
        request: &RequestContext<RoleServer>,
    ) -> (Said, Option<&Opened>) {
        let Ok(_permit) = self.server.calls().try_acquire() else {
            let said = "too many calls wait already; let some of them end before you make more";
            return (Said::error(said), self.server.if_opened());
        };
        match self.server.opened().await {
            Err(error) => (Said::error(format!("no session can be opened: {error}")), None),
            Ok(opened) => {
                let asked = Asked {
                    options: self.server.options(),
                    session: &opened.session,
                    ends: &opened.ends,
                    request,
                    gone: &self.gone,
                };
                let said = tools::call(tool, arguments, &asked).await;
                (said.unwrap_or_else(Said::error), Some(opened))
            }
        }
    }

    /// The answer to this request carries these.
    fn carry(&self, request: &RequestContext<RoleServer>, told: Told) {
        #[cfg(feature = "http")]
        if let Some(carries) = crate::http::Carries::of(request) {
            // One that was cancelled has no answer any more.
            if !request.ct.is_cancelled() {
                carries.put(told);
            }
            return;
        }
        self.ledger.attach(&request.id, told);
    }

    fn instructions(&self) -> String {
        #[cfg(feature = "nats")]
        if let Some(pool) = &self.server.options().pool {
            return format!(
                "{INSTRUCTIONS} Commands run on the workers of the pool {pool}, on other machines: files, directories and ports are those of \
                 the worker that runs a command, and two commands can run on two workers."
            );
        }
        INSTRUCTIONS.to_owned()
    }

    fn opened(&self) -> Option<&Opened> {
        self.server.if_opened()
    }
}

impl ServerHandler for Connection {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tasks()
            .build();
        if let Some(resources) = &mut capabilities.resources {
            resources.list_changed = None;
        }
        let info = Implementation::new("ostler", env!("CARGO_PKG_VERSION")).with_title("ostler");
        ServerConfig::new(capabilities).with_server_info(info).with_instructions(self.instructions())
    }

    async fn on_initialized(&self, told: NotificationContext<RoleServer>) {
        if let Some(client) = told.peer.peer_info() {
            let (name, version) = (&client.client_info.name, &client.client_info.version);
            let protocol = client.protocol_version.as_str();
            tracing::info!(name = name.as_str(), version = version.as_str(), protocol, "client named");
        }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let all = tools::all().to_vec();
        #[cfg(feature = "testing")]
        let all = self.server.options().fixtures.iter().map(|fixture| fixture.tool()).chain(all).collect();
        Ok(ListToolsResult::with_all_items(all))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        #[cfg(feature = "testing")]
        if let Some(fixture) = self.server.options().fixture(name) {
            return Some(fixture.tool());
        }
        tools::all().iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        asked: CallToolRequestParams,
        request: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        #[cfg(feature = "testing")]
        let asked = self.server.options().as_command(asked, tasks::are_declared(&request));
        let Some(tool) = tools::Tool::named(&asked.name) else {
            let said = format!("there is no tool {:?}; the tools are {}", asked.name, tools::names());
            return Err(ErrorData::invalid_params(said, None));
        };
        let arguments = serde_json::Value::Object(asked.arguments.unwrap_or_default());
        let begun = Instant::now();
        let (mut said, opened) = self.said(tool, arguments, &request).await;
        // What was asked, and why it was refused, may hold what is typed and values of variables.
        let took = begun.elapsed();
        tracing::info!(tool = tool.name(), refused = said.is_error, ?took, "called");
        if let Some(handle) = said.goes_on.as_ref().filter(|_| tasks::are_declared(&request)) {
            return Ok(tasks::created(handle).into());
        }
        let mut ended = Vec::new();
        let claimed = match (said.told.take(), opened) {
            (Some(told), _) => Some(told),
            // A graph that has ended tells nothing.
            (None, Some(opened)) => opened.ends.claim(said.tells_of).await.ok(),
            (None, None) => None,
        };
        if let Some((lines, told)) = claimed {
            if !told.is_empty() {
                self.carry(&request, told);
            }
            ended = lines;
        }
        Ok(said.into_result(ended).into())
    }

    async fn get_task(
        &self,
        asked: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        tasks::get(self.opened(), &asked.task_id).await
    }

    async fn update_task(
        &self,
        asked: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::find(self.opened(), &asked.task_id).await.map(drop)
    }

    async fn cancel_task(
        &self,
        asked: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::cancel(self.opened(), &asked.task_id).await
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list(self.opened()).await))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        asked: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = asked.uri;
        #[cfg(feature = "testing")]
        let uri = crate::testing::address(self.opened(), uri).await;
        resources::read(self.opened(), &uri).await.map(Into::into)
    }

    #[allow(deprecated, reason = "clients before 2026-07-28 have no other way")]
    async fn subscribe(
        &self,
        asked: SubscribeRequestParams,
        request: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (uri, peer) = (asked.uri, request.peer.clone());
        #[cfg(feature = "testing")]
        let uri = crate::testing::address(self.opened(), uri).await;
        self.subscriptions.begin(self.opened(), uri, peer, self.gone.clone()).await
    }

    #[allow(deprecated, reason = "clients before 2026-07-28 have no other way")]
    async fn unsubscribe(
        &self,
        asked: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.subscriptions.end(&asked.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        resources::listen(self.opened(), &subscription, &self.gone).await;
        Ok(())
    }

    async fn on_custom_request(
        &self,
        asked: CustomRequest,
        request: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let version = request.protocol_version();
        // Versions are dates, which stand in their order as texts too.
        let is_removed = REMOVED.contains(&&*asked.method)
            && version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
        // The SDK gives requests here whose parameters it can't read, too.
        if KNOWN.contains(&&*asked.method) && !is_removed {
            let said =
                format!("{}: its params are missing, or have another form than the protocol's", asked.method);
            return Err(ErrorData::invalid_params(said, None));
        }
        let said = format!("there is no method {:?} here", asked.method);
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, said, None))
    }
}

/// Those of them that the protocol has no more since 2026-07-28.
const REMOVED: [&str; 3] = ["initialize", "resources/subscribe", "resources/unsubscribe"];

/// Methods with parameters that are answered here.
const KNOWN: [&str; 8] = [
    "initialize",
    "tools/call",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];
