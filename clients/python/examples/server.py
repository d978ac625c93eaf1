import asyncio
import sys
import urllib.request

from ostler_client import Ostler


async def main() -> None:
    async with Ostler() as ostler:
        server = await ostler.start([sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], cwd="/etc")
        ready = await server.wait(pattern=r"http://127\.0\.0\.1:(\d+)", timeout=30)
        if ready.condition is None:
            raise SystemExit(f"it does not listen: {ready.text}")
        port = ready.condition.groups[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname") as answer:
            print(answer.status)
        stopped = await server.cancel()
        print(stopped.status, stopped.stop_cause)


asyncio.run(main())
