import asyncio

from ostler_client import Ostler


async def main() -> None:
    async with Ostler() as ostler:
        setup = await ostler.start("printf 'Delete it? '; read answer; echo you said $answer", interactive=True)
        asked = await setup.wait(input=True, timeout=30)
        print(asked.output)
        print((await setup.write("no\n")).output, end="")
        shell = await ostler.start(["sh"], terminal=True)
        await shell.write("sleep 1000", keys=["enter"])
        await shell.write(keys=["ctrl-c"])
        await shell.write("exit 7", keys=["enter"])
        ended = await shell.wait(timeout=30)
        print(ended.status, ended.exit_code)


asyncio.run(main())
