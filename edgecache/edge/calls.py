"""Calls of ours that both listeners take, beside what a provider or the admin listener answers."""

from typing import Protocol

from aiohttp import web


class Api(Protocol):
    """A group of calls."""

    def owns(self, method: str, path: str) -> bool: ...

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse: ...


class Calls:
    """Several groups as one."""

    def __init__(self, *groups: Api) -> None:
        self._groups = groups

    def owns(self, method: str, path: str) -> bool:
        return any(group.owns(method, path) for group in self._groups)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Only for what one of them owns."""
        path = request.raw_path.partition("?")[0]
        return await next(group for group in self._groups if group.owns(request.method, path)).handle(request)

    def __repr__(self) -> str:
        return f"<Calls {self._groups}>"
