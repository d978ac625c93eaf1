"""What ostler's own client in Python promises, on real commands. Run with `victim DIR` it is the interpreter that is killed."""

import asyncio
import logging
import math
import os
import random
import resource
import signal
import stat
import sys
import time

from checks import CALLS, FLOOD_BYTES, LONG_S, Fifo, Place, equal, lives
from ostler_client import CommandFailed, ConnectionLost, NotInstalled, Ostler, Refused, find_program
from ostler_client.client import ARGUMENTS_MAX_BYTES


def client(place, *args, **more):
    program, [_, *given], env, cwd = place.command(*args)
    return Ostler(program, args=given, cwd=cwd, env={**os.environ, **env}, **more)


async def the_end_of_a_build_is_told_by_the_next_answer_once():
    place = Place()
    fifo, ends = Fifo(place), []
    async with client(place, on_end=ends.append) as ostler:
        build = await ostler.start("read x < go; echo built; exit 3")
        equal((build.state.status, ends), ("running", []))
        fifo.go()
        carried = []
        while not ends:
            # Errors carry it too.
            try:
                await ostler.command("nobody").read()
            except Refused as refused:
                assert "unknown handle nobody" in str(refused) and refused.tool == "read_command_output", refused
                carried += refused.ended
        equal(([end.handle for end in ends], carried, ends[0].again), ([build.handle], ends, False))
        equal((await ostler.list()).ended, ())
        ended = await build.wait()
        equal((ended.exit_code, ended.output, ended.ended), (3, "built\n", ()))
        try:
            ended.check()
            raise AssertionError("it failed")
        except CommandFailed as failed:
            assert failed.state is ended and "with exit code 3" in str(failed) and "built" in str(failed), failed
        # An end that somebody waits for is told by that answer alone.
        assert (await ostler.run("true")).success
        equal((await ostler.wait_any(0.001), len(ends)), ((), 1))


async def a_flood_leaves_the_client_as_small_as_it_was():
    place = Place()
    async with client(place) as ostler:
        await ostler.run("true")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        state = await ostler.run(f"yes 'a line of the flood' | head -c {FLOOD_BYTES}; echo; echo last")
        equal((state.success, state.total_bytes), (True, FLOOD_BYTES + 6))
        assert len(state.output) < 31_000 and state.output.endswith("\nlast\n") and state.omitted_bytes > FLOOD_BYTES - 31_000
        page = await ostler.command(state.handle).read(offset=FLOOD_BYTES // 2, max_bytes=1000)
        equal((len(page.output), page.offset, page.next_offset), (1000, FLOOD_BYTES // 2, FLOOD_BYTES // 2 + 1000))
        # In KiB: nothing of a hundred megabytes.
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 10_000, grown


async def a_hundred_at_a_time():
    place = Place()
    fifo = Fifo(place)
    async with client(place) as ostler:
        runs = [asyncio.create_task(ostler.run(f"read x < go; echo {n}", labels={"n": str(n)})) for n in range(CALLS)]
        while len((await ostler.list(running=True, limit=200)).commands) < CALLS:
            pass
        equal([row.handle for row in (await ostler.list(labels={"n": "7"})).commands].__len__(), 1)
        fifo.go(CALLS)
        equal([state.output for state in await asyncio.gather(*runs)], [f"{n}\n" for n in range(CALLS)])


async def a_cancelled_await_ends_nothing():
    place = Place()
    fifo, ends = Fifo(place), []
    async with client(place, on_end=ends.append) as ostler:
        command = await ostler.start("read x < go")
        try:
            async with asyncio.timeout(0.05):
                await command.wait()
            raise AssertionError("it waits")
        except TimeoutError:
            pass
        run = asyncio.create_task(ostler.run("read x < go; echo ran"))
        while len(rows := (await ostler.list(running=True)).commands) < 2:
            pass
        run.cancel()
        await asyncio.wait([run])
        equal((run.cancelled(), [row.status for row in rows], ends), (True, ["running"] * 2, []))
        fifo.go(2)
        while len(ends) < 2:
            await ostler.wait_any(LONG_S)
        equal({end.handle for end in ends}, {row.handle for row in rows})


async def no_end_is_lost_whenever_awaits_are_cancelled():
    """Cancelled while its answer is on its way, too: what it has told is told again, and says so."""
    ends, rounds, seed = [], 300, int(os.environ.get("OSTLER_TESTS_SEED", "1"))
    chance = random.Random(seed)
    async with client(Place(), on_end=ends.append) as ostler:
        untold = set()
        for _ in range(rounds):
            started = await ostler.start(["true"])
            if started.state.status == "running":
                untold.add(started.handle)
            # An answer is there within a millisecond or so: some are cancelled before it, some while it comes, some after.
            until = time.monotonic() + chance.random() * 0.003
            waits = asyncio.create_task(ostler.wait_any(LONG_S) if len(untold) > len(ends) else ostler.list())
            while time.monotonic() < until and not waits.done():
                await asyncio.sleep(0)
            waits.cancel()
            await asyncio.wait([waits])
        while missing := untold - {end.handle for end in ends}:
            assert await ostler.wait_any(10), (seed, missing)
        first = [end.handle for end in ends if not end.again]
        assert len(first) == len(set(first)), seed


async def no_end_is_lost_when_a_call_is_cancelled_twice():
    """`asyncio.timeout` within a group of tasks that is cancelled does that, and anyio's scopes."""
    place, ends, rounds = Place(), [], 12
    fifo = Fifo(place)
    async with client(place, on_end=ends.append) as ostler:
        handles, taken = set(), set()
        for steps in range(rounds):
            handles |= {(await ostler.start("read x < go")).handle for _ in range(3)}
            fifo.go(3)
            run = asyncio.create_task(ostler.run(f"> began{steps}; sleep 0.05", labels={"run": str(steps)}))
            while not os.path.exists(place.path(f"began{steps}")):
                await asyncio.sleep(0.001)
            # The loop is busy: the answer, which tells of three others, is in the pipe by now. So many steps later it has got so far.
            time.sleep(0.1)
            for _ in range(steps):
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.sleep(0)
            run.cancel()
            await asyncio.wait([run])
            if not run.cancelled():
                taken.add(run.result().handle)
            handles |= {row.handle for row in (await ostler.list(labels={"run": str(steps)})).commands}
        equal(len(handles), rounds * 4)
        while missing := handles - taken - {end.handle for end in ends}:
            assert await ostler.wait_any(10), (missing, ends)
        first = [end.handle for end in ends if not end.again]
        assert len(first) == len(set(first)) and not taken & set(first), ends


async def what_cannot_be_sent_is_refused_and_nobody_else_hears_of_it():
    async def refused(call, *says):
        try:
            async with asyncio.timeout(LONG_S):
                await call
            raise AssertionError(says)
        except Refused as error:
            assert all(one in str(error) for one in says), error

    place = Place()
    fifo = Fifo(place)
    async with client(place) as ostler:
        command = await ostler.start("read x < go; echo went", interactive=True)
        waits = asyncio.create_task(command.wait())
        odd = os.fsdecode(b"\xff.txt")
        await refused(ostler.run(["ls", odd]), "argv[1]: ", "rename")
        await refused(ostler.run("true", env={"NAME": odd}), "env.NAME: ")
        await refused(ostler.run("true", labels={odd: "x"}), "a name in labels: ")
        await refused(command.write(odd), "text: ")
        await refused(ostler.run("true", env={"NAME": object()}), "cannot be written")
        # Counted as it is written: a line end takes two bytes.
        for stdin in ("y" * ARGUMENTS_MAX_BYTES, "\n" * (ARGUMENTS_MAX_BYTES // 2)):
            await refused(ostler.run("cat", stdin=stdin), "stdin", str(ARGUMENTS_MAX_BYTES))
        # A little less is read, and the server refuses it in its own words.
        await refused(ostler.run("cat", stdin="y" * (ARGUMENTS_MAX_BYTES - 100)), "stdin.bytes", "over the limit")
        for bad in (math.nan, math.inf, -math.inf, 1e308):
            await refused(ostler.run("true", timeout=bad), "timeout: ")
            await refused(ostler.run("true", idle_timeout=bad), "idle_timeout: ")
            await refused(ostler.start("true", wait=bad), "wait: ")
            await refused(ostler.wait_any(bad), "timeout: ")
            await refused(command.wait(silence=bad), "silence: ")
            await refused(command.write("x", wait=bad), "wait: ")
            await refused(command.cancel(wait=bad), "wait: ")
        await refused(ostler.start("true", terminal=True, rows=math.nan), "rows: ")
        equal([row.handle for row in (await ostler.list(running=True)).commands], [command.handle])
        fifo.go()
        equal((await waits).output, "went\n")


async def listeners_disturb_nobody():
    async def later(_):
        pass

    class Later:
        async def __call__(self, _):
            pass

    for listener in (later, Later()):
        for name in ("on_end", "on_progress"):
            try:
                Ostler(**{name: listener})
                raise AssertionError("nobody awaits it")
            except TypeError as error:
                assert name in str(error), error
    place, told = Place(), []
    fifo = Fifo(place)

    async def three_end(ostler):
        for _ in range(3):
            await ostler.start("read x < go")
        fifo.go(3)
        while len(told) < 3:
            await ostler.wait_any(10)

    def raises(error):
        def on_end(end):
            told.append(end.handle)
            raise error

        return on_end

    logged, log = [], logging.getLogger("ostler_client")
    log.propagate = False
    log.addHandler(handler := logging.Handler())
    handler.emit = logged.append
    async with client(place, on_end=raises(asyncio.CancelledError())) as ostler:
        await three_end(ostler)
    log.removeHandler(handler)
    equal(len(logged), 3)
    equal(len(set(told)), 3)
    # These are not the listener's own: they end the program, as they do anywhere.
    for error in (SystemExit(3), KeyboardInterrupt()):
        told.clear()

        async def ends_all():
            async with client(place, on_end=raises(error)) as ostler:
                await three_end(ostler)

        try:
            # In a thread, as it ends the loop that it comes through.
            await asyncio.to_thread(run_loop, ends_all)
            raise AssertionError("it goes through")
        except Ended as ended:
            equal(ended.args, (error,))
    ostler = client(place)
    async with ostler:
        await twice(ostler)
        assert (await ostler.run("true")).success
    await twice(ostler)
    # One that could not be started may be tried again.
    failed = Ostler("/bin/true")
    for _ in range(2):
        try:
            async with failed:
                raise AssertionError("true is no server")
        except ConnectionLost:
            pass


class Ended(Exception):
    pass


def run_loop(main):
    try:
        asyncio.run(main())
    except (SystemExit, KeyboardInterrupt) as error:
        raise Ended(error) from error


async def twice(ostler):
    try:
        async with ostler:
            raise AssertionError("it was entered before")
    except RuntimeError as error:
        assert "entered once" in str(error), error


async def a_prompt_is_answered():
    async with client(Place()) as ostler:
        line = "printf 'go on? '; read x; echo \"said $x\"; cat"
        setup = await ostler.start(line, interactive=True)
        asks = await setup.wait(input=True, timeout=LONG_S)
        equal((asks.condition.which, asks.output), ("input", "go on? "))
        equal((await setup.write("yes\n", wait=LONG_S)).output, "said yes\n")
        # It answers at the first pause, which may come before the end.
        equal((await setup.write("bye\n", eof=True, wait=LONG_S)).output, "bye\n")
        equal((await setup.wait(timeout=LONG_S)).status, "completed")
        shell = await ostler.start(["sh"], terminal=True, rows=10, columns=60)
        # What is typed before its prompt is there is echoed before it, and the size then stands behind the prompt.
        await shell.wait(input=True, timeout=LONG_S)
        await shell.write("stty size", keys=["enter"], wait=LONG_S)
        seen = await shell.wait(pattern=r"^(\d+) (\d+)\s*$", timeout=LONG_S)
        equal(seen.condition.groups[1:], ("10", "60"))
        equal((await shell.read(screen=True)).cursor is None, False)
        await shell.write(keys=["ctrl-d"])
        equal((await shell.wait(timeout=LONG_S)).status, "completed")


async def times_and_conditions():
    async with client(Place(), on_progress=(heard := []).append) as ostler:
        late = await ostler.run("echo begun; sleep 1000", timeout=0.2)
        equal((late.status, late.stop_cause, late.success, late.output), ("timed_out", "deadline", False, "begun\n"))
        idle = await ostler.run(["sleep", "1000"], idle_timeout=0.2)
        equal((idle.status, idle.stop_cause), ("timed_out", "idle"))
        server = await ostler.start([sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
        seen = await server.wait(pattern=r"port (\d+)", timeout=LONG_S)
        port = int(seen.condition.groups[1])
        equal((await server.wait(port=port, timeout=LONG_S)).condition.port, port)
        equal((await server.wait(silence=0.05, timeout=LONG_S)).condition.which, "silence")
        not_yet = await server.wait(timeout=0.05)
        equal((not_yet.wait_timed_out, not_yet.status, server.state), (True, "running", not_yet))
        waits = asyncio.create_task(server.wait())
        while not heard:
            await asyncio.sleep(0.01)
        assert heard[0].handle == server.handle and heard[0].seconds >= 4 and "runs for" in heard[0].text, heard
        equal((await server.cancel()).stop_cause, "cancelled")
        equal((await waits).status, "killed")
        equal((await server.cancel()).status, "killed")


async def what_is_wrong_says_what_to_do():
    place = Place()
    for program, says in ((place.path("none"), "is no program that can be run"), (place.dir, "is no program that can be run")):
        try:
            async with Ostler(program):
                raise AssertionError(program)
        except NotInstalled as error:
            assert says in str(error), error
    before = dict(os.environ)
    try:
        os.environ["OSTLER"] = place.path("none")
        try:
            find_program()
        except NotInstalled as error:
            assert str(error).startswith("$OSTLER: "), error
        del os.environ["OSTLER"]
        os.environ["PATH"] = place.dir
        try:
            find_program()
        except NotInstalled as error:
            assert "pip install ostler" in str(error), error
        with open(place.path("ostler"), "w") as file:
            file.write("#!/bin/sh\n")
        os.chmod(place.path("ostler"), stat.S_IRWXU)
        equal(find_program(), place.path("ostler"))
    finally:
        os.environ.update(before)
    try:
        async with Ostler("/bin/true"):
            raise AssertionError("true is no server")
    except ConnectionLost as error:
        assert "/bin/true mcp could not be started" in str(error), error
    ostler = client(place)
    for when in ("before", "after"):
        try:
            await ostler.list()
            raise AssertionError(when)
        except ConnectionLost as error:
            assert "not open" in str(error), error
        if when == "before":
            async with ostler:
                # Raised within it, an error comes out as it is.
                try:
                    await ostler.run("true", timeout=0)
                    raise AssertionError("no time")
                except Refused as error:
                    assert "timeout" in str(error), error
            ostler = client(place)
            async with ostler:
                pass
    # A listener that raises disturbs nobody, and is not silent.
    logged, log = [], logging.getLogger("ostler_client")
    log.propagate = False
    log.addHandler(handler := logging.Handler())
    handler.emit = logged.append
    async with client(place, on_end=lambda end: 1 / 0) as ostler:
        fifo = Fifo(place)
        await ostler.start("read x < go")
        fifo.go()
        equal(len(await ostler.wait_any(LONG_S)), 1)
    equal([record.exc_info[0] for record in logged], [ZeroDivisionError])


async def a_server_that_dies_is_told_to_all_who_wait():
    async with client(Place()) as ostler:
        command = await ostler.start("echo $PPID; sleep 1000")
        run = asyncio.create_task(ostler.run("sleep 1000"))
        while len((await ostler.list(running=True)).commands) < 2:
            pass
        servers = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_my_server(pid)]
        equal(len(servers), 1)
        os.kill(servers[0], signal.SIGKILL)
        for call in (run, command.wait(), ostler.list()):
            try:
                await call
                raise AssertionError("it is gone")
            except ConnectionLost as error:
                assert "ostler mcp has ended" in str(error), error


def is_my_server(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as line:
            return int(stat.read().rsplit(")", 1)[1].split()[1]) == os.getpid() and "\0mcp\0" in line.read()
    except OSError:
        return False


async def victim(place):
    async with client(place) as ostler:
        command = await ostler.start("trap '' TERM; setsid sleep 1000 & echo $$ $!; wait")
        print((await command.wait(pattern=r"\d+ \d+")).condition.line, flush=True)
        await command.wait()


async def nothing_lives_when_the_interpreter_is_killed_or_the_client_closed():
    place = Place()
    process = await asyncio.create_subprocess_exec(sys.executable, sys.argv[0], "victim", place.dir, stdout=asyncio.subprocess.PIPE)
    pids = (await process.stdout.readline()).decode().split()
    equal((len(pids), all(map(lives, pids))), (2, True))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await gone(pids)
    async with client(place) as ostler:
        command = await ostler.start("trap '' TERM; setsid sleep 1000 & echo $$ $!; wait")
        pids = (await command.wait(pattern=r"\d+ \d+")).condition.line.split()
    await gone(pids)


async def gone(pids):
    until = time.monotonic() + LONG_S
    while any(map(lives, pids)):
        assert time.monotonic() < until, f"{pids} live"
        await asyncio.sleep(0.005)


async def main():
    if sys.argv[1] == "victim":
        place = Place.__new__(Place)
        place.dir = sys.argv[2]
        return await victim(place)
    waits = asyncio.create_task(times_and_conditions())
    for check in (
        a_flood_leaves_the_client_as_small_as_it_was,
        the_end_of_a_build_is_told_by_the_next_answer_once,
        a_hundred_at_a_time,
        a_cancelled_await_ends_nothing,
        no_end_is_lost_whenever_awaits_are_cancelled,
        no_end_is_lost_when_a_call_is_cancelled_twice,
        what_cannot_be_sent_is_refused_and_nobody_else_hears_of_it,
        listeners_disturb_nobody,
        a_prompt_is_answered,
        what_is_wrong_says_what_to_do,
        nothing_lives_when_the_interpreter_is_killed_or_the_client_closed,
    ):
        begun = time.monotonic()
        await check()
        print(f"{sys.argv[1]} {check.__name__}: {time.monotonic() - begun:.2f} s", flush=True)
    await waits
    # Last: it looks for the one server of this process.
    await a_server_that_dies_is_told_to_all_who_wait()
    print(f"{sys.argv[1]} all", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
