"""The adapters, held against the frameworks themselves: by their types (mypy, strict) and by calls through them, without a model."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

from agents import (
    Agent,
    LocalShellCommandRequest,
    LocalShellTool,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    ShellActionRequest,
    ShellCallData,
    ShellCommandRequest,
    ShellResult,
    ShellTool,
)
from agents.run_internal.run_steps import ToolRunShellCall
from agents.run_internal.tool_actions import ShellAction
from langchain.agents.middleware import ShellToolMiddleware
from langchain.agents.middleware._execution import BaseExecutionPolicy
from langchain.agents.middleware.shell_tool import ShellSession
from langchain_core.tools import StructuredTool
from openai.types.responses.response_output_item import LocalShellCall, LocalShellCallAction
from ostler_client import End, Ostler
from ostler_client.adapters import Execute, OpenAIShell, spawn

MODE = sys.argv[1] if len(sys.argv) > 1 else ""


def open_client(place: str | None = None, args: Sequence[str] = (), **more: Any) -> Ostler:
    place = place or tempfile.mkdtemp(dir=os.environ["PLACE"])
    return Ostler(os.environ["OSTLER"], args=["--artifacts", f"{place}/artifacts", *args], cwd=place, env={**os.environ, "HOME": place}, **more)


class Policy(BaseExecutionPolicy):
    def spawn(self, *, workspace: Path, env: Mapping[str, str], command: Sequence[str]) -> Popen[str]:
        return spawn(workspace=workspace, env=env, command=command)


def request(commands: list[str], timeout_ms: int | None = None) -> ShellCommandRequest:
    return ShellCommandRequest(RunContextWrapper(None), ShellCallData("call", ShellActionRequest(commands, timeout_ms)))


async def openai() -> None:
    ends: list[End] = []
    async with open_client(on_end=ends.append) as ostler:
        tool = ShellTool(executor=OpenAIShell(ostler))
        assert tool.executor is not None
        result = await OpenAIShell(ostler)(request(["echo out; echo err >&2; exit 3", "echo two"]))
        assert isinstance(result, ShellResult)
        first, second = result.output
        assert (first.stdout, first.exit_code, first.status) == ("out\nerr\n", 3, "completed"), first
        assert "with exit code 3" in first.stderr, first
        assert (second.stdout, second.stderr, second.exit_code) == ("two\n", "", 0), second
        late = await OpenAIShell(ostler)(request(["echo begun; sleep 1000", "echo never"], 200))
        assert [(one.stdout, one.status) for one in late.output] == [("begun\n", "timeout")], late
        # As its own run loop calls it.
        call = {"type": "shell_call", "call_id": "c1", "status": "completed", "action": {"commands": ["echo in; exit 4"], "timeout_ms": 60_000}}
        item = await ShellAction.execute(
            agent=Agent("checks", tools=[tool]), call=ToolRunShellCall(tool_call=call, shell_tool=tool), hooks=RunHooks(),
            context_wrapper=RunContextWrapper(None), config=RunConfig(tracing_disabled=True),
        )
        raw: Any = item.raw_item
        assert raw["output"][0]["outcome"] == {"type": "exit", "exit_code": 4} and raw["output"][0]["stdout"] == "in\n", raw
        local = LocalShellTool(executor=OpenAIShell(ostler).local)
        action = LocalShellCallAction(type="exec", command=["sh", "-c", "pwd; echo $GIVEN"], env={"GIVEN": "this"}, working_directory="/")
        data = LocalShellCall(id="1", call_id="1", type="local_shell_call", status="completed", action=action)
        said: Any = local.executor(LocalShellCommandRequest(RunContextWrapper(None), data))
        assert (await said).startswith("/\nthis\n"), said
        # A call that is given up has its command stopped, also while it is being started.
        for wait in (0.0, 0.3):
            given_up = asyncio.create_task(OpenAIShell(ostler)(request(["sleep 1000"])))
            await asyncio.sleep(wait)
            given_up.cancel()
            await asyncio.wait([given_up])
            assert given_up.cancelled()
        await none_runs(ostler)
        # Cancelled twice, it does not wait for the stop, which goes on.
        for wait in (0.0, 0.3):
            given_up = asyncio.create_task(Execute(ostler)("sleep 1000"))
            await asyncio.sleep(wait)
            given_up.cancel()
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.wait([given_up])
            assert given_up.cancelled()
        await none_runs(ostler)
    # Closing waits for the stop: a session that is kept would keep the command.
    kept = ["--session", "kept", "--keep-for", "30s"]
    place = tempfile.mkdtemp(dir=os.environ["PLACE"])
    async with open_client(place, args=kept) as ostler:
        given_up = asyncio.create_task(Execute(ostler)("sleep 1000"))
        await asyncio.sleep(0.3)
        given_up.cancel()
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
    async with open_client(place, args=kept) as ostler:
        assert (await ostler.list()).commands
        await none_runs(ostler)


async def none_runs(ostler: Ostler) -> None:
    async with asyncio.timeout(60):
        while (await ostler.list(running=True)).commands:
            await ostler.wait_any(0.1)


async def langchain() -> None:
    async with open_client() as ostler:
        execute = Execute(ostler, timeout=60)
        tool = StructuredTool.from_function(coroutine=execute.__call__, name="shell", description="Runs a shell command.")
        assert list(tool.args) == ["command"], tool.args
        said = await tool.ainvoke({"command": "echo out; exit 3"})
        assert said.startswith("out\n") and "with exit code 3" in said, said
        assert "stopped after" in await Execute(ostler, timeout=0.2)("sleep 1000")
    ShellToolMiddleware(execution_policy=Policy())
    place = Path(tempfile.mkdtemp(dir=os.environ["PLACE"]))
    shell = ShellSession(place, Policy(termination_timeout=5), ("/bin/bash",), dict(os.environ))
    shell.start()
    ran = await asyncio.to_thread(shell.execute, "cd /; X=5; setsid sleep 1000 & echo $!", timeout=60)
    left = int(ran.output)
    assert ran.exit_code == 0 and lives(left), ran
    ran = await asyncio.to_thread(shell.execute, "pwd; echo $X; (exit 7)", timeout=60)
    assert (ran.output, ran.exit_code) == ("/\n5\n", 7), ran
    # It restarts its shell when the time of a command is up, by SIGKILL.
    ran = await asyncio.to_thread(shell.execute, "setsid sleep 1000 & echo $! > pid; sleep 1000", timeout=1)
    assert ran.timed_out, ran
    await gone(left)
    ran = await asyncio.to_thread(shell.execute, "setsid sleep 1000 & echo $!", timeout=60)
    await asyncio.to_thread(shell.stop, 60)
    await gone(int(ran.output))


def lives(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while lives(pid):
            await asyncio.sleep(0.005)


async def main() -> None:
    await openai()
    await langchain()
    print(f"{MODE} all")


if __name__ == "__main__":
    asyncio.run(main())
