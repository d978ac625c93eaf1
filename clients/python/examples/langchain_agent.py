import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen

from langchain.agents import create_agent
from langchain.agents.middleware import HostExecutionPolicy, ShellToolMiddleware
from langchain_core.tools import StructuredTool
from ostler_client import Ostler
from ostler_client.adapters import Execute, spawn


class Policy(HostExecutionPolicy):
    """The middleware keeps one shell; nothing that was started in it outlives it."""

    def spawn(self, *, workspace: Path, env: Mapping[str, str], command: Sequence[str]) -> Popen[str]:
        return spawn(workspace=workspace, env=env, command=command)


async def main(task: str) -> None:
    async with Ostler(args=["--root", "."]) as ostler:
        # A tool, each of whose calls is a command of its own; or `middleware=[ShellToolMiddleware(execution_policy=Policy())]`.
        shell = StructuredTool.from_function(coroutine=Execute(ostler, timeout=300).__call__, name="shell", description="Runs a shell command.")
        agent = create_agent("openai:gpt-5", tools=[shell])
        print(await agent.ainvoke({"messages": [{"role": "user", "content": task}]}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
