"""What the handlers take from a request: its target, its credential, its body."""

import re
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDictProxy

from edgecache.errors import BadRequest, TooLarge, Unauthenticated

KEY_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "ocp-apim-subscription-key")
CREDENTIAL_HEADERS = (*KEY_HEADERS, "cookie", "proxy-authorization")

_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\]|$)")


def target(request: web.BaseRequest) -> tuple[str, str]:
    """Path and query as they came. Raises BadRequest for targets that are not a path (RFC 9112 section 3.2)."""
    path, _, query = request.raw_path.partition("?")
    if not path.startswith("/"):
        raise BadRequest(f"The request target must be a path, not {path[:80]!r}.")
    return path, query


def is_relative(path: str) -> bool:
    """Whether a server that resolves `.` and `..` (RFC 3986 section 5.2.4), even encoded ones, would take it for
    another path.
    """
    return _DOT_SEGMENT.search(unquote(path)) is not None


def credential(headers: CIMultiDictProxy[str]) -> str | None:
    """What the caller shows: a key under any name that providers use, else its cookies; two keys that differ are
    refused.
    """
    shown = {_bare(headers[name]) for name in KEY_HEADERS if headers.get(name, "").strip()}
    repeated = any(len(headers.getall(name, ())) > 1 for name in KEY_HEADERS)
    if len(shown) > 1 or repeated:
        raise Unauthenticated("Several credentials that differ were sent: send one.")
    return shown.pop() if shown else "; ".join(headers.getall("cookie", ())) or None


def _bare(value: str) -> str:
    scheme, *rest = value.split(maxsplit=1)
    return rest[0].strip() if rest and scheme.lower() == "bearer" else value.strip()


async def body(request: web.BaseRequest, limit: int) -> bytes:
    """All of it. Raises TooLarge as soon as it is known to be."""
    if "Expect" in request.headers:
        await continue_if_expected(request)
    length = request.content_length
    if length is not None and length <= limit:
        return await request.read()
    if length is not None:
        raise _too_large(limit)
    return await _unannounced(request, limit)


async def _unannounced(request: web.BaseRequest, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is over {limit:,} bytes: send less, or raise `limits.body` of this edgecache.")


async def continue_if_expected(request: web.BaseRequest) -> None:
    """RFC 9110 section 10.1.1."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # what was sent is not yet a response
