"""What answers requests, put together of a node's parts."""

import math
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from edgecache.account.accounts import Accounts
from edgecache.account.callers import Callers
from edgecache.account.tokens import Tokens
from edgecache.cache.bounded import Bounded
from edgecache.cache.exact import ExactCache
from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Embedder, Generator
from edgecache.core.purges import Effect
from edgecache.core.tags import Tag
from edgecache.decide import Decider
from edgecache.edge.calls import Calls
from edgecache.edge.documents import Documents
from edgecache.edge.embeddings import Embeddings
from edgecache.edge.metrics import Metrics
from edgecache.edge.proxy import Proxy
from edgecache.edge.purge_api import PurgeApi
from edgecache.edge.push_api import PushApi
from edgecache.edge.relay import Relay
from edgecache.edge.requests import BodyBudget
from edgecache.edge.rights import Rights
from edgecache.edge.spend_api import SpendApi
from edgecache.edge.spoken import Spoken
from edgecache.edge.websockets import SocketLimits, WebSockets
from edgecache.flow.admit import Admission
from edgecache.flow.changes import Changes
from edgecache.flow.document_fills import DocumentFills
from edgecache.flow.documents import DocumentFlow
from edgecache.flow.embeddings import EmbeddingFlow
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Fills
from edgecache.flow.push import Push
from edgecache.flow.serve import Presentation, Presenter
from edgecache.flow.shelf import Shelf
from edgecache.flow.story import Flow
from edgecache.flow.tiers import Tiers
from edgecache.policy_book import PolicyBook
from edgecache.purge.log import PurgeLog
from edgecache.purge.reaper import Reaper
from edgecache.settings import Settings
from edgecache.sharing import Sharing
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.upstream.pool import UpstreamPool
from edgecache.upstream.websocket import UpstreamWebSockets
from edgecache.weights import local_names


@dataclass(frozen=True)
class Parts:
    """What a node is made of, opened or about to be by `App`."""

    storage: SqliteStorage | RedisStorage
    exact: ExactCache
    ledger: Ledger
    fence: Fence
    index: SemanticIndex
    embedder: Embedder
    local: Generator | None
    upstream: UpstreamPool | None
    upgrades: UpstreamWebSockets | None
    book: PolicyBook
    tokens: Tokens
    purges: PurgeLog
    reaper: Reaper
    sharing: Sharing
    metrics: Metrics
    accounts: Accounts


class Wiring:
    """`proxy` and `calls` are what the listeners ask; `close` ends what their requests left under way."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        *,
        secret: bytes,
        name: str,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._secret = secret
        self._name = name
        self._clock = clock
        self._new_id = new_id
        self._bodies = BodyBudget(settings.limits.bodies)
        self.rendered: Bounded[Presentation, bytes] = Bounded(settings.limits.memory // 8, lambda body: len(body) + 512)
        self.fills = self._fills()
        self.document_fills: DocumentFills | None = None
        self.embeddings: EmbeddingFlow | None = None
        self.changes: Changes | None = None
        self.calls = Calls(self._purges(), self._pushes(), SpendApi(self._parts.accounts, self._parts.tokens))
        self.proxy = self._proxy(self._flow(), self._documents())

    def _fills(self) -> Fills:
        parts = self._parts
        names = local_names(self._settings.local)
        tiers = Tiers(parts.upstream, parts.local, names, clock=self._clock, new_id=self._new_id)
        admission = Admission(
            parts.ledger,
            parts.exact,
            parts.storage.store,
            parts.index,
            parts.embedder,
            claims=self._claim if parts.storage.log.lease < math.inf else None,
            stored=parts.sharing.stored,
            clock=self._clock,
        )
        return Fills(tiers, parts.ledger, admission, parts.accounts, clock=self._clock)

    async def _claim(self, entry: Entry, tags: tuple[Tag, ...]) -> None:
        await self._parts.purges.order(tags, effect=Effect.CLAIM, claimed=(entry.scope, entry.key), tracked=False)

    def _flow(self) -> Flow:
        parts = self._parts
        presenter = Presenter(parts.fence, self.rendered)
        return Flow(
            parts.fence,
            parts.exact,
            parts.storage.store,
            parts.index,
            parts.embedder,
            Decider(),
            self.fills,
            presenter,
            parts.accounts,
            gone=parts.sharing.missing,
        )

    def _purges(self) -> PurgeApi:
        parts = self._parts
        return PurgeApi(
            parts.purges,
            parts.tokens,
            parts.storage.audit,
            parts.storage.store,
            parts.ledger,
            parts.embedder,
            parts.book,
            service=self._settings.service,
            services=self._settings.services,
            secret=self._secret,
            clock=self._clock,
            new_id=self._new_id,
            node=self._name,
            ordered=parts.reaper.ordered,
        )

    def _pushes(self) -> PushApi:
        parts = self._parts
        push = Push(
            parts.book,
            parts.ledger,
            parts.purges,
            self.fills.admission.keep,
            parts.storage.store,
            parts.embedder,
            parts.storage.audit,
            secret=self._secret,
            clock=self._clock,
            new_id=self._new_id,
            ordered=parts.reaper.ordered,
        )
        return PushApi(push, parts.tokens, bodies=self._bodies)

    def _documents(self) -> Documents | None:
        parts = self._parts
        if parts.upstream is None:
            return None
        keep = self.fills.admission.keep
        shelf = Shelf(parts.exact, parts.storage.store, parts.fence, keep, secret=self._secret)
        self.document_fills = DocumentFills(parts.upstream, shelf, parts.fence)
        hosts = frozenset(urlsplit(upstream.url).netloc.lower() for upstream in self._settings.upstream)
        self.changes = Changes(parts.book, partial(parts.purges.order, tracked=False), hosts=hosts)
        flow = DocumentFlow(shelf, self.document_fills, parts.fence, self.changes)
        return Documents(flow, parts.metrics, node=self._settings.node_name)

    def _proxy(self, flow: Flow, documents: Documents | None) -> Proxy:
        parts, settings = self._parts, self._settings
        anonymous = settings.anonymous
        callers = Callers(
            parts.tokens,
            secret=self._secret,
            anonymous=Scope(anonymous) if anonymous else None,
            local_only=not settings.anonymous_scope,
        )
        keyed = frozenset(upstream.name for upstream in settings.upstream if upstream.key)
        rights = Rights(callers, keyed=keyed, upstreams=frozenset(upstream.name for upstream in settings.upstream))
        relay = Relay(
            parts.upstream,
            parts.book,
            rights.identify,
            parts.metrics,
            parts.accounts,
            keyed=bool(keyed),
            names=local_names(settings.local),
            node=settings.node_name,
        )
        spoken = Spoken(
            flow,
            parts.book,
            parts.tokens,
            rights,
            relay,
            parts.metrics,
            parts.accounts,
            secret=self._secret,
            node=settings.node_name,
            body_limit=settings.limits.body,
            bodies=self._bodies,
            clock=self._clock,
        )
        sockets = self._sockets(relay, callers)
        embeddings = self._embeddings(rights, relay)
        return Proxy(parts.book, rights, self.calls, sockets, spoken, embeddings, documents, relay, parts.metrics)

    def _embeddings(self, rights: Rights, relay: Relay) -> Embeddings | None:
        parts, settings = self._parts, self._settings
        if parts.upstream is None:
            return None
        self.embeddings = EmbeddingFlow(
            parts.exact, parts.storage.store, parts.fence, self.fills.admission, parts.upstream, parts.accounts
        )
        return Embeddings(
            self.embeddings,
            parts.book,
            relay,
            parts.metrics,
            identify=rights.identify,
            check_key=rights.check_key,
            secret=self._secret,
            node=settings.node_name,
            body_limit=settings.limits.body,
            bodies=self._bodies,
        )

    def _sockets(self, relay: Relay, callers: Callers) -> WebSockets:
        parts, limits = self._parts, self._settings.limits
        return WebSockets(
            parts.upgrades,
            relay,
            callers,
            parts.metrics,
            under=lambda: (parts.book.generation, parts.tokens.generation),
            limits=SocketLimits(
                limits.websockets, limits.websocket_message, limits.websocket_idle, self._settings.drain
            ),
            node=self._settings.node_name,
            random=os.urandom,
        )

    async def close(self) -> None:
        """Waits until what requests changed is in the log, then ends all fills. Safe twice."""
        async with AsyncExitStack() as stack:  # the last comes first; each is closed, whatever becomes of the others
            stack.push_async_callback(self.fills.flights.close)
            if self.embeddings is not None:
                stack.push_async_callback(self.embeddings.calls.close)
            if self.document_fills is not None:
                stack.push_async_callback(self.document_fills.flights.close)
            if self.changes is not None:
                stack.push_async_callback(self.changes.close)

    def __repr__(self) -> str:
        return f"<Wiring {self._name}>"
