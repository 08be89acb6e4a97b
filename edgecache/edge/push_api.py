"""The push call: answers put here by their owner before anyone asks. On both listeners, never without a token."""

import logging
import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from edgecache.account import scopes
from edgecache.account.grants import Grant, Token
from edgecache.account.tokens import Tokens
from edgecache.core.entry import Scope
from edgecache.edge.requests import BodyBudget, body, credential
from edgecache.errors import BadRequest, RequestError, StoreUnavailable, Unauthenticated
from edgecache.flow.push import Outcome, Push, Result
from edgecache.flow.pushed import Rights

PATH = "/push"
BODY_LIMIT = 4 << 20

_log = logging.getLogger("edgecache.push")


class PushApi:
    """`bodies` is shared with all else that is read whole."""

    def __init__(self, push: Push, tokens: Tokens, *, bodies: BodyBudget) -> None:
        self._push = push
        self._tokens = tokens
        self._bodies = bodies

    def owns(self, method: str, path: str) -> bool:
        """No provider's path is at the root."""
        return method == "POST" and path == PATH

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers what became of each, 200 if any is in place; or `{"msg": ..., "detail": ...}`."""
        try:
            return await self._handle(request)
        except RequestError as error:
            return _json({"msg": type(error).__name__, "detail": error.message}, error.status)
        except StoreUnavailable as error:
            _log.warning("a push was not taken: %s", error)
            return _json(
                {"msg": "Not pushed", "detail": "The purge log did not take it, nothing was stored: push again."}, 503
            )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        rights = self._rights(request)
        wait = _wants_all(request)
        outcome = await self._push.push(await body(request, BODY_LIMIT, self._bodies), rights, wait=wait)
        return _told(outcome, round((time.perf_counter() - started) * 1_000, 3))

    def _rights(self, request: web.BaseRequest) -> Rights:
        secret = request.headers.get("Fastly-Key") or credential(request.headers)
        if not secret:
            raise Unauthenticated("Pushing needs a token: send it as `Authorization: Bearer`.")
        return rights_of(self._tokens.holder(secret, Grant.PUSH), self._tokens.named)

    def __repr__(self) -> str:
        return f"<PushApi {PATH} {self._push!r}>"


def rights_of(token: Token, named: Callable[[str], Scope]) -> Rights:
    """What a token that may push may push."""
    tenants = frozenset(map(named, token.tenants))
    return Rights(
        who=token.name,
        scope=scopes.of_tenant(token.scope),
        scope_of=named,
        may_push=lambda scope: not tenants or scope in tenants,
        may_tag=token.may_touch,
        limited=bool(token.tags),
    )


def _wants_all(request: web.BaseRequest) -> bool:
    wanted = request.query.get("wait", request.headers.get("wait", ""))
    if wanted not in ("", "all"):
        raise BadRequest(f"`wait` is `all` or left out, not {wanted[:40]!r}.")
    return wanted == "all"


def _told(outcome: Outcome, ms: float) -> web.Response:
    refused = [result for result in outcome.results if result.code != 200]
    told: dict[str, object] = {
        "stored": len(outcome.results) - len(refused),
        "refused": len(refused),
        "answers": [_shown(result) for result in outcome.results],
    }
    if outcome.ordered is not None:
        told["id"] = outcome.ordered.record.id
    if outcome.nodes is not None:
        told |= {"nodes": outcome.nodes, "ms": ms}
    if told["stored"]:
        return _json({"status": "ok", **told})
    return _json({"msg": "Not pushed", "detail": refused[0].status, **told}, refused[0].code)


def _shown(result: Result) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(result)
    shown.pop("code", None)
    return shown


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
