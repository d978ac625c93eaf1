import asyncio

from ostler_client import CommandFailed, Ostler


async def main() -> None:
    async with Ostler() as ostler:
        listed = await ostler.run("ls /etc | head -3")
        print(listed.output, end="")
        try:
            (await ostler.run("echo no such test; exit 3", timeout=600)).check()
        except CommandFailed as failed:
            print(failed.state.exit_code, failed.state.output, end="")


asyncio.run(main())
