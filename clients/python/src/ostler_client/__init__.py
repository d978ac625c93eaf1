"""Long-running commands of AI agents, by the program `ostler`: started, waited for, read, written to, stopped; never lost, never left behind.

    async with Ostler(on_end=print) as ostler:
        build = await ostler.start("cargo build --release")     # there at once; it runs on
        ended = await build.wait()

A client starts `ostler mcp` and speaks with it. Its commands are one session:

* An await that is cancelled (or timed out by `asyncio.timeout`) stops waiting and nothing else. The command runs on, `list` shows it, only `cancel` ends it.
* When the client is closed, at the end of `async with`, the session ends, and every process of its commands with it. So it does when the
  interpreter dies, by SIGKILL too. With `args=["--session", "NAME", "--keep-for", "10m"]` they live on for so long, for a later client.
* An end that no answer of yours was about is told once: by `on_end`, and by `ended` of whichever answer comes next.

All times are in seconds, all offsets and sizes in bytes. A client belongs to one asyncio loop; any task of it can make calls.
"""

from ostler_client.client import Command, Ostler, find_program
from ostler_client.types import (
    CommandFailed,
    Condition,
    ConnectionLost,
    End,
    Listed,
    NotInstalled,
    Options,
    OstlerError,
    Page,
    Progress,
    Refused,
    Row,
    State,
)

__all__ = [
    "Command", "CommandFailed", "Condition", "ConnectionLost", "End", "Listed", "NotInstalled", "Options", "Ostler", "OstlerError", "Page",
    "Progress", "Refused", "Row", "State", "find_program",
]
