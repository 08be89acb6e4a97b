"""A node that breaks the promise: it stands before a good one and gives the first answer it saw again and again."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from edgecache.testing.node import CHAT, Node


class OldAnswers:
    """`faults`: `stale` repeats old answers; `missing` has none; `leak` gives what one caller has to all others."""

    def __init__(self, node: Node, fault: str) -> None:
        self._node = node
        self._fault = fault
        self._seen: dict[bytes, bytes] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        headers = {
            name: request.headers[name] for name in ("Authorization", "Cache-Control") if name in request.headers
        }
        reply = await self._node.ask("POST", request.raw_path, body, headers=headers)
        if request.path != CHAT:
            return web.Response(status=reply.status, body=reply.body)
        if self._fault == "missing" and reply.status == 200:
            return web.json_response({"error": {"code": "not_cached"}}, status=504)
        if self._fault == "leak":
            return self._leaked(body, reply.status, reply.body)
        if reply.status == 200:
            self._seen.setdefault(body, reply.body)
        content = self._seen.get(body)
        return web.Response(body=content) if content else web.Response(status=reply.status, body=reply.body)

    def _leaked(self, body: bytes, status: int, content: bytes) -> web.Response:
        """Who has nothing is given what the last one was given who had."""
        if status == 200:
            self._seen[body] = content
            return web.Response(body=content)
        return web.Response(body=self._seen[body]) if body in self._seen else web.Response(status=status, body=content)


@asynccontextmanager
async def old_answers(node: Node, fault: str) -> AsyncGenerator[OldAnswers, None]:
    broken = OldAnswers(node, fault)
    runner = web.ServerRunner(web.Server(broken.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    broken.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield broken
    finally:
        await runner.cleanup()
