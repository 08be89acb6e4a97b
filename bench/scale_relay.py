"""The relay of the log from home to another region: a half beside each Redis, one connection between them."""

import random
from collections.abc import Callable

from bench.scale_network import Agenda, Link, Path
from bench.scale_region import BLOCK, Region

BESIDE = 0.0005
"""Seconds from a half of the relay to the Redis beside it, one way."""
RETRY = 1.0
"""Most seconds after the end of a cut until it is noticed; after it, one and a half round trips to connect."""


class Relay:
    """`reads` is how many batches may be under way: None for a stream, 1 for a blocking read across the ocean.

    A mark is sent only when the one before it is known to be in the regional log; `marked` is when home sent the
    newest.
    """

    def __init__(
        self,
        agenda: Agenda,
        dice: random.Random,
        path: Path,
        region: Region,
        newest: Callable[[], int],
        reads: int | None,
    ) -> None:
        self._agenda, self._random, self._rtt = agenda, dice, path.rtt
        self._out, self._back = Link(agenda, dice, path), Link(agenda, dice, path)
        self.region, self._newest, self._reads = region, newest, reads
        self._free = self._reads
        self._sent = self._sent_mark = 0
        self._mark_due: float = 0.0
        self.marked = 0.0
        self._beside, self._last_written = BESIDE, 0.0
        self._began = 0.0
        self.on_all_applied: Callable[[Region, int], None] = lambda *_: None
        region.on_all_applied = self._roll_up

    def wake(self) -> None:
        """Home's log has something new, or a mark is due."""
        due = self._agenda.now >= self._mark_due
        if self._free == 0 or not (due or self._newest() > self._sent):
            return
        if self._free is not None:
            self._free -= 1
        self._sent = self._newest()
        mark = 0
        if due or self._reads == 1:
            mark = self._sent_mark = self._sent_mark + 1
            self._mark_due, self.marked = float("inf"), self._agenda.now
        self._out.send(self._agenda.now, self._arrived, self._sent, mark)

    def cut(self) -> None:
        self._out.cut()
        self._back.cut()

    def heal(self) -> None:
        noticed = self._agenda.now + self._random.uniform(0, RETRY)
        self._agenda.at(noticed + 1.5 * self._rtt, self._resume)

    def slow(self, seconds: float) -> None:
        """What the half in the region writes from now on reaches the Redis beside it that much later."""
        self._beside = BESIDE + seconds

    def _resume(self) -> None:
        """From what the regional log holds, marks included."""
        self._out.reconnect()
        self._back.reconnect()
        self._free, self._sent, self._sent_mark = self._reads, self.region.sequence, self.region.mark
        self._mark_due = 0.0
        self.wake()

    def _arrived(self, sequence: int, mark: int) -> None:
        age = self._agenda.now - self._began
        written = self._last_written = max(self._last_written, self._agenda.now + self._beside)
        self._agenda.at(written, self.region.append, sequence, mark, age)
        self._agenda.at(written + BESIDE, self._written, mark)

    def _written(self, mark: int) -> None:
        if mark:
            self._began = self._agenda.now
            self._back.send(self._agenda.now, self._known, mark)

    def _known(self, mark: int) -> None:
        """The region has it: the next mark may follow, at the pace of a blocking read."""
        if self._free is not None:
            self._free += 1
        if mark == self._sent_mark:
            self._mark_due = self._agenda.now + BLOCK if self._reads else max(self._agenda.now, self.marked + BLOCK)
            self._agenda.at(self._mark_due, self.wake)
        self.wake()

    def _roll_up(self, region: Region, sequence: int) -> None:
        self._back.send(self._agenda.now + BESIDE, self.on_all_applied, region, sequence)
