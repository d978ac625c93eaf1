"""The client. What it promises stands at the top of the package."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from types import TracebackType
from typing import Any, Literal

from mcp import Client, MCPError, StdioServerParameters
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, Implementation, TextContent
from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import Self, Unpack

from ostler_client.types import ConnectionLost, End, Listed, NotInstalled, Options, OstlerError, Page, Progress, Refused, Row, State, make

VERSION = "0.2.0"
# Longest that one call can wait, as the server has it. A longer wait is made of several.
CALL_MAX_S = 3600.0
# What an answer may take beyond the time that its call may wait: far more than a busy machine needs.
ANSWER_TIME_S = 60.0
# Longest that closing waits for what goes on without its caller: all of that is answered at once.
CLOSE_S = 10.0
# Of the arguments of one call, as JSON. The server reads no line above 16 MiB, and cannot say whose it was; the rest of the message needs far less than
# what is left here.
ARGUMENTS_MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024
# How the server marks an end that it has told in an answer that was not looked at.
AGAIN = "(again: it may have been told before)"


class Ostler:
    """A client, and the session of its commands; `async with` begins and ends both.

    `program`: see `find_program`. `args`: flags of `ostler mcp`. `cwd`, `env`: of the server, and so of its commands, where they say nothing else
    (default: those of this process; variables that look like credentials are not handed on to commands unless `args` say `--env-mode patch`).
    `on_end` is called with each end that no awaited answer was about, `on_progress` while calls wait: plain functions, not `async def`. What they raise
    is logged, and disturbs nobody; KeyboardInterrupt and SystemExit go through.
    """

    def __init__(
        self,
        program: str | os.PathLike[str] | None = None,
        *,
        args: Sequence[str] = (),
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        on_end: Callable[[End], object] | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> None:
        for name, whom in (("on_end", on_end), ("on_progress", on_progress)):
            # Nobody would await what it gives: it would never be called.
            if inspect.iscoroutinefunction(whom) or inspect.iscoroutinefunction(getattr(whom, "__call__", None)):
                raise TypeError(f"{name} is called and not awaited: give a plain function, which may put what it is told into an asyncio.Queue")
        self._given = (program, tuple(args), None if cwd is None else os.fspath(cwd), env)
        self._on_end, self._on_progress = on_end, on_progress
        self._client: Client | None = None
        self._close = asyncio.Event()
        self._entered = False
        # Tasks whose callers are gone, or may be. Here, since the loop itself does not keep them; closing waits for them.
        self._late: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("an Ostler is one session, and is entered once: make another one for another session")
        program, args, cwd, env = self._given
        command = find_program(program)
        self._entered = True
        server = StdioServerParameters(command=command, args=["mcp", *args], cwd=cwd, env=dict(os.environ if env is None else env))
        client = Client(server, client_info=Implementation(name="ostler-client", version=VERSION))
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A task of its own, so that what is raised within `async with` comes out as it is, and any task may leave it.
        self._holds = asyncio.create_task(self._hold(client, opened))
        try:
            await opened
        except BaseException as error:
            self._holds.cancel()
            await asyncio.wait([self._holds])
            self._entered = False
            if not isinstance(error, Exception):
                raise
            # Those who hold it put what went wrong into groups.
            while groups := getattr(error, "exceptions", None):
                error = groups[0]
            raise ConnectionLost(f"{command} mcp could not be started: {error}; it may have said more on stderr") from error
        return self

    async def _hold(self, client: Client, opened: asyncio.Future[None]) -> None:
        try:
            async with client:
                # It checks answers by these, and would ask for them in the middle of the first call.
                await client.list_tools()
                self._client = client
                opened.set_result(None)
                await self._close.wait()
                until = time.monotonic() + CLOSE_S
                while self._late and (left := until - time.monotonic()) > 0:
                    await asyncio.wait(self._late, timeout=left)
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)
        finally:
            self._client = None

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close.set()
        await asyncio.shield(self._holds)

    async def run(self, command: str | Sequence[str], **options: Unpack[Options]) -> State:
        """Runs a line of `/bin/sh`, or a program with its arguments, to its end, however long that takes. A failure raises nothing: see `State.check`.
        Cancelled, it runs on."""
        state = await self._run(command, CALL_MAX_S, options)
        return state if state.status != "running" else await Command(self, state).wait()

    async def start(self, command: str | Sequence[str], *, wait: float = 0.0, **options: Unpack[Options]) -> Command:
        """Starts it, and is back after `wait` seconds at the latest, or when it has ended. `Command.state` says how it stands."""
        return Command(self, await self._run(command, wait, options))

    async def list(self, *, running: bool = False, labels: Mapping[str, str] | None = None, limit: int | None = None) -> Listed:
        """The commands of the session, at most `limit` (30; at most 200)."""
        answer = await self.call("list_commands", {"running": running, "labels": labels, "limit": limit})
        return make(Listed, {**answer, "commands": [make(Row, row) for row in answer["commands"]]})

    async def wait_any(self, timeout: float | None = None) -> tuple[End, ...]:
        """Waits until any command ends that no other answer tells of. Empty: the time was up. `on_end` hears of them too."""
        answer = await self._wait({}, timeout)
        return tuple(answer["ended"])

    def command(self, handle: str) -> Command:
        """A command of this session by its handle, as `End` and `Row` have it. Nothing is asked before its first call."""
        return Command(self, handle)

    async def call(self, tool: str, arguments: Mapping[str, Any], wait: float = 0.0) -> dict[str, Any]:
        """One tool, as docs/agents.md and its schema have it, which may wait for so long; arguments that are None are left out. `ended` has `End`s in
        place of lines, `text` what ostler says. Raises `Refused` and `ConnectionLost`."""
        if self._client is None:
            raise ConnectionLost("the client is not open: use it within `async with Ostler() as ostler`")
        given = {name: value for name, value in arguments.items() if value is not None}
        _check(tool, given)
        # A task of its own: one that is cancelled twice would not get to telling the server that nobody looks at the answer any more, and the ends that
        # the answer tells would be lost.
        asks = asyncio.create_task(self._ask(self._client, tool, given, wait))
        try:
            await asyncio.wait([asks])
        except asyncio.CancelledError:
            asks.cancel()
            self._keep(asks)
            # Its answer may have come nevertheless.
            asks.add_done_callback(self._not_taken)
            raise
        return asks.result()

    async def _ask(self, client: Client, tool: str, given: dict[str, Any], wait: float) -> dict[str, Any]:
        try:
            result = await client.call_tool(tool, given, wait + ANSWER_TIME_S, None if self._on_progress is None else self._progress)
        except MCPError as error:
            if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                raise ConnectionLost(f"{tool}: {error.message}; ostler mcp has ended or hangs, and may have said why on stderr") from error
            raise Refused(tool, error.message, ()) from error
        # Nothing waits from here on: an answer that has come is told.
        texts = [block.text for block in result.content if isinstance(block, TextContent)]
        answer: dict[str, Any] = dict(result.structured_content or {})
        lines = answer.get("ended") or (result.meta or {}).get("ostler/ended", ())
        ends = tuple(End(line.split(" ", 1)[0], line, line.endswith(AGAIN)) for line in lines)
        for end in ends:
            self._tell(self._on_end, end)
        if result.is_error:
            raise Refused(tool, "\n".join(texts), ends)
        return {**answer, "ended": ends, "text": texts[-1]}

    def _not_taken(self, asks: asyncio.Task[dict[str, Any]]) -> None:
        """The answer came, and its caller had gone a moment before: the end that it was about is told as those of others are."""
        if asks.cancelled() or asks.exception() is not None:
            return
        answer = asks.result()
        if answer.get("status", "running") != "running":
            self._tell(self._on_end, End(answer["handle"], f"{answer['text']} {AGAIN}", True))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Of a task whose caller is gone: what it raises is nobody's."""
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _run(self, command: str | Sequence[str], wait: float, options: Options) -> State:
        given: dict[str, Any] = {**options, ("command" if isinstance(command, str) else "argv"): command}
        for name in ("timeout", "idle_timeout"):
            given[f"{name}_ms"] = _ms("run_command", name, given.pop(name, None))
        return make(State, await self.call("run_command", {**given, "yield_ms": _ms("run_command", "wait", wait)}, wait))

    async def _wait(self, arguments: Mapping[str, Any], timeout: float | None) -> dict[str, Any]:
        _ms("wait_command", "timeout", timeout)
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = CALL_MAX_S if until is None else min(max(until - time.monotonic(), 0.0), CALL_MAX_S)
            answer = await self.call("wait_command", {**arguments, "timeout_ms": _ms("wait_command", "timeout", left)}, left)
            if not answer["wait_timed_out"] or (until is not None and time.monotonic() >= until):
                return answer

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        text = message or ""
        self._tell(self._on_progress, Progress(text.split(" ", 1)[0], progress, text))

    def _tell(self, whom: Callable[[Any], object] | None, what: End | Progress) -> None:
        try:
            if whom is not None:
                whom(what)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # A CancelledError too: nothing waits in a listener, so it is not the caller's.
            logging.getLogger("ostler_client").exception("%r was told this, and raised: %r", whom, what)


class Command:
    """A command of a session. It is only a name: dropping it does nothing to what runs."""

    def __init__(self, ostler: Ostler, command: State | str) -> None:
        self._ostler = ostler
        self.handle = command if isinstance(command, str) else command.handle
        self.state = None if isinstance(command, str) else command
        """How it stood at the last answer that was about it; None before the first."""

    async def wait(
        self,
        *,
        pattern: str | None = None,
        pattern_from: int | None = None,
        port: int | None = None,
        silence: float | None = None,
        input: bool = False,
        timeout: float | None = None,
        offset: int | None = None,
    ) -> State:
        """Until it ends, or the first of these holds: a line matches `pattern` (a regular expression, from offset `pattern_from` on), it listens on
        `port`, it is silent for so long, it waits for `input`. `State.condition` says which. At most `timeout` seconds: then `State.wait_timed_out`,
        and it goes on. `offset`: show its output from there on."""
        asked = {"pattern": pattern, "pattern_from": pattern_from, "port": port, "silence_ms": _ms("wait_command", "silence", silence), "input": input, "offset": offset}
        return self._seen(await self._ostler._wait({"handle": self.handle, **asked}, timeout))

    async def read(
        self,
        *,
        offset: int | None = None,
        tail: int | None = None,
        from_line: int | None = None,
        lines: int | None = None,
        find: str | None = None,
        around: int | None = None,
        screen: bool = False,
        stream: Literal["combined", "stdout", "stderr", "kept"] | None = None,
        raw: bool = False,
        max_bytes: int | None = None,
    ) -> Page:
        """Its output from `offset`, the last `tail` lines (200), `lines` from `from_line` (the first is 1) on, those that match `find` with so many
        `around` them, or what its terminal shows. At most 30,000 bytes. Reading takes nothing away."""
        asked = {"offset": offset, "tail": tail, "from_line": from_line, "lines": lines, "find": find, "around": around}
        more = {"screen": screen, "stream": stream, "raw": raw, "max_bytes": max_bytes}
        return make(Page, await self._ostler.call("read_command_output", {"handle": self.handle, **asked, **more}))

    async def write(
        self,
        text: str = "",
        *,
        keys: Sequence[str] = (),
        eof: bool = False,
        rows: int | None = None,
        columns: int | None = None,
        wait: float = 2.0,
    ) -> State:
        """To one that is `interactive` or has a `terminal`: text, then keys by name (`enter`, `ctrl-c`, `up`), then the end of its input, or a new size.
        Answers with what it has written since, once it is silent for a moment, after `wait` seconds at the latest."""
        asked = {"text": text, "keys": list(keys), "eof": eof, "rows": rows, "columns": columns, "yield_ms": _ms("write_stdin", "wait", wait)}
        return self._seen(await self._ostler.call("write_stdin", {"handle": self.handle, **asked}, wait))

    async def cancel(self, *, force: bool = False, signal: str | None = None, wait: float = 10.0) -> State:
        """Stops it with all of its processes: SIGTERM, and SIGKILL after 2 s, or at once by `force`. With `signal` (`SIGINT`, `SIGHUP`, `SIGQUIT`,
        `SIGUSR1`, `SIGUSR2`) it only sends that. One that has ended is no error: its state is answered."""
        asked = {"handle": self.handle, "force": force, "signal": signal, "yield_ms": _ms("cancel_command", "wait", wait)}
        return self._seen(await self._ostler.call("cancel_command", asked, wait))

    def _seen(self, answer: Mapping[str, Any]) -> State:
        self.state = make(State, answer)
        return self.state


def _ms(tool: str, name: str, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not math.isfinite(ms := seconds * 1000):
        raise Refused(tool, f"{name}: {seconds!r} is no time; give seconds, or leave it out (None) for the default", ())
    return max(0, round(ms))


def _check(tool: str, given: Mapping[str, Any]) -> None:
    """Refuses what would end the connection, as it cannot be written, or would never be answered, as it cannot be read."""
    for name, value in _within("", given):
        if isinstance(value, float) and not math.isfinite(value):
            raise Refused(tool, f"{name}: {value!r} is no number that a message can have", ())
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                what = "has a lone surrogate, as Python makes it of a file's name that is no UTF-8, and a message is UTF-8"
                do = """rename the file, or have a shell name it by its bytes: cat "$(printf 'caf\\351')" or cat caf?"""
                raise Refused(tool, f"{name}: {value[:200]!a} {what}; {do}", ()) from None
    try:
        size = len(to_json(given))
    except PydanticSerializationError as error:
        raise Refused(tool, f"the arguments cannot be written as JSON: {error}", ()) from error
    if size > ARGUMENTS_MAX_BYTES:
        name = max(given, key=lambda name: len(to_json(given[name])))
        says = f"the arguments are {size} bytes as JSON, most of them {name}, and a call takes at most {ARGUMENTS_MAX_BYTES}"
        raise Refused(tool, f"{says}; write it to a file and let the command read that, or write to it in pieces", ())


def _within(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What stands in an argument, each with where it stands."""
    yield name, value
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield f"a name in {name}", key
            yield from _within(f"{name}.{key}" if name else str(key), one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for at, one in enumerate(value):
            yield from _within(f"{name}[{at}]", one)


def find_program(program: str | os.PathLike[str] | None = None) -> str:
    """The program: as given, `$OSTLER`, of the package `ostler`, in `$PATH`, in this order. Raises `NotInstalled`."""
    for name, given in (("program", program), ("$OSTLER", os.environ.get("OSTLER"))):
        if given:
            if found := shutil.which(os.fspath(given)):
                return found
            raise NotInstalled(f"{name}: {os.fspath(given)!r} is no program that can be run; name ostler's own, or leave it out")
    try:
        files = metadata.files("ostler") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        # Scripts stand outside of the packages: where, the installer has written down.
        if file.name == "ostler" and (path := shutil.which(str(file.locate()))):
            return path
    if found := shutil.which("ostler"):
        return found
    raise NotInstalled("there is no program ostler, neither by $OSTLER, nor as the package ostler, nor in $PATH: pip install ostler")
