"""What every Python client of the protocol has to see of `ostler mcp`.

A client is given as `connect(args)`: an asynchronous context manager that gives an object with `call`, `tools`, `refused`, `cancelled_call`,
`server_name` and `version`. Nothing here sleeps to wait for something: commands wait on a fifo until they may go on.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time

OSTLER = os.environ["OSTLER"]
FLOOD_BYTES = 100_000_000
CALLS = 100
# Far more than anything here takes, on a machine with all cores busy.
LONG_S = 90


class Place:
    """Files of one check, and how a server is started on them."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(dir=os.environ["PLACE"])

    def path(self, name):
        return os.path.join(self.dir, name)

    def command(self, *args):
        """Program, arguments, environment, directory."""
        return (
            OSTLER,
            ["mcp", "--artifacts", self.path("artifacts"), *args],
            {"XDG_STATE_HOME": self.path("state"), "HOME": self.dir},
            self.dir,
        )


class Fifo:
    """What a command waits on: it reads a line, and each line lets one go on. Open for both, so that nobody's opening waits."""

    def __init__(self, place, name="go"):
        os.mkfifo(place.path(name))
        self.file = os.open(place.path(name), os.O_RDWR)

    def go(self, lines=1):
        os.write(self.file, b"\n" * lines)


class Said:
    """What a tool has answered."""

    def __init__(self, result):
        self.error = bool(result.get("isError"))
        self.text = "\n---\n".join(block["text"] for block in result["content"])
        self.fields = result.get("structuredContent") or {}

    def __getitem__(self, name):
        assert not self.error, self.text
        return self.fields[name]


def equal(seen, wanted):
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


async def start(client, line, **more):
    said = await client.call("run_command", {"command": line, "yield_ms": 0, **more})
    equal(said["status"], "running")
    return said["handle"]


async def names_itself_and_its_tools(connect, version):
    async with connect(Place()) as client:
        equal((client.server_name, client.version), ("ostler", version))
        tools = {tool["name"]: tool for tool in await client.tools()}
        equal(
            sorted(tools),
            ["cancel_command", "list_commands", "read_command_output", "run_command", "wait_command", "write_stdin"],
        )
        for name, tool in tools.items():
            reads = name in ("list_commands", "read_command_output", "wait_command")
            hints = tool["annotations"]
            equal((hints["readOnlyHint"], hints["destructiveHint"]), (reads, not reads))
            assert hints["title"] and tool["description"], name
            for schema in (tool["inputSchema"], tool["outputSchema"]):
                equal(schema["type"], "object")
                assert schema["properties"], name
                assert '"format"' not in json.dumps(schema), name


async def each_tool_once(connect):
    async with connect(Place()) as client:
        failed = await client.call("run_command", {"command": "echo out; echo err >&2; exit 3"})
        equal((failed["exit_code"], failed["success"], failed["status"]), (3, False, "completed"))
        # Two pipes: which of them is seen first is not said.
        assert failed["output"] in ("out\nerr\n", "err\nout\n") and failed.text.startswith(failed["output"]), failed.text
        handle = await start(client, "cat", interactive=True)
        equal((await client.call("write_stdin", {"handle": handle, "text": "hello\n"}))["output"], "hello\n")
        waited = await client.call("wait_command", {"handle": handle, "pattern": "hel(lo)"})
        equal(waited["condition"]["groups"], ["hello", "lo"])
        read = await client.call("read_command_output", {"handle": handle, "offset": 1})
        equal((read["output"], read["next_offset"]), ("ello\n", 6))
        rows = (await client.call("list_commands", {}))["commands"]
        equal([row["status"] for row in rows], ["running", "completed"])
        stopped = await client.call("cancel_command", {"handle": handle})
        equal((stopped["status"], stopped["stop_cause"], stopped["ended"]), ("killed", "cancelled", []))
        equal((await client.call("list_commands", {}))["ended"], [])


async def an_end_is_told_once(connect):
    place = Place()
    fifo = Fifo(place)
    async with connect(place) as client:
        handle = await start(client, "read x < go")
        fifo.go()
        told = await client.call("wait_command", {})
        equal([line.split()[0] for line in told["ended"]], [handle])
        assert "ended: succeeded" in told["ended"][0] and told["ended"][0] in told.text, told.text
        for tool in ("list_commands", "wait_command"):
            equal((await client.call(tool, {"timeout_ms": 1} if tool == "wait_command" else {}))["ended"], [])


async def what_is_wrong_is_told(connect):
    async with connect(Place()) as client:
        for tool, arguments, says in (
            ("run_command", {}, "command: it is missing"),
            ("run_command", {"command": "true", "yield_ms": "soon"}, "yield_ms"),
            ("run_command", {"comand": "true"}, "comand"),
            ("wait_command", {"handle": "hto-1-1"}, "unknown handle"),
            ("read_command_output", {}, "handle"),
            ("write_stdin", {"handle": "nobody", "text": "x"}, "unknown handle"),
            ("cancel_command", {"handle": "nobody", "signal": "SIGWHAT"}, "SIGINT"),
            ("list_commands", {"labels": 5}, "labels"),
        ):
            said = await client.call(tool, arguments)
            assert said.error and says in said.text, f"{tool} {arguments}: {said.text}"
        equal((await client.refused("format_disk", {}))["code"], -32602)
        equal((await client.call("run_command", {"argv": ["echo", "works"]}))["output"], "works\n")


async def a_cancelled_call_stops_waiting_and_its_command_goes_on(connect):
    place = Place()
    fifo = Fifo(place)
    async with connect(place) as client:
        async with client.cancelled_call("run_command", {"command": "read x < go", "yield_ms": 600_000}):
            rows = []
            while not rows:
                rows = (await client.call("list_commands", {}))["commands"]
        row = (await client.call("list_commands", {}))["commands"][0]
        equal((row["handle"], row["status"]), (rows[0]["handle"], "running"))
        fifo.go()
        told = await client.call("wait_command", {})
        equal([line.split()[0] for line in told["ended"]], [row["handle"]])
        equal((await client.call("list_commands", {}))["ended"], [])


async def a_flood_is_counted_and_cut(connect):
    place = Place()
    async with connect(place) as client:
        line = f"yes 'a line of the flood' | head -c {FLOOD_BYTES}; echo; echo last"
        said = await client.call("run_command", {"command": line, "yield_ms": LONG_S * 1000})
        equal((said["status"], said["total_bytes"]), ("completed", FLOOD_BYTES + 6))
        assert len(said["output"]) < 31_000 and said["output"].endswith("\nlast\n")
        assert FLOOD_BYTES - 31_000 < said["omitted_bytes"] < FLOOD_BYTES
        middle = {"handle": said["handle"], "offset": FLOOD_BYTES // 2, "max_bytes": 1000}
        equal(len((await client.call("read_command_output", middle))["output"]), 1000)
    shutil.rmtree(place.dir)


async def calls_run_at_the_same_time(connect):
    place = Place()
    fifo = Fifo(place)
    async with connect(place) as client:
        run = lambda n: client.call(
            "run_command", {"command": f"read x < go; echo {n}", "yield_ms": LONG_S * 1000, "labels": {"n": str(n)}}
        )
        calls = [asyncio.create_task(run(n)) for n in range(CALLS)]
        running = 0
        # All of them stand before the fifo before one may go on.
        while running < CALLS:
            running = len((await client.call("list_commands", {"running": True, "limit": 200}))["commands"])
        fifo.go(CALLS)
        said = await asyncio.gather(*calls)
        equal([one["output"] for one in said], [f"{n}\n" for n in range(CALLS)])
        equal([one["ended"] for one in said], [[]] * CALLS)


async def a_call_that_is_slow_says_so(connect):
    place = Place()
    fifo = Fifo(place)
    heard = []

    async def progress(progress, total, message):
        heard.append((progress, message))
        fifo.go()

    async with connect(place) as client:
        asked = {"command": "echo begun; read x < go", "yield_ms": LONG_S * 1000}
        said = await client.call("run_command", asked, progress)
        equal(said["status"], "completed")
        assert heard and heard[0][0] >= 4 and "6 bytes of output" in heard[0][1], heard


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return ") Z" not in stat.read()
    except OSError:
        return False


async def victim(connect, place):
    """The client that is killed: says which processes it has started, and waits for what never comes."""
    async with connect(place, "--session", "mine") as client:
        handle = await start(client, "sleep 1000 & echo $$ $!; wait")
        said = await client.call("wait_command", {"handle": handle, "pattern": r"\d+ \d+"})
        print(handle, said["condition"]["line"], flush=True)
        await client.call("wait_command", {"handle": handle, "timeout_ms": LONG_S * 1000})


async def a_client_that_is_killed_leaves_nothing_and_can_come_back(connect, mode):
    place = Place()
    process = await asyncio.create_subprocess_exec(
        sys.executable, sys.argv[0], mode, "victim", place.dir, stdout=asyncio.subprocess.PIPE
    )
    handle, *pids = (await process.stdout.readline()).decode().split()
    equal((len(pids), all(map(lives, pids))), (2, True))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    until = time.monotonic() + LONG_S
    while any(map(lives, pids)):
        assert time.monotonic() < until, f"{pids} live"
        await asyncio.sleep(0.005)
    # The session may be open for a moment: its server ends it after its trees.
    said = None
    while said is None or said.error and "is open in another host" in said.text:
        async with connect(place, "--session", "mine") as client:
            said = await client.call("list_commands", {})
            if not said.error:
                equal([line.split()[0] for line in said["ended"]], [handle])
                equal((await client.call("list_commands", {}))["ended"], [])
                await start(client, "sleep 1000")
        assert time.monotonic() < until, said.text
    # It went without its end being told: a client that only closes.
    async with connect(place, "--session", "mine") as client:
        said = await client.call("list_commands", {})
        equal(len(said["ended"]), 1)
        assert "its session ended" in said["ended"][0], said.text


async def all_of(connect, mode, version, more=()):
    """Every check; those that only wait run beside the others."""
    if sys.argv[2:3] == ["victim"]:
        place = Place.__new__(Place)
        place.dir = sys.argv[3]
        return await victim(connect, place)
    waits = [asyncio.create_task(check) for check in (a_call_that_is_slow_says_so(connect), *(check(connect) for check in more))]
    for check in (
        names_itself_and_its_tools(connect, version),
        each_tool_once(connect),
        an_end_is_told_once(connect),
        what_is_wrong_is_told(connect),
        a_cancelled_call_stops_waiting_and_its_command_goes_on(connect),
        a_flood_is_counted_and_cut(connect),
        calls_run_at_the_same_time(connect),
        a_client_that_is_killed_leaves_nothing_and_can_come_back(connect, mode),
    ):
        begun = time.monotonic()
        await check
        print(f"{mode} {check.__name__}: {time.monotonic() - begun:.2f} s", flush=True)
    await asyncio.gather(*waits)
    print(f"{mode} all", flush=True)
