"""How many entries each purge hit, for the audit log. Best effort, and never too many: what nobody freed (because it
was replaced, say) is not counted.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping

from edgecache.core.entry import Entry
from edgecache.core.ledger import Ledger
from edgecache.core.purges import Effect, Logged
from edgecache.core.tags import Kind, Tag
from edgecache.core.tombstones import Tombstones

KNOWN = 65_536
"""Purges whose ids are remembered: hits of older ones are not counted."""
SOFT = 1_024
"""Soft purges that wait for this node's own order to be known, and for the pass that counts them."""


class Hits:
    """Entries by the id of the purge that hit them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ids: OrderedDict[int, str] = OrderedDict()
        self._heard: OrderedDict[str, Logged] = OrderedDict()
        self._due: deque[Logged] = deque(maxlen=SOFT)
        self._counts: Counter[str] = Counter()

    def heard(self, logged: Logged) -> None:
        """A record took effect. With another log sequences begin anew, and what is remembered of them gives way."""
        if logged.record is None or logged.record.effect is Effect.CLAIM:
            return
        self._ids[logged.sequence] = logged.record.id
        if logged.record.effect is Effect.SOFT:
            self._heard[logged.record.id] = logged
        while len(self._ids) > KNOWN:
            self._ids.popitem(last=False)
        while len(self._heard) > SOFT:
            self._heard.popitem(last=False)

    def ordered(self, record_id: str) -> None:
        """This node gave this order. What it makes stale stays, for every node to see: one has to count it."""
        logged = self._heard.pop(record_id, None)
        if logged is not None:
            self._due.append(logged)

    def killed(self, entry: Entry, killer: Tag) -> None:
        """`entry` is gone because of `killer`. A floor that no single purge stands for counts for none."""
        name = killer.value if killer.kind is Kind.MEANING else self._purge(entry, killer)
        if name and (name in self._counts or len(self._counts) < KNOWN):
            self._counts[name] += 1

    def _purge(self, entry: Entry, killer: Tag) -> str | None:
        sequence = self._ledger.last_purge(killer)
        after = entry.horizon.log == self._ledger.log and sequence > entry.horizon.sequence
        return self._ids.get(sequence) if after else None

    def begin(self) -> "Softened | None":
        """For one pass over all entries, by which what is due is counted; None where nothing is."""
        return Softened(tuple(self._due)) if self._due else None

    def end(self, softened: "Softened") -> None:
        """The pass went to its end."""
        self._counts.update(softened.counts)
        done = {order.sequence for order in softened.orders}
        self._due = deque((order for order in self._due if order.sequence not in done), SOFT)

    def take(self) -> Mapping[str, int]:
        """All that was counted, to be written now."""
        counts, self._counts = self._counts, Counter()
        return counts

    def give_back(self, counts: Mapping[str, int]) -> None:
        """They could not be written; the least are left out when there are too many."""
        self._counts.update(counts)
        self._counts = Counter(dict(self._counts.most_common(KNOWN)))

    def __repr__(self) -> str:
        return f"<Hits of {len(self._counts)} purges to be written, {len(self._due)} soft ones to be counted>"


class Softened:
    """What soft purges made stale, counted in one pass. What several of them name counts for one."""

    def __init__(self, orders: tuple[Logged, ...]) -> None:
        self.orders = orders
        self.counts: Counter[str] = Counter()
        self._ids: dict[int, str] = {}
        self._named = Tombstones(sum(len(order.record.tags) for order in orders if order.record is not None))
        for order in sorted(orders, key=lambda order: order.sequence):
            if order.record is not None:
                self._ids[order.sequence] = order.record.id
                self._named.put(order.record.tags, order.sequence)

    def see(self, entry: Entry) -> None:
        """A living entry."""
        tag = self._named.newer(entry.tags, entry.horizon.sequence)
        name = self._ids.get(self._named.exact(tag)) if tag is not None else None
        if name is not None:
            self.counts[name] += 1
