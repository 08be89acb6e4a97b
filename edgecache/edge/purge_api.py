"""The purge calls: Fastly's shapes, so that its clients work, and ours. On both listeners, never without a token."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from edgecache.account.grants import PURGING, Token
from edgecache.account.tokens import Tokens
from edgecache.core.canonical import normalise
from edgecache.core.entry import Scope
from edgecache.core.ledger import Ledger
from edgecache.core.meaning import Meaning
from edgecache.core.policy import WhenBlind
from edgecache.core.ports import UNKNOWN, Audit, Embedder, Store
from edgecache.core.purges import PurgeRecord
from edgecache.edge import purge_calls, purge_previews, purge_rights
from edgecache.edge.purge_audit import Order, Protocolled, Purges, printable
from edgecache.edge.purge_calls import Asked, Services, Similar
from edgecache.edge.purge_previews import Busy, Walks, told
from edgecache.edge.requests import credential, target
from edgecache.errors import BadRequest, EmbeddingUnavailable, NotFound, RequestError, StoreUnavailable, Unauthenticated
from edgecache.policy_book import PolicyBook
from edgecache.purge.preview import Walk
from edgecache.purge.roll import Ordered, Standing

WALK = 60.0
"""Seconds for which a preview may go through the store."""
COUNT = 2.0
"""Seconds for which the answer to a purge by meaning waits for what it hit to be counted."""

NOT_NAMED = "1 unknown: nodes of the log before this one, if any"
"""Of `UNKNOWN` on the roll, which is no node."""

_log = logging.getLogger("edgecache.purge")
_OURS = re.compile(r"/service/[^/]*/purge(_all|/.*)?|/purge/.*")
_PROGRESS = re.compile(r"/purge/progress/([0-9a-f]{1,64})")


class Unavailable(RequestError):
    """What a call needs besides the purge log is not there now."""

    status = 503


class PurgeApi:
    """`service` is the deployment's id for Fastly's clients, `services` are further ids, each for a scope, `node` what
    this one is called on the roll. `ordered` is told the id of each purge ordered here.
    """

    def __init__(
        self,
        purges: Purges,
        tokens: Tokens,
        audit: Audit,
        store: Store,
        ledger: Ledger,
        embedder: Embedder | None,
        book: PolicyBook,
        *,
        service: str,
        services: Mapping[str, str],
        secret: bytes,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        node: str,
        ordered: Callable[[str], None],
    ) -> None:
        self._purges = purges
        self._protocolled = Protocolled(purges, audit, clock=clock, ordered=ordered)
        self._tokens = tokens
        self._store = store
        self._ledger = ledger
        self._embedder = embedder
        self._book = book
        self._services = Services(service, services, tokens.named)
        self._secret = secret
        self._clock = clock
        self._new_id = new_id
        self._node = node
        self._walks = Walks()

    def owns(self, method: str, path: str) -> bool:
        """Whether a request is a purge call. The method PURGE is ours on every path."""
        if method == "POST":
            return path.startswith(("/purge/", "/service/")) and _OURS.fullmatch(path) is not None
        return method == "PURGE" or (method == "GET" and _PROGRESS.fullmatch(path) is not None)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers `{"status": "ok", "id": ...}` or the like, or `{"msg": ..., "detail": ...}`."""
        try:
            token = self._authenticate(request)
            path, _ = target(request)
            answer = self._progress(path) if request.method == "GET" else await self._call(request, path, token)
        except RequestError as error:
            return _refusal(type(error).__name__, error)
        except StoreUnavailable as error:
            _log.warning("a purge was not taken: %s", error)
            return _refusal("Not purged", Unavailable("The purge log did not take it: ask again."))
        return _json(answer)

    def _authenticate(self, request: web.BaseRequest) -> Token:
        secret = request.headers.get("Fastly-Key") or credential(request.headers)
        if not secret:
            raise Unauthenticated("Purging needs a token: send it as `Fastly-Key` or `Authorization: Bearer`.")
        return self._tokens.holder(secret, *PURGING)

    async def _call(self, request: web.BaseRequest, path: str, token: Token) -> dict[str, Any]:
        asked = await purge_calls.read(request, path, self._services, self._secret)
        scopes = purge_rights.scopes(asked, token, self._services.named)
        orders = await self._orders(asked, scopes)
        return await (self._shown(orders, token) if asked.dry_run else self._purge(asked, orders, token))

    # --- what is to be ordered ------------------------------------------------------------------------------------

    async def _orders(self, asked: Asked, scopes: Sequence[Scope]) -> Sequence[Order]:
        """One, or one for each scope where it is by meaning."""
        if asked.similar is None:
            tags = purge_rights.narrowed(asked.tags, scopes)
            return [Order(id=self._new_id(), tags=tags, effect=asked.effect)]
        purge_rights.check_meanings(scopes)
        meaning = await self._meaning(asked.similar)
        words = f"meaning within {meaning.radius:g} of {self._mark(asked.similar.text)}"
        return [
            Order(
                id=self._new_id(),
                tags=(),
                effect=asked.effect,
                meaning=msgspec.structs.replace(meaning, scope=scope),
                words=printable(words + (f" within {scope}" if scope else "")),
            )
            for scope in scopes or ("",)
        ]

    def _mark(self, text: str) -> str:
        """Of a text that may be a person's question: whoever has it and the secret can tell that it is the one."""
        content = text.encode(errors="surrogatepass")
        digest = hashlib.blake2b(content, digest_size=8, key=self._secret[:64], person=b"meaning").hexdigest()
        return f"a text of {len(text)} characters, {digest}"

    async def _meaning(self, similar: Similar) -> Meaning:
        text = normalise(similar.text)
        if not text:
            raise BadRequest("Give a `text`: answers to questions like it are purged.")
        if self._embedder is None:
            raise Unavailable("There is no embedding model on this node.")
        try:
            vector = await self._embedder.embed(text)
        except EmbeddingUnavailable as error:
            raise Unavailable(f"The embedding model of this node does not answer: {error}") from None
        if vector is None:
            raise BadRequest("The `text` is longer than the embedding model reads: shorten it.")
        return Meaning(vector, self._embedder.identity, similar.radius)

    # --- purge ----------------------------------------------------------------------------------------------------

    async def _purge(self, asked: Asked, orders: Sequence[Order], token: Token) -> dict[str, Any]:
        now = asyncio.get_running_loop().time
        started = now()
        walk = asyncio.create_task(self._count(orders, token)) if asked.similar is not None else None
        try:
            ordered = [await self._protocolled.order(token.name, order) for order in orders]
            waited = await self._wait(ordered[-1], started) if asked.wait else {}
            found = await walk if walk is not None else {}
        finally:
            if walk is not None:
                walk.cancel()
        identity = ordered[-1].record.id
        if asked.listed and not waited:
            return dict.fromkeys(asked.keys, identity)
        answer: dict[str, Any] = {"status": "ok", "id": identity}
        if asked.listed:
            answer["keys"] = dict.fromkeys(asked.keys, identity)
        if len(ordered) > 1:
            answer["ids"] = [one.record.id for one in ordered]
        return {**answer, **found, **waited}

    async def _wait(self, ordered: Ordered, started: float) -> dict[str, Any]:
        nodes = await self._purges.wait_all(ordered)
        milliseconds = 1_000 * (asyncio.get_running_loop().time() - started)
        standing = self._purges.progress(ordered.record.id)
        unknown = standing is not None and UNKNOWN in standing.blind
        return {
            "nodes": {"applied": nodes.applied, "blind": nodes.blind - unknown},
            **({"unknown": NOT_NAMED} if unknown else {}),
            "serve_stale_routes": self._serve_stale(),
            "ms": round(milliseconds, 1),
        }

    def _serve_stale(self) -> list[str]:
        """Routes that go on serving from cache on a node that is cut off."""
        return [route.name for route in self._book.policy.routes if route.when_blind is WhenBlind.SERVE_STALE]

    def _progress(self, path: str) -> dict[str, Any]:
        found = _PROGRESS.fullmatch(path)
        assert found is not None  # `owns` let it through
        standing = self._purges.progress(found[1])
        if standing is None:
            raise NotFound("This node has ordered no such purge, or has forgotten it since.")
        shown = self._with_this_node(standing)
        unknown = UNKNOWN in (*shown.waiting, *shown.blind)
        return {
            "id": found[1],
            **msgspec.to_builtins(shown),
            "waiting": [name for name in shown.waiting if name != UNKNOWN],
            "blind": [name for name in shown.blind if name != UNKNOWN],
            **({"unknown": NOT_NAMED} if unknown else {}),
            "serve_stale_routes": self._serve_stale(),
        }

    def _with_this_node(self, standing: Standing) -> Standing:
        """Where there is no roll of nodes, or it could not be read, this one speaks for itself."""
        if not standing.done or standing.applied or standing.blind:
            return standing
        mine = "blind" if self._purges.blind else "applied"
        return msgspec.structs.replace(standing, **{mine: (self._node,)})

    # --- look -----------------------------------------------------------------------------------------------------

    async def _shown(self, orders: Sequence[Order], token: Token) -> dict[str, Any]:
        """Nothing is purged."""
        try:
            with self._walks.begin(token):
                preview = await self._walk(orders).run(WALK)
        except StoreUnavailable as error:
            _log.warning("no preview: %s", error)
            raise Unavailable("The store cannot be read now: ask again.") from None
        return {"status": "ok", "dry_run": True, **told(preview, token)}

    async def _count(self, orders: Sequence[Order], token: Token) -> dict[str, Any]:
        """What a purge that is happening hits. It is not undone where that cannot be told."""
        try:
            with self._walks.begin(token):
                return told(await self._walk(orders).run(COUNT), token)
        except (StoreUnavailable, Busy):
            return purge_previews.UNKNOWN

    def _walk(self, orders: Sequence[Order]) -> Walk:
        now = self._clock()
        records = [PurgeRecord(order.id, order.tags, now, order.effect, order.meaning) for order in orders]
        return Walk(self._store, self._ledger, records, now=now)

    def __repr__(self) -> str:
        return f"<PurgeApi {self._services!r} {self._protocolled!r}>"


def _refusal(what: str, error: RequestError) -> web.Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return _json({"msg": what, "detail": error.message}, error.status, headers)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
