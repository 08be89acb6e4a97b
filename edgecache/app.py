"""The composition root: the only place that names concrete classes, and the order of start and stop."""

import asyncio
import contextlib
import gc
import hashlib
import logging
import math
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgecache.account.callers import Callers
from edgecache.account.tokens import Tokens
from edgecache.cache.bounded import Bounded
from edgecache.cache.exact import ExactCache
from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Embedder, Generator, Room
from edgecache.core.purges import Effect
from edgecache.core.tags import Tag
from edgecache.decide import Decider
from edgecache.edge.admin import Admin, Readiness
from edgecache.edge.calls import Calls
from edgecache.edge.documents import Documents
from edgecache.edge.metrics import Metrics
from edgecache.edge.proxy import Proxy
from edgecache.edge.purge_api import PurgeApi
from edgecache.edge.push_api import PushApi
from edgecache.edge.requests import BodyBudget
from edgecache.edge.server import Listener, Patience, tls_context
from edgecache.errors import InvalidPolicy, InvalidSettings, StoreUnavailable
from edgecache.flow.admit import Admission
from edgecache.flow.document_fills import DocumentFills
from edgecache.flow.documents import DocumentFlow
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Fills
from edgecache.flow.push import Push
from edgecache.flow.serve import Presenter
from edgecache.flow.shelf import Shelf
from edgecache.flow.story import Flow
from edgecache.flow.tiers import Tiers
from edgecache.models.progress import Progress
from edgecache.parts import admin_token, storage_of, target_of
from edgecache.policy_book import PolicyBook
from edgecache.purge.log import PurgeLog
from edgecache.purge.reaper import Reaper
from edgecache.rebuild import Rebuild
from edgecache.settings import Settings, address, is_loopback
from edgecache.sharing import Sharing
from edgecache.upstream.pool import UpstreamPool
from edgecache.weights import cache_folder, local_names, make_embedder, make_local

SWITCH = 0.0005
"""Seconds for which a thread that computes may hold the interpreter while the event loop waits for it. Python's own
5 ms would be added to every request while the reaper or a rebuild decodes entries.
"""
REFRESH = 2.0
"""Seconds between two looks at the tokens that other nodes made or revoked."""

_log = logging.getLogger("edgecache")


class App:
    """One node. `open` starts it in the order below, `close` stops it in the reverse order. `clock` is Unix time in
    seconds; `local` takes the place of the local model that the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        *,
        clock: Callable[[], float] = time.time,
        local: Generator | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._name = f"{settings.node_name}-{secrets.token_hex(3)}"
        self._cache = cache_folder()
        self.storage = storage_of(settings, self._name)
        self._exact = ExactCache(int(settings.limits.memory))
        self._ledger = Ledger("")
        self._metrics = Metrics()
        self._bodies = BodyBudget(self._settings.limits.bodies)
        self._embedder: Embedder = make_embedder(settings.embedding, self._cache, progress)
        self._local: Generator | None = local or make_local(settings.local, self._cache, progress)
        self._upstream = UpstreamPool([target_of(u) for u in settings.upstream]) if settings.upstream else None
        self._book = PolicyBook(Path(settings.policies), tuple(u.name for u in settings.upstream))
        self._tokens = Tokens(self.storage.registry, clock=self._clock, random=secrets.token_hex)
        self._purge_log = PurgeLog(
            self.storage.log,
            self.storage.registry,
            self._ledger,
            clock=self._clock,
            monotonic=time.monotonic,
            new_id=_new_id,
        )
        self._fence = Fence(self._ledger, blind=lambda: self._purge_log.blind, clock=self._clock)
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._rebuild: Rebuild | None = None
        self._stopping = False
        self._open_parts: dict[str, Any] = {}
        self.traffic: Listener | None = None
        self.admin: Listener | None = None

    # --- start and stop -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Returns when requests are served and `/readyz` says so; the local model and the index go on loading."""
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        await asyncio.to_thread(self._book.load)
        tls = tls_context(self._settings.listen.tls_certificate, self._settings.listen.tls_key)
        await self._start(self.storage)
        await self._start(self._purge_log)
        await self._tokens.open()
        self._tokens.admit_admin(await asyncio.to_thread(admin_token, self._settings.folder))
        secret = await self._secret()
        await self._start(self._embedder)
        index = SemanticIndex(self._embedder.dimensions, budget=self._settings.limits.index)
        await self._start(index)
        if self._upstream is not None:
            await self._start(self._upstream)
        if self._local is not None:  # closed after the listeners, opened after them too: its load takes a core
            self._stack.push_async_callback(self._local.close)
        await self._serve(index, secret, tls)
        if self._local is not None:
            await self._local.open()
        self._tasks += [asyncio.create_task(self._rebuild_index(index)), asyncio.create_task(self._refresh_tokens())]

    async def _serve(self, index: SemanticIndex, secret: bytes, tls: ssl.SSLContext | None) -> None:
        store, ledger = self.storage.store, self._ledger
        reaper = Reaper(
            store, index, self._exact, ledger, self.storage.feed, self.storage.audit, self._embedder, clock=self._clock
        )
        self._rebuild = Rebuild(store, index, self._embedder, ledger, clock=self._clock)
        sharing = Sharing(self.storage.feed, index, self._exact, self._rebuild)
        self._purge_log.on_record(sharing.claimed)
        self._purge_log.on_record(reaper.heard)
        self._purge_log.on_applied(reaper.applied)
        await self._start(sharing)
        await self._start(reaper)
        fills = self._fills(index, sharing)
        self._stack.push_async_callback(fills.flights.close)
        flow = self._flow(index, fills, sharing)
        calls = Calls(self._purges(secret, reaper), self._pushes(secret, fills, reaper))
        self._watch(index, fills, reaper)
        proxy = self._proxy(flow, calls, self._documents(fills, secret), secret)
        admin = Admin(
            self._book,
            self._tokens,
            self.storage.store,
            self.storage.audit,
            self._ledger,
            calls,
            self._metrics,
            readiness=self._readiness,
            statistics=self._statistics,
            outcomes=fills.outcomes.get,
        )
        host, port = address(self._settings.listen.traffic)
        admin_host, admin_port = address(self._settings.listen.admin)
        limits = self._settings.limits
        patience = Patience(limits.head, limits.body_idle, limits.write_idle)
        self.traffic = Listener(host, port, proxy.handle, tls, drain=self._settings.drain, patience=patience)
        self.admin = Listener(admin_host, admin_port, admin.handle, tls, drain=1.0, patience=patience)
        await self._start(self.admin)
        await self._start(self.traffic)

    async def _start(self, room: Room) -> None:
        self._stack.push_async_callback(room.close)
        await room.open()

    async def close(self) -> None:
        """Stops listening, waits for streams up to the drain time, then closes everything else. Safe twice. `/readyz`
        says from now on that this node is not ready.
        """
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._stack.aclose()

    # --- wiring ---------------------------------------------------------------------------------------------------

    def _fills(self, index: SemanticIndex, sharing: Sharing) -> Fills:
        names = local_names(self._settings.local)
        tiers = Tiers(self._upstream, self._local, names, clock=self._clock, new_id=_new_id)
        admission = Admission(
            self._ledger,
            self._exact,
            self.storage.store,
            index,
            self._embedder,
            claims=self._claim,
            stored=sharing.stored,
            clock=self._clock,
        )
        return Fills(tiers, self._ledger, admission, clock=self._clock)

    async def _claim(self, entry: Entry, tags: tuple[Tag, ...]) -> None:
        """Where nobody else writes to the log, nobody else holds a copy that has to hear of it."""
        if self.storage.log.lease < math.inf:
            await self._purge_log.order(tags, effect=Effect.CLAIM, claimed=(entry.scope, entry.key))

    def _flow(self, index: SemanticIndex, fills: Fills, sharing: Sharing) -> Flow:
        presenter = Presenter(self._fence, Bounded(self._settings.limits.memory // 8, lambda body: len(body) + 512))
        return Flow(
            self._fence,
            self._exact,
            self.storage.store,
            index,
            self._embedder,
            Decider(),
            fills,
            presenter,
            gone=sharing.missing,
        )

    @property
    def _anonymous(self) -> str:
        """The scope of callers without a credential; empty where they are refused."""
        host, _ = address(self._settings.listen.traffic)
        return self._settings.anonymous_scope or ("local" if is_loopback(host) else "")

    def _purges(self, secret: bytes, reaper: Reaper) -> PurgeApi:
        return PurgeApi(
            self._purge_log,
            self._tokens,
            self.storage.audit,
            self.storage.store,
            self._ledger,
            self._embedder,
            self._book,
            service=self._settings.service,
            services=self._settings.services,
            secret=secret,
            clock=self._clock,
            new_id=_new_id,
            anonymous=self._anonymous,
            node=self._name,
            ordered=reaper.ordered,
        )

    def _pushes(self, secret: bytes, fills: Fills, reaper: Reaper) -> PushApi:
        push = Push(
            self._book,
            self._ledger,
            self._purge_log,
            fills.admission.keep,
            self.storage.store,
            self._embedder,
            self.storage.audit,
            secret=secret,
            clock=self._clock,
            new_id=_new_id,
            ordered=reaper.ordered,
        )
        return PushApi(push, self._tokens, anonymous=self._anonymous, bodies=self._bodies)

    def _documents(self, fills: Fills, secret: bytes) -> Documents | None:
        if self._upstream is None:
            return None
        shelf = Shelf(self._exact, self.storage.store, self._fence, fills.admission.keep, secret=secret)
        fetches = DocumentFills(self._upstream, shelf, self._fence)
        self._stack.push_async_callback(fetches.flights.close)
        self._open_parts["documents"] = fetches.flights
        flow = DocumentFlow(shelf, fetches, self._fence, self._purge_log.order)
        return Documents(flow, self._metrics, node=self._settings.node_name)

    def _proxy(self, flow: Flow, calls: Calls, documents: Documents | None, secret: bytes) -> Proxy:
        anonymous = self._anonymous
        callers = Callers(
            self._tokens,
            secret=secret,
            anonymous=Scope(anonymous) if anonymous else None,
            local_only=not self._settings.anonymous_scope,
        )
        return Proxy(
            flow,
            self._book,
            callers,
            self._tokens,
            self._upstream,
            calls,
            documents,
            self._metrics,
            keyed=frozenset(u.name for u in self._settings.upstream if u.key),
            upstreams=frozenset(u.name for u in self._settings.upstream),
            names=local_names(self._settings.local),
            secret=secret,
            node=self._settings.node_name,
            body_limit=self._settings.limits.body,
            bodies=self._bodies,
            clock=self._clock,
        )

    def _watch(self, index: SemanticIndex, fills: Fills, reaper: Reaper) -> None:
        self._open_parts = {
            "exact": self._exact,
            "index": index,
            "flights": fills.flights,
            "reaper": reaper,
            "ledger": self._ledger,
            "purges": self._purge_log,
            "storage": self.storage,
            "embedding": self._embedder,
            **({"local": self._local} if self._local is not None else {}),
            **({"upstream": self._upstream} if self._upstream is not None else {}),
        }
        self._metrics.watch(
            {
                "exact_bytes": lambda: self._exact.statistics().bytes,
                "exact_items": lambda: self._exact.statistics().items,
                "index_bytes": lambda: index.statistics().bytes,
                "index_vectors": lambda: index.statistics().vectors,
                "flights": lambda: fills.flights.statistics().flying,
                "purges_applied": lambda: self._ledger.applied,
                "tombstones": lambda: self._ledger.statistics().tombstones,
                "blind": lambda: int(self._purge_log.blind),
            }
        )

    # --- what goes on meanwhile -----------------------------------------------------------------------------------

    async def _rebuild_index(self, index: SemanticIndex) -> None:
        assert self._rebuild is not None
        await self._rebuild.run()

    async def _refresh_tokens(self) -> None:
        while True:
            await asyncio.sleep(REFRESH)
            with contextlib.suppress(StoreUnavailable):  # what was known stays in force until the store is back
                await self._tokens.refresh()

    async def _secret(self) -> bytes:
        """From the settings, or made once and shared by all nodes of this store."""
        registry, own = self.storage.registry, self._settings.secret.encode()
        secret = own or await registry.set_default("secret", "secret", secrets.token_bytes(32))
        mark = hashlib.sha256(b"edgecache" + secret).digest()
        if await registry.set_default("secret", "fingerprint", mark) != mark:
            raise InvalidSettings(["secret: not the one this store was made with; all its nodes need the same"])
        return secret

    def reload_policy(self) -> None:
        """On SIGHUP. A broken file leaves the old policy in force."""

        def load() -> None:
            try:
                self._book.load()
            except InvalidPolicy as error:
                _log.error("policy not reloaded, %s stays in force:\n%s", self._book.policy.digest, error)

        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(asyncio.to_thread(load)))

    def _readiness(self) -> Readiness:
        progress = self._rebuild.progress if self._rebuild is not None else None
        local = "off" if self._local is None else "ready" if self._local.ready else "loading"
        parts = {
            "log": {
                "identity": self._ledger.log,
                "applied": self._ledger.applied,
                "blind": self._purge_log.blind,
                "node": self._name,
            },
            "embedding": self._embedder.identity,
            "index": progress,
            "local_model": local,
            "policy": self._book.policy.digest,
        }
        return Readiness(not self._stopping, parts)

    def _statistics(self) -> Mapping[str, Any]:
        return {name: part.statistics() for name, part in self._open_parts.items()}

    def __repr__(self) -> str:
        return f"<App {self._settings.node_name} {self.traffic!r} {self.admin!r}>"


def _new_id() -> str:
    return secrets.token_hex(16)


async def run(settings: Settings, progress: Progress) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = App(settings, progress)
    loop.add_signal_handler(signal.SIGHUP, app.reload_policy)  # before the start: unhandled it would end the process
    await app.open()
    assert app.traffic is not None and app.admin is not None
    _log.info("serving on %r, admin on %r", app.traffic, app.admin)
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()  # what is loaded by now lives as long as the process: no collection needs to walk it again
    await stop.wait()
    _log.info("stopping; streams have %.0f s", settings.drain)
    await app.close()
