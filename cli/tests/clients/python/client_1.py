"""The official client `mcp` 1.x, which most hosts in Python still have."""

import asyncio
import contextlib

import checks
from checks import Said
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import McpError


class OneClient:
    def __init__(self, session, hello):
        self.session = session
        self.server_name = hello.serverInfo.name
        self.version = hello.protocolVersion

    async def tools(self):
        listed = await self.session.list_tools()
        return [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in listed.tools]

    async def call(self, name, arguments, progress=None):
        result = await self.session.call_tool(name, arguments, progress_callback=progress)
        return Said(result.model_dump(by_alias=True, mode="json"))

    async def refused(self, name, arguments):
        try:
            await self.session.call_tool(name, arguments)
        except McpError as error:
            return {"code": error.error.code, "message": error.error.message}
        raise AssertionError(f"{name} was not refused")

    @contextlib.asynccontextmanager
    async def cancelled_call(self, name, arguments):
        # This client tells nobody that it gives up: the host has to, by the number of the request.
        number = self.session._request_id
        call = asyncio.create_task(self.session.call_tool(name, arguments))
        while self.session._request_id == number:
            await asyncio.sleep(0)
        yield
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        params = types.CancelledNotificationParams(requestId=number, reason="the user said stop")
        await self.session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))


@contextlib.asynccontextmanager
async def connect(place, *args):
    command, arguments, env, cwd = place.command(*args)
    server = StdioServerParameters(command=command, args=arguments, env=env, cwd=cwd)
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        yield OneClient(session, hello)


asyncio.run(checks.all_of(connect, "legacy", "2025-11-25"))
