//! The SDK's own client.

use crate::place::Place;
use rmcp::{
    ServiceExt,
    model::{CallToolRequestParams, ClientConfig},
};
use serde_json::json;
use std::process::Stdio;

#[test]
fn the_client_of_the_rust_sdk_runs_a_command() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut command = tokio::process::Command::from(place.command());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pipes = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let client = ClientConfig::default().serve(pipes).await.unwrap();
        assert_eq!(client.peer_info().unwrap().server_info.as_ref().unwrap().name, "ostler");
        let tools = client.list_all_tools().await.unwrap();
        assert_eq!(tools.len(), 6);
        assert!(tools.iter().all(|tool| tool.output_schema.is_some() && tool.annotations.is_some()));
        let arguments = json!({ "command": "echo hello" }).as_object().cloned().unwrap();
        let asked = CallToolRequestParams::new("run_command").with_arguments(arguments);
        let said = client.call_tool(asked).await.unwrap();
        assert_eq!(said.structured_content.unwrap()["output"], "hello\n");
        client.cancel().await.unwrap();
        assert!(child.wait().await.unwrap().success());
    });
}
