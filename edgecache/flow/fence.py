"""What may be done with a stored entry at this moment: the one question asked before any entry is used."""

from collections.abc import Callable

from edgecache.core.entry import Entry
from edgecache.core.freshness import Use, fresh_for, use
from edgecache.core.ledger import Ledger
from edgecache.core.policy import Route, WhenBlind
from edgecache.flow.tiers import Asked


class Fence:
    """`blind` says whether this node may have missed purges, `clock` is Unix time in seconds. To be asked after the
    last await, when the bytes are chosen: what it says holds until the next one.
    """

    def __init__(self, ledger: Ledger, *, blind: Callable[[], bool], clock: Callable[[], float]) -> None:
        self.ledger = ledger
        self.blind = blind
        self.clock = clock

    def may_serve(self, route: Route) -> bool:
        """Whether this route serves anything from cache now."""
        return route.when_blind is WhenBlind.SERVE_STALE or not self.blind()

    def use(self, entry: Entry, ask: Asked) -> Use:
        """NONE also for what is purged, of a source the route does not serve, or all there is on a blind node."""
        allowed = ask.route.serves(entry.source) and self.ledger.killer_of(entry) is None and self.may_serve(ask.route)
        return use(entry, ask.demands, self._softened(entry), self.clock()) if allowed else Use.NONE

    def is_fresh(self, entry: Entry, ask: Asked) -> bool:
        return self.use(entry, ask) is Use.FRESH

    def is_alive(self, entry: Entry) -> bool:
        """Whether it is worth keeping."""
        return entry.kept_until > self.clock() and self.ledger.killer_of(entry) is None

    def is_current(self, entry: Entry) -> bool:
        """Whether nobody has purged it, not even softly: what is made from it now is as good as it."""
        return self.is_alive(entry) and self._softened(entry) is None

    def fresh_for(self, entry: Entry) -> float:
        """Seconds; below 0 for a stale one."""
        return fresh_for(entry, self._softened(entry), self.clock())

    def _softened(self, entry: Entry) -> float | None:
        return self.ledger.softened(entry.tags, entry.horizon)

    def __repr__(self) -> str:
        return f"<Fence {self.ledger!r}{' blind' if self.blind() else ''}>"
