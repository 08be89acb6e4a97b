"""The limit for an exact hit: aiohttp's low-level server, a handler that reads the body and answers given bytes.

`python -m bench.bare < answer` prints its port; the answer is `{"headers": [[name, value], ...], "body": "..."}`.
"""

import asyncio
import sys

import msgspec
import uvloop
from aiohttp import web
from multidict import CIMultiDict


async def serve(headers: list[tuple[str, str]], body: bytes) -> None:
    given = CIMultiDict(headers)

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=body, headers=given)

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    answer = msgspec.json.decode(sys.stdin.buffer.read())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve([tuple(pair) for pair in answer["headers"]], answer["body"].encode()))


if __name__ == "__main__":
    main()
