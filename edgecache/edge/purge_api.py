"""The purge calls: Fastly's shapes, so that its clients work, and ours. On both listeners, never without a token.
Source: Fastly's purging API, https://www.fastly.com/documentation/reference/api/purging/.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import unquote

import msgspec
from aiohttp import web

from edgecache.account.grants import Grant
from edgecache.account.tokens import Tokens
from edgecache.core.purges import PurgeRecord
from edgecache.core.tags import Tag
from edgecache.edge.requests import body, credential, target
from edgecache.errors import BadRequest, NotFound, RequestError, StoreUnavailable, Unauthenticated
from edgecache.purge import orders
from edgecache.wire import surrogate

SERVICE = "edgecache"
BODY_LIMIT = 1 << 20

_OURS = re.compile(r"/service/[^/]*/purge(_all|/.*)?|/purge/.*")
_SERVICE = re.compile(r"/service/(?P<service>[^/]*)/(?P<call>purge_all|purge)(?:/(?P<key>.*))?")
LOGGED = 8
"""Tags of one purge that are written out in the log."""

_log = logging.getLogger("edgecache.purge")

Order = Callable[[Sequence[Tag]], Awaitable[PurgeRecord]]


class NotYet(RequestError):
    """A call that a later version answers. Refused, rather than taken for something else."""

    status = 501


class PurgeApi:
    """`order` puts tags into the log and in force; when it returns, what it killed is served no more."""

    def __init__(self, order: Order, tokens: Tokens) -> None:
        self._order = order
        self._tokens = tokens

    def owns(self, method: str, path: str) -> bool:
        """Whether a request is a purge call. The method PURGE is ours on every path."""
        if method == "POST":
            return path.startswith(("/purge/", "/service/")) and _OURS.fullmatch(path) is not None
        return method == "PURGE"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers `{"status": "ok", "id": ...}`, or `{"msg": ..., "detail": ...}`."""
        try:
            return await self._purge(request)
        except RequestError as error:
            return _refused(error.status, type(error).__name__, error.message)
        except StoreUnavailable as error:
            return _refused(503, "Not purged", f"The purge log did not take it, ask again: {error}")

    async def _purge(self, request: web.BaseRequest) -> web.StreamResponse:
        who = self._authenticate(request)
        _refuse_unavailable(request)
        path, _ = target(request)
        tags, named = await self._tags(request, path)
        record = await self._order(tags)
        _log.info("purge %s by %r: %d tags: %s", record.id, who, len(tags), _shown(tags))
        answer = dict.fromkeys(named, record.id) if named else {"status": "ok", "id": record.id}
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    def _authenticate(self, request: web.BaseRequest) -> str:
        secret = request.headers.get("Fastly-Key") or credential(request.headers)
        if not secret:
            raise Unauthenticated("Purging needs a token: send it as `Fastly-Key` or `Authorization: Bearer`.")
        return self._tokens.holder(secret, Grant.PURGE).name

    async def _tags(self, request: web.BaseRequest, path: str) -> tuple[Sequence[Tag], Sequence[str]]:
        """What to purge; and the keys, where the answer lists them."""
        if request.method == "PURGE":
            return orders.by_path(path), ()
        found = _SERVICE.fullmatch(path)
        if found is None:
            return _ours(path.removeprefix("/purge/")), ()
        if found["service"] != SERVICE:
            raise NotFound(f"There is no service {found['service'][:80]!r}; this one is {SERVICE!r}.")
        if found["call"] == "purge_all":
            return orders.everything(), ()
        if found["key"] is not None:
            return orders.by_keys([unquote(found["key"])]), ()
        named = await _many(request)
        return orders.by_keys(named), named

    def __repr__(self) -> str:
        return f"<PurgeApi service={SERVICE}>"


def _shown(tags: Sequence[Tag]) -> str:
    """For the log: what owners call their keys may hold anything, line breaks too."""
    return ", ".join(f"{tag.kind}:{tag.value[:80]!r}" for tag in tags[:LOGGED])


def _ours(rest: str) -> tuple[Tag, ...]:
    """`id/<id>`, or host and path."""
    if rest.startswith("id/"):
        return orders.by_id(rest.removeprefix("id/"))
    if rest.split("?")[0] == "similar":
        raise NotYet("Purging by meaning is not available yet.")
    return orders.by_url(rest)


def _refuse_unavailable(request: web.BaseRequest) -> None:
    """Promises that cannot be kept yet are refused: a hard purge in place of a soft one would lose answers."""
    if "Fastly-Soft-Purge" in request.headers:
        raise NotYet("Soft purge is not available yet; nothing was purged.")
    if "wait" in request.query or "wait" in request.headers:
        raise NotYet("wait=all is not available yet; nothing was purged.")


async def _many(request: web.BaseRequest) -> Sequence[str]:
    """From the header, else from `{"surrogate_keys": [...]}`."""
    value = " ".join(request.headers.getall("Surrogate-Key", ()))
    if value:
        found = surrogate.split_keys(value)
        if problems := surrogate.problems(found, length=len(value.encode(errors="replace"))):
            raise BadRequest("; ".join(problems))
        return found
    content = await body(request, BODY_LIMIT)
    try:
        return msgspec.json.decode(content, type=dict[str, list[str]])["surrogate_keys"]
    except (msgspec.DecodeError, KeyError, RecursionError, UnicodeDecodeError):
        raise BadRequest('Name the keys in a `Surrogate-Key` header or as {"surrogate_keys": [...]}.') from None


def _refused(status: int, message: str, detail: str) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode({"msg": message, "detail": detail}),
        content_type="application/json",
    )
