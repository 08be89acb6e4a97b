"""The composition root: the parts of a node and the order in which they start and stop; `wiring.py` puts together what
answers requests. No other file names concrete classes.
"""

import asyncio
import contextlib
import gc
import hashlib
import logging
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgecache.account.accounts import Accounts
from edgecache.account.tokens import Tokens
from edgecache.cache.exact import ExactCache
from edgecache.cache.semantic import SemanticIndex
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Embedder, Generator, Room
from edgecache.edge.admin import Admin, Readiness
from edgecache.edge.metrics import Metrics
from edgecache.edge.server import Listener, Patience, tls_context
from edgecache.errors import InvalidPolicy, InvalidSettings, StoreUnavailable
from edgecache.flow.fence import Fence
from edgecache.models.progress import Progress
from edgecache.parts import admin_token, monotonic, storage_of, target_of
from edgecache.policy_book import PolicyBook
from edgecache.purge.log import PurgeLog
from edgecache.purge.reaper import Reaper
from edgecache.rebuild import Rebuild
from edgecache.settings import Settings, address
from edgecache.sharing import Sharing
from edgecache.upstream.pool import UpstreamPool
from edgecache.upstream.websocket import UpstreamWebSockets
from edgecache.weights import cache_folder, make_embedder, make_local
from edgecache.wiring import Parts, Wiring

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
        self._name = f"{settings.node_name}-{secrets.token_hex(8)}"
        self._cache = cache_folder()
        self.storage = storage_of(settings, self._name)
        self._exact = ExactCache(int(settings.limits.memory))
        self._ledger = Ledger("")
        self._metrics = Metrics()
        self._embedder: Embedder = make_embedder(settings.embedding, self._cache, progress)
        self._local: Generator | None = local or make_local(settings.local, self._cache, progress)
        targets = [target_of(upstream) for upstream in settings.upstream]
        self._upstream = UpstreamPool(targets) if targets else None
        self._upgrades = UpstreamWebSockets(targets, self._upstream.candidates) if self._upstream else None
        self._book = PolicyBook(Path(settings.policies), tuple(u.name for u in settings.upstream))
        self._tokens = Tokens(
            self.storage.registry, clock=self._clock, random=secrets.token_hex, anonymous=settings.anonymous
        )
        self._purge_log = PurgeLog(
            self.storage.log,
            self.storage.registry,
            self._ledger,
            clock=self._clock,
            monotonic=monotonic,
            new_id=_new_id,
        )
        self._accounts = Accounts(self.storage.meters, lambda: self._book.policy, clock=self._clock, node=self._name)
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
        await self._start(self._accounts)
        self._tokens.admit_admin(await asyncio.to_thread(admin_token, self._settings.folder))
        secret = await self._secret()
        await self._start(self._embedder)
        index = SemanticIndex(self._embedder.dimensions, budget=self._settings.limits.index)
        await self._start(index)
        if self._upstream is not None:
            await self._start(self._upstream)
        if self._upgrades is not None:
            await self._start(self._upgrades)
        if self._local is not None:  # closed after the listeners, opened after them too: its load takes a core
            self._stack.push_async_callback(self._local.close)
        sharing, reaper = await self._share(index)
        wiring = self._wire(index, sharing, reaper, secret)
        self._stack.push_async_callback(wiring.close)
        self._watch(index, wiring, reaper)
        await self._listen(wiring, tls)
        if self._local is not None:
            await self._local.open()
        self._tasks += [asyncio.create_task(self._rebuild_index(index)), asyncio.create_task(self._refresh_tokens())]

    async def _share(self, index: SemanticIndex) -> tuple[Sharing, Reaper]:
        """What keeps this node's entries in step with other nodes and with what was purged."""
        store, feed, ledger = self.storage.store, self.storage.feed, self._ledger
        reaper = Reaper(store, index, self._exact, ledger, feed, self.storage.audit, self._embedder, clock=self._clock)
        self._rebuild = Rebuild(store, index, self._embedder, ledger, clock=self._clock)
        sharing = Sharing(feed, index, self._exact, self._rebuild)
        self._purge_log.on_record(sharing.claimed)
        self._purge_log.on_record(reaper.heard)
        self._purge_log.on_applied(reaper.applied)
        await self._start(sharing)
        await self._start(reaper)
        return sharing, reaper

    def _wire(self, index: SemanticIndex, sharing: Sharing, reaper: Reaper, secret: bytes) -> Wiring:
        parts = Parts(
            storage=self.storage,
            exact=self._exact,
            ledger=self._ledger,
            fence=self._fence,
            index=index,
            embedder=self._embedder,
            local=self._local,
            upstream=self._upstream,
            upgrades=self._upgrades,
            book=self._book,
            tokens=self._tokens,
            purges=self._purge_log,
            reaper=reaper,
            sharing=sharing,
            metrics=self._metrics,
            accounts=self._accounts,
        )
        return Wiring(self._settings, parts, secret=secret, name=self._name, clock=self._clock, new_id=_new_id)

    async def _listen(self, wiring: Wiring, tls: ssl.SSLContext | None) -> None:
        admin = Admin(
            self._book,
            self._tokens,
            self.storage.store,
            self.storage.audit,
            self._ledger,
            wiring.calls,
            self._metrics,
            readiness=self._readiness,
            statistics=self._statistics,
            outcomes=wiring.fills.outcomes.get,
        )
        host, port = address(self._settings.listen.traffic)
        admin_host, admin_port = address(self._settings.listen.admin)
        limits = self._settings.limits
        patience = Patience(limits.head, limits.body_idle, limits.write_idle)
        self.traffic = Listener(host, port, wiring.proxy.handle, tls, drain=self._settings.drain, patience=patience)
        self.admin = Listener(admin_host, admin_port, admin.handle, tls, drain=1.0, patience=patience)
        await self._start(self.admin)
        await self._start(self.traffic)
        self._stack.push_async_callback(wiring.proxy.sockets.close)  # a listener that stops hears no goodbyes

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

    # --- what can be seen of it -------------------------------------------------------------------------------------

    def _watch(self, index: SemanticIndex, wiring: Wiring, reaper: Reaper) -> None:
        self._open_parts = {
            "exact": self._exact,
            "index": index,
            "rendered": wiring.rendered,
            "flights": wiring.fills.flights,
            "reaper": reaper,
            "ledger": self._ledger,
            "purges": self._purge_log,
            "storage": self.storage,
            "accounts": self._accounts,
            "websockets": wiring.proxy.sockets,
            "embedding": self._embedder,
            **({"local": self._local} if self._local is not None else {}),
            **({"upstream": self._upstream} if self._upstream is not None else {}),
            **({"documents": wiring.document_fills.flights} if wiring.document_fills is not None else {}),
            **({"embeddings": wiring.embeddings.calls} if wiring.embeddings is not None else {}),
        }
        self._metrics.account(self._accounts.routes, self._accounts.limited)
        self._metrics.watch(
            {
                "exact_bytes": lambda: self._exact.statistics().bytes,
                "exact_items": lambda: self._exact.statistics().items,
                "index_bytes": lambda: index.statistics().bytes,
                "index_vectors": lambda: index.statistics().vectors,
                "flights": lambda: wiring.fills.flights.statistics().flying,
                "websockets": lambda: wiring.proxy.sockets.statistics().open,
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
