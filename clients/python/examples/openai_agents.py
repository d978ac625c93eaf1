import asyncio
import sys

from agents import Agent, Runner, ShellTool
from ostler_client import Ostler
from ostler_client.adapters import OpenAIShell


async def main(task: str) -> None:
    async with Ostler(args=["--root", "."]) as ostler:
        shell = ShellTool(executor=OpenAIShell(ostler, timeout=300))
        agent = Agent(name="builder", instructions="Do what is asked, with the shell.", tools=[shell])
        print((await Runner.run(agent, task)).final_output)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
