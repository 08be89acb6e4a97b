"""A scripted upstream in a process of its own: `python -m bench.provider DELAY_MS`; prints its port."""

import asyncio
import sys

import msgspec
import uvloop
from aiohttp import web


async def serve(delay: float) -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        asked = msgspec.json.decode(await request.read())
        await asyncio.sleep(delay)
        message = {"role": "assistant", "content": f"The answer to: {asked['messages'][-1]['content']}. " * 8}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        return web.Response(
            body=msgspec.json.encode({**answer, "choices": [choice], "usage": usage}), content_type="application/json"
        )

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(float(sys.argv[1]) / 1000))


if __name__ == "__main__":
    main()
