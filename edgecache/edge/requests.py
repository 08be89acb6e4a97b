"""What the handlers take from a request: its target, its credential, its body."""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import chain
from typing import Any
from urllib.parse import unquote

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from edgecache.errors import (
    BadRequest,
    HeadTooLarge,
    MethodNotAllowed,
    Misframed,
    Overloaded,
    TooLarge,
    Unauthenticated,
)
from edgecache.flow.controls import HEADERS as CONTROLS

KEY_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "ocp-apim-subscription-key")
CREDENTIAL_HEADERS = (*KEY_HEADERS, "cookie", "proxy-authorization")

MAX_HEAD = 64 << 10
"""Bytes of a request's head: some fields are gone through one item after the other."""
SMALL = 64 << 10
"""Bytes of the largest body that counts in no budget."""
MOST_ENCODED = 8
"""Times that a path may be percent-encoded: each takes time to undo."""
NEVER_PASSED_ON = ("TRACE", "CONNECT")
"""TRACE is answered with the request, our key in it (RFC 9110 section 9.3.8); CONNECT makes a tunnel (9.3.6)."""
ONCE = frozenset(name.encode() for name in CONTROLS)
"""Fields that may stand once in a request, beside those of which aiohttp sees to it (Host, Content-Type, ...)."""
LIKE_FRAMING = ("transfer_encoding", "content_length")
"""Some servers take `_` in a name for `-`: behind one of these, the request would end elsewhere than it does here."""
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\;]|$)")


def target(request: web.BaseRequest) -> tuple[str, str]:
    """Path and query as they came.

    Raises:
        MethodNotAllowed, HeadTooLarge: asked here, where every request comes by that is not remembered.
        BadRequest: the target is not a path (RFC 9112 section 3.2), or has a fragment; or fields of the head conflict.
    """
    if request.method.upper() in NEVER_PASSED_ON:
        raise MethodNotAllowed(f"{request.method} is not answered here, nor passed on.")
    size = len(request.raw_path) + sum(map(len, chain.from_iterable(request.raw_headers)))
    if size > MAX_HEAD:
        raise head_too_large()
    _check_framing(request)
    _check_once([name.lower() for name, _ in request.raw_headers])
    path, _, query = request.raw_path.partition("?")
    if not path.startswith("/") or "#" in request.raw_path:
        raise BadRequest(f"The request target must be a path, not {request.raw_path[:80]!r}.")
    return path, query


def _check_framing(request: web.BaseRequest) -> None:
    """What the parser lets pass."""
    like = next((name for name in LIKE_FRAMING if name in request.headers), None)
    if like is not None:
        raise Misframed(f"The request has a field {like}: write it with `-`, or leave it out.")
    if request.headers.get(hdrs.TRANSFER_ENCODING, "chunked").strip().lower() != "chunked":
        raise Misframed("The request has a Transfer-Encoding that is not `chunked`: leave it out.")


def _check_once(names: list[bytes]) -> None:
    twice = next((name for name in ONCE.intersection(names) if names.count(name) > 1), None)
    if twice is not None:
        raise BadRequest(f"The request has several fields {twice.decode()}: send one.", param=twice.decode())


def head_too_large() -> HeadTooLarge:
    return HeadTooLarge(f"The head of the request is over {MAX_HEAD:,} bytes: send fewer or shorter header fields.")


def is_relative(path: str) -> bool:
    """Whether a server that resolves `.` and `..` (RFC 3986 section 5.2.4), even encoded ones, more than once, or with
    parameters (`..;x`), would take it for another path. What is encoded over and over is taken for one.
    """
    for _ in range(MOST_ENCODED):
        plain = unquote(path)
        if plain == path:
            return _DOT_SEGMENT.search(path) is not None
        path = plain
    return True


def credential(headers: CIMultiDictProxy[str]) -> str | None:
    """The key that the caller shows, under any name that providers use; two that differ are refused. A token of ours
    is nowhere else: not in a cookie, which a browser sends unasked.
    """
    shown = {_bare(headers[name]) for name in KEY_HEADERS if headers.get(name, "").strip()}
    repeated = any(len(headers.getall(name, ())) > 1 for name in KEY_HEADERS)
    if len(shown) > 1 or repeated:
        raise Unauthenticated("Several credentials that differ were sent: send one.")
    return shown.pop() if shown else None


def cookies(headers: CIMultiDictProxy[str]) -> str | None:
    """For who shows no key: a provider may know its callers by them."""
    return "; ".join(headers.getall("cookie", ())) or None


def _bare(value: str) -> str:
    scheme, *rest = value.split(maxsplit=1)
    return rest[0].strip() if rest and scheme.lower() == "bearer" else value.strip()


class BodyBudget:
    """Bytes that all bodies together may hold that are read whole, from when they come until they are answered.

    What has come is counted, not what is announced: an announcement costs its sender nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._sizes: dict[asyncio.Task[Any], int] = {}

    def __repr__(self) -> str:
        return f"<BodyBudget {self._held:,} of {self._limit:,} bytes>"

    @property
    def held(self) -> int:
        return self._held

    def hold(self, size: int) -> None:
        """What the current task now holds, until it ends: each request has one, which ends when its answer is written.

        Raises:
            Overloaded: there is no room.
        """
        task = asyncio.current_task()
        assert task is not None
        before = self._sizes.get(task, 0)
        if self._held + size - before > self._limit:
            raise Overloaded("Too many large bodies are being read: try again.", retry_after=1)
        if not before:
            task.add_done_callback(self._give_back)
        self._sizes[task] = size
        self._held += size - before

    def _give_back(self, task: asyncio.Task[Any]) -> None:
        self._held -= self._sizes.pop(task)


async def body(request: web.BaseRequest, limit: int, budget: BodyBudget | None = None) -> bytes:
    """All of it. Raises TooLarge as soon as it is known to be, Overloaded where `budget` has no room."""
    if "Expect" in request.headers:
        await continue_if_expected(request)
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    if length is not None and length <= SMALL:
        return await request.read()
    return await _counted(request, limit, budget)


async def _counted(request: web.BaseRequest, limit: int, budget: BodyBudget | None) -> bytes:
    content = bytearray()
    async for chunk in request.content.iter_any():
        size = len(content) + len(chunk)
        if size > limit:
            raise _too_large(limit)
        if budget is not None and size > SMALL:
            budget.hold(size)
        content += chunk
    return bytes(content)


async def streamed_body(request: web.BaseRequest) -> bytes | AsyncIterator[bytes]:
    """The body in pieces as they come; returns when the first is there, so that nothing is held for who sends none."""
    if not request.body_exists:
        return b""
    chunks = request.content.iter_any()
    return _joined(await anext(chunks, b""), chunks)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is over {limit:,} bytes: send less, or raise `limits.body` of this edgecache.")


async def continue_if_expected(request: web.BaseRequest) -> None:
    """RFC 9110 section 10.1.1."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # what was sent is not yet a response
