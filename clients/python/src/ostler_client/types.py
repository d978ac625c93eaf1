"""What a client answers and raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, TypeVar


class OstlerError(Exception):
    """Whatever goes wrong here."""


class NotInstalled(OstlerError):
    """There is no program `ostler`; the text says where it was looked for and what to install."""


class ConnectionLost(OstlerError):
    """`ostler mcp` has ended, or does not answer. It says why on stderr. The commands of its session have ended with it."""


class Refused(OstlerError):
    """A call did not work, in ostler's words: what is wrong, and what to do. `ended` has the ends that this answer told. So is a call that cannot be sent."""

    def __init__(self, tool: str, text: str, ended: tuple[End, ...]) -> None:
        super().__init__(text)
        self.tool, self.ended = tool, ended


class CommandFailed(OstlerError):
    """Raised by `State.check`: the command did not succeed. `state` says how it ended, the text too."""

    def __init__(self, state: State) -> None:
        super().__init__(f"{state.text}\n{state.output}".strip())
        self.state = state


@dataclass(frozen=True)
class End:
    """A command has ended, and nobody waited for it. `again`: it may have been told before."""

    handle: str
    text: str
    again: bool


@dataclass(frozen=True)
class Progress:
    """A call still waits: told every 5 s, whatever the command writes."""

    handle: str
    seconds: float
    text: str


class Options(TypedDict, total=False):
    """Of a command that is started."""

    cwd: str
    env: Mapping[str, str]
    """Variables to set."""
    timeout: float
    """Stop it after so many seconds. Default: never."""
    idle_timeout: float
    """Stop it when it has written nothing for so many seconds. Default: never."""
    stdin: str
    """Its input, which then ends. Default: none."""
    interactive: bool
    """Keep its input open for `Command.write`."""
    terminal: bool
    """Run it in a terminal of `rows` (24) and `columns` (80)."""
    rows: int
    columns: int
    separate_stderr: bool
    """Record standard error apart, for `Command.read` with `stream`."""
    labels: Mapping[str, str]
    """Names and values of your own, at most 16."""
    launch_key: str
    """The same key again gives the command that was started with it, and starts nothing."""


@dataclass(frozen=True)
class Condition:
    """What a wait has seen: a line that matches (`groups`: the whole match first), a port, silence, a prompt."""

    which: Literal["pattern", "port", "silence", "input"]
    line: str | None
    groups: tuple[str | None, ...]
    offset: int | None
    port: int | None


@dataclass(frozen=True)
class State:
    """How a command stands, with its output: at most 30,000 bytes, of a longer one the beginning and the end."""

    handle: str
    command: str
    status: Literal["running", "completed", "killed", "timed_out", "lost"]
    success: bool | None
    """Whether it ended by itself with exit code 0. None while it runs."""
    exit_code: int | None
    """-1 if it died of a signal or that is not known. None while it runs."""
    signal: str | None
    stop_cause: str | None
    """cancelled, session_ended, deadline, idle, output_limit, host_gone, crashed or lease_lost; None if nobody stopped it."""
    duration: float | None
    """From its start to its end. None while it runs."""
    silence: float | None
    """Since its last output. None when it has ended."""
    output: str
    omitted_bytes: int
    """Left out in the middle of `output`; `Command.read` has them."""
    next_offset: int
    """Where `Command.read` and `Command.wait` go on."""
    total_bytes: int
    output_path: str
    leftovers: tuple[str, ...] | None
    env_withheld: tuple[str, ...]
    artifact_error: str | None
    condition: Condition | None
    wait_timed_out: bool
    ended: tuple[End, ...]
    """Ends of other commands that no answer has told before; `on_end` has had them."""
    text: str
    """What ostler says of it to a model, without the output."""

    def check(self) -> State:
        """Itself, if it has succeeded or still runs. Raises `CommandFailed` otherwise."""
        if self.success is False:
            raise CommandFailed(self)
        return self


@dataclass(frozen=True)
class Page:
    """A piece of a command's output, from `offset` to `next_offset`."""

    handle: str
    status: str
    output: str
    offset: int
    next_offset: int
    total_bytes: int
    omitted_bytes: int
    eof: bool
    """Nothing follows, now or later."""
    first_line: int | None
    matches: int | None
    missing_bytes: int
    cursor: tuple[int, int] | None
    ended: tuple[End, ...]
    text: str


@dataclass(frozen=True)
class Row:
    """A command in a list. `age`: since its start; of one that has ended, how long it ran."""

    handle: str
    command: str
    status: str
    success: bool | None
    exit_code: int | None
    age: float | None
    silence: float | None
    kept: int
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Listed:
    """Those that run first, and of each kind the newest first; `more` were left out."""

    commands: tuple[Row, ...]
    more: int
    ended: tuple[End, ...]


Made = TypeVar("Made")


def make(kind: type[Made], answer: Mapping[str, Any]) -> Made:
    """A dataclass of what a tool has answered: times in seconds, lists as tuples, fields that it does not know left out."""
    given: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        value = answer.get(field.name)
        if value is None and (ms := answer.get(f"{field.name}_ms")) is not None:
            value = ms / 1000
        given[field.name] = tuple(value) if isinstance(value, list) else value
    if given.get("condition") is not None:
        given["condition"] = make(Condition, given["condition"])
    return kind(**given)
