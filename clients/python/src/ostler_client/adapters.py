"""What the shell tools of agent frameworks take. None of them is imported before it calls.

* a function `execute(command) -> output`: `Execute`, for LangChain's `StructuredTool.from_function(coroutine=...)` and whatever takes such a function
* an executor of the OpenAI Agents SDK: `OpenAIShell` for `ShellTool`, its `local` for `LocalShellTool`
* LangChain's `ShellToolMiddleware`, which keeps a shell of its own: `spawn`, for the `spawn` of an execution policy

A command that is still running when its time is up is stopped with all of its processes, and the answer says so. A call that the framework gives up
(its task is cancelled) stops its command too: nobody else has its handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ostler_client.client import Command, Ostler, find_program
from ostler_client.types import Options, OstlerError, State

# Of a command whose call says nothing: these tools have no way to look at one that goes on, so each needs an end.
TIMEOUT_S = 120.0


class ShellAction(Protocol):
    """As the OpenAI Agents SDK has it."""

    @property
    def commands(self) -> list[str]: ...
    @property
    def timeout_ms(self) -> int | None: ...
    @property
    def max_output_length(self) -> int | None: ...


class ShellCall(Protocol):
    @property
    def action(self) -> ShellAction: ...


class ShellRequest(Protocol):
    @property
    def data(self) -> ShellCall: ...


class LocalShellRequest(Protocol):
    @property
    def data(self) -> Any: ...


class Execute:
    """`await execute("make test")`: the output, and below it what ostler says of its end. A failure is told in words and raises nothing.

    `timeout`: stop a command after so many seconds; None: never. `options`: for each command.
    """

    def __init__(self, ostler: Ostler, *, timeout: float | None = TIMEOUT_S, options: Options | None = None) -> None:
        self._ostler, self._timeout, self._options = ostler, timeout, options or {}

    async def __call__(self, command: str) -> str:
        """Runs a shell command to its end and answers with its output and how it ended."""
        return said(await self.state(command))

    async def state(self, command: str | Sequence[str], **more: Any) -> State:
        """The same with everything that is known of it. `more`: options that win over the others."""
        options: Options = {**self._options, **more}  # type: ignore[typeddict-item]
        if self._timeout is not None:
            options.setdefault("timeout", self._timeout)
        # Whoever gives up while it is being started still gets its handle, to stop it.
        starts = asyncio.create_task(self._ostler.start(command, **options))
        try:
            await asyncio.wait([starts])
            return await starts.result().wait()
        except BaseException:
            # A task of its own: whoever is cancelled twice does not wait for it, and it goes on. The client keeps it.
            stops = asyncio.create_task(_stop(starts))
            self._ostler._keep(stops)
            await asyncio.wait([stops])
            raise


async def _stop(starts: asyncio.Task[Command]) -> None:
    # If it was not started, or its session has ended, there is nothing to stop.
    with contextlib.suppress(OstlerError):
        # The answer comes at once; the stop goes on.
        await (await starts).cancel(wait=0.0)


def said(state: State) -> str:
    """For a model: the output, and what ostler says of it."""
    return f"{state.output}\n{state.text}" if state.output else state.text


class OpenAIShell:
    """The executor of `ShellTool(executor=OpenAIShell(ostler))`, and of `LocalShellTool(executor=OpenAIShell(ostler).local)`.

    The commands of a call run one after the other, up to the first that runs out of time. Both streams of one stand in `stdout`, in the order of
    their writes; `stderr` has what ostler says of one that fails. `timeout` and `options` as of `Execute`; a call's own timeout wins.
    """

    def __init__(self, ostler: Ostler, *, timeout: float | None = TIMEOUT_S, options: Options | None = None) -> None:
        self._execute = Execute(ostler, timeout=timeout, options=options)

    async def __call__(self, request: ShellRequest) -> Any:
        """An `agents.ShellResult`."""
        agents = importlib.import_module("agents")
        action = request.data.action
        outputs = []
        for command in action.commands:
            state = await self._execute.state(command, **_timeout(action.timeout_ms))
            timed_out = state.status == "timed_out"
            outcome = agents.ShellCallOutcome(type="timeout" if timed_out else "exit", exit_code=None if timed_out else state.exit_code)
            outputs.append(agents.ShellCommandOutput(stdout=state.output, stderr="" if state.success else state.text, outcome=outcome, command=command))
            if timed_out:
                break
        return agents.ShellResult(output=outputs, max_output_length=action.max_output_length)

    async def local(self, request: LocalShellRequest) -> str:
        """One program with its arguments, as `LocalShellTool` has it; its directory and variables are the call's."""
        action = request.data.action
        more: dict[str, Any] = {**_timeout(action.timeout_ms), "env": dict(action.env or {})}
        if action.working_directory:
            more["cwd"] = action.working_directory
        return said(await self._execute.state(list(action.command), **more))


def _timeout(ms: float | None) -> dict[str, Any]:
    return {} if ms is None else {"timeout": ms / 1000}


def spawn(*, workspace: Path, env: Mapping[str, str], command: Sequence[str], program: str | None = None) -> subprocess.Popen[str]:
    """The shell of LangChain's `ShellToolMiddleware`, looked after by `ostler run`: whatever it has started is gone when the middleware stops or
    kills it, and when this interpreter dies. For the `spawn` of a `BaseExecutionPolicy`.
    """
    line = [find_program(program), "run", "--quiet", "--", *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        line, cwd=workspace, env=dict(env), stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", errors="replace", bufsize=1,
        start_new_session=True,
    )
