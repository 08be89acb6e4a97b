"""The admin listener: health, metrics, tokens, entries, the policy; and the purge calls."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from edgecache.account.grants import Grant
from edgecache.account.tokens import Tokens
from edgecache.core.entry import Entry
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Audit, AuditLine, Store
from edgecache.core.units import Duration, Size
from edgecache.edge.calls import Api
from edgecache.edge.metrics import Metrics
from edgecache.edge.purge_calls import BODY_LIMIT
from edgecache.edge.requests import body, credential, target
from edgecache.edge.server import error_response
from edgecache.errors import (
    BadRequest,
    InvalidPolicy,
    NotFound,
    RequestError,
    StoreUnavailable,
    Unauthenticated,
)
from edgecache.policy_book import PolicyBook
from edgecache.wire.dialects import BY_NAME

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

MOST_LINES = 10_000
"""Lines of the audit log that are told at once."""


class Readiness(msgspec.Struct, frozen=True):
    """`ready` when requests are answered as they should be; `parts` says what is there and how far the rest is."""

    ready: bool
    parts: Mapping[str, Any]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /admin/tokens`."""

    name: str
    scope: str
    grants: tuple[Grant, ...]
    tags: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()


class Admin:
    """`readiness` and `statistics` are read at each call; `outcomes` says what became of an entry's last fill."""

    def __init__(
        self,
        book: PolicyBook,
        tokens: Tokens,
        store: Store,
        audit: Audit,
        ledger: Ledger,
        calls: Api,
        metrics: Metrics,
        *,
        readiness: Callable[[], Readiness],
        statistics: Callable[[], Mapping[str, Any]],
        outcomes: Callable[[str], str | None],
    ) -> None:
        self._book = book
        self._tokens = tokens
        self._store = store
        self._audit = audit
        self._ledger = ledger
        self._calls = calls
        self._metrics = metrics
        self._readiness = readiness
        self._statistics = statistics
        self._outcomes = outcomes
        self._open: dict[tuple[str, str], Handler] = {
            ("GET", "/healthz"): self._health,
            ("GET", "/readyz"): self._ready,
            ("GET", "/metrics"): self._scrape,
        }
        self._guarded: dict[tuple[str, str], Handler] = {
            ("GET", "/admin/status"): self._status,
            ("GET", "/admin/policy"): self._policy,
            ("POST", "/admin/policy/reload"): self._reload,
            ("GET", "/admin/tokens"): self._list_tokens,
            ("POST", "/admin/tokens"): self._create_token,
            ("GET", "/admin/audit"): self._lines,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request of the admin listener."""
        try:
            path, _ = target(request)
            if self._calls.owns(request.method, path):
                return await self._calls.handle(request)
            handler = self._open.get((request.method, path))
            return await handler(request) if handler else await self._guard(request, path)
        except RequestError as error:
            return error_response(error)
        except StoreUnavailable as error:
            return _json({"error": {"message": str(error), "code": "store_unavailable"}}, 503)

    async def _guard(self, request: web.BaseRequest, path: str) -> web.Response:
        self._authenticate(request)
        handler = self._guarded.get((request.method, path))
        if handler is not None:
            return await handler(request)
        if path.startswith("/admin/tokens/") and request.method == "DELETE":
            return await self._revoke(unquote(path.removeprefix("/admin/tokens/")))
        if path.startswith("/admin/entries/") and request.method == "GET":
            return await self._entry(path.removeprefix("/admin/entries/"))
        if path.startswith("/admin/audit/") and request.method == "GET":
            return await self._line(path.removeprefix("/admin/audit/"))
        known = sorted(
            {name for _, name in (*self._open, *self._guarded)} | {"/admin/audit/{id}", "/admin/entries/{id}"}
        )
        raise NotFound(f"There is no {request.method} {path[:80]}. Here are {', '.join(known)}.")

    def _authenticate(self, request: web.BaseRequest) -> None:
        secret = credential(request.headers)
        if not secret:
            raise Unauthenticated("Send the admin token as `Authorization: Bearer`; it is in the data folder.")
        self._tokens.holder(secret, Grant.ADMIN)

    async def _health(self, request: web.BaseRequest) -> web.Response:
        return _json({"status": "ok"})

    async def _ready(self, request: web.BaseRequest) -> web.Response:
        state = self._readiness()
        return _json({"ready": state.ready, **state.parts}, 200 if state.ready else 503)

    async def _scrape(self, request: web.BaseRequest) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _status(self, request: web.BaseRequest) -> web.Response:
        return _json(self._statistics())

    async def _policy(self, request: web.BaseRequest) -> web.Response:
        policy = self._book.policy
        routes = [msgspec.to_builtins(route, enc_hook=_plain) for route in policy.routes]
        return _json({"digest": policy.digest, "routes": routes})

    async def _reload(self, request: web.BaseRequest) -> web.Response:
        """A broken file leaves the old policy in force and says so."""
        try:
            policy = await asyncio.to_thread(self._book.load)
        except InvalidPolicy as error:
            return _json({"reloaded": False, "in_force": self._book.policy.digest, "problems": error.problems}, 422)
        return _json({"reloaded": True, "in_force": policy.digest, "routes": len(policy.routes)})

    async def _list_tokens(self, request: web.BaseRequest) -> web.Response:
        shown = ("name", "scope", "grants", "created", "tags", "tenants")
        return _json({"tokens": [{name: getattr(t, name) for name in shown} for t in self._tokens.all()]})

    async def _create_token(self, request: web.BaseRequest) -> web.Response:
        try:
            wanted = msgspec.json.decode(await body(request, BODY_LIMIT), type=NewToken)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"Expected name, scope and grants: {error}.") from None
        secret = await self._tokens.create(
            wanted.name, wanted.scope, wanted.grants, tags=wanted.tags, tenants=wanted.tenants
        )
        return _json({"token": secret, "name": wanted.name}, 201)

    async def _revoke(self, name: str) -> web.Response:
        await self._tokens.revoke(name)
        return _json({"revoked": name})

    async def _lines(self, request: web.BaseRequest) -> web.Response:
        """The newest purges and pushes first."""
        wanted = request.query.get("limit", "100")
        if not wanted.isdecimal() or len(wanted) > 5 or not 0 < int(wanted) <= MOST_LINES:
            raise BadRequest(f"`limit` is a number from 1 to {MOST_LINES}, not {wanted[:40]!r}.")
        return _json({"lines": await self._audit.lines(int(wanted))})

    async def _line(self, name: str) -> web.Response:
        line: AuditLine | None = await self._audit.line(name) if _is_id(name) else None
        if line is None:
            raise NotFound(f"The audit log has no line {name[:40]!r}.")
        return _json(line)

    async def _entry(self, name: str) -> web.Response:
        """Everything about one answer but its text."""
        entry = await self._store.find(bytes.fromhex(name)) if _is_id(name) else None
        if entry is None:
            last = self._outcomes(name)
            why = f"its last fill ended as: {last}" if last else "it was never stored, or has been freed"
            raise NotFound(f"There is no entry {name[:40]!r}: {why}.")
        return _json(self._explain(entry))

    def _explain(self, entry: Entry) -> dict[str, Any]:
        killer = self._ledger.killer_of(entry)
        return {
            "id": entry.id,
            "question": entry.question,
            "scope": entry.scope,
            "route": entry.route,
            "model": entry.model,
            "source": entry.source,
            "framing": entry.framing,
            "semantic": entry.vector is not None,
            "tags": [f"{tag.kind}:{tag.value}" for tag in entry.tags],
            "horizon": {"log": entry.horizon.log, "sequence": entry.horizon.sequence},
            "purged_by": f"{killer.kind}:{killer.value}" if killer is not None else None,
            "stored_at": entry.stored_at,
            "expires_at": entry.expires_at,
            "kept_until": entry.kept_until,
            "stale_since": self._ledger.softened(entry.tags, entry.horizon),
            "bytes": len(entry.body),
            "dialect": entry.dialect,
            "completion_tokens": _completion_tokens(entry),
        }


def _completion_tokens(entry: Entry) -> int:
    dialect = BY_NAME.get(entry.dialect)
    return dialect.summarise(entry.framing, entry.body).usage.completion if dialect is not None else 0


def _is_id(name: str) -> bool:
    return len(name) == 32 and not name.strip("0123456789abcdef")


def _plain(value: object) -> object:
    """Seconds and bytes, which msgspec knows only as what they are made of."""
    if isinstance(value, Size):
        return int(value)
    if isinstance(value, Duration):
        return float(value)
    raise NotImplementedError(f"{type(value)} in a policy")


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
