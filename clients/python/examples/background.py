import asyncio

from ostler_client import End, Ostler


def on_end(end: End) -> None:
    print("meanwhile:", end.text)


async def main() -> None:
    async with Ostler(on_end=on_end) as ostler:
        build = await ostler.start("for n in 1 2 3; do echo compiling $n; sleep 0.2; done; exit 2", labels={"task": "build"})
        while build.handle in [row.handle for row in (await ostler.list(running=True)).commands]:
            await ostler.run("git status --short; sleep 0.1")  # whatever comes next tells that the build has ended
        page = await build.read(tail=1)
        print(page.status, page.output, end="")
        again = await ostler.start("sleep 0.2; echo quick", wait=10)  # back when it has ended, after 10 s at the latest
        print(again.state.output if again.state else "", end="")


asyncio.run(main())
