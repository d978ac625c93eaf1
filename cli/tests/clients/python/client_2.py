"""The official client `mcp` 2.x: with a handshake (legacy), and as its default has it (auto, 2026-07-28), with the tasks extension."""

import asyncio
import contextlib
import sys
from typing import Any, Literal

import checks
import mcp_types as types
from checks import Fifo, Place, Said, equal
from mcp import Client, StdioServerParameters
from mcp.client import ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from pydantic import ConfigDict

MODE = sys.argv[1]
TASKS = "io.modelcontextprotocol/tasks"


class OneClient:
    def __init__(self, client):
        self.client = client
        self.server_name = client.server_info.name
        self.version = client.protocol_version

    async def tools(self):
        listed = await self.client.list_tools()
        return [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in listed.tools]

    async def call(self, name, arguments, progress=None):
        result = await self.client.call_tool(name, arguments, progress_callback=progress)
        return Said(result.model_dump(by_alias=True, mode="json"))

    async def refused(self, name, arguments):
        try:
            await self.client.call_tool(name, arguments)
        except MCPError as error:
            return {"code": error.code, "message": error.message}
        raise AssertionError(f"{name} was not refused")

    @contextlib.asynccontextmanager
    async def cancelled_call(self, name, arguments):
        call = asyncio.create_task(self.client.call_tool(name, arguments))
        yield
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()


@contextlib.asynccontextmanager
async def connect(place, *args, extensions=None):
    command, arguments, env, cwd = place.command(*args)
    server = StdioServerParameters(command=command, args=arguments, env=env, cwd=cwd)
    async with Client(server, mode=MODE, extensions=extensions) as client:
        yield OneClient(client)


class Created(types.Result):
    """A call that became a task."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"


class TaskParams(types.RequestParams):
    taskId: str


class GetTask(types.Request[TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskParams


class CancelTask(types.Request[TaskParams, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: TaskParams


class State(types.Result):
    model_config = ConfigDict(extra="allow")


class Tasks(ClientExtension):
    """As a host would have it: polls until there is a result."""

    identifier = TASKS

    def __init__(self, at_first):
        self.at_first = at_first
        self.states: list[str] = []

    def claims(self):
        return [ResultClaim(result_type="task", model=Created, resolve=self.resolve)]

    async def resolve(self, created, context) -> Any:
        task = created.model_dump(by_alias=True, mode="json")
        while True:
            params = TaskParams(taskId=task["taskId"])
            answer = await context.session.send_request(GetTask(params=params), State)
            state = answer.model_dump(by_alias=True, mode="json")
            self.states.append(state["status"])
            if state["status"] != "working":
                self.last = state
                result = state.get("result") or {"content": [], "isError": True}
                return types.CallToolResult.model_validate(result)
            if len(self.states) == 1:
                await self.at_first(context.session, params)
            await asyncio.sleep(state["pollIntervalMs"] / 1000)


async def a_task_ends_with_its_result(connect):
    place = Place()
    fifo = Fifo(place)

    async def go(_session, _params):
        fifo.go()

    tasks = Tasks(go)
    async with connect(place, extensions=[tasks]) as client:
        said = await client.call("run_command", {"command": "read x < go; echo done"})
        equal((said["output"], said["status"]), ("done\n", "completed"))
        equal((tasks.states[0], tasks.states[-1]), ("working", "completed"))
        # A task takes nothing: the end is told by an answer all the same, once.
        equal(len((await client.call("list_commands", {}))["ended"]), 1)
        equal((await client.call("list_commands", {}))["ended"], [])


async def a_task_is_cancelled(connect):
    async def cancel(session, params):
        await session.send_request(CancelTask(params=params), State)

    tasks = Tasks(cancel)
    async with connect(Place(), extensions=[tasks]) as client:
        await client.call("run_command", {"command": "sleep 1000"})
        equal((tasks.states[0], tasks.states[-1]), ("working", "cancelled"))
        row = (await client.call("list_commands", {}))["commands"][0]
        equal(row["status"], "killed")


# The older protocol has no results of other kinds: nothing is claimed there.
MODERN = MODE == "auto"
more = [a_task_ends_with_its_result, a_task_is_cancelled] if MODERN else []
asyncio.run(checks.all_of(connect, MODE, "2026-07-28" if MODERN else "2025-11-25", more))
