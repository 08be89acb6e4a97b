"""How long this node may serve from cache without hearing from the log again."""

from math import isinf

from edgecache.core.ports import Heard

MARGIN = 1.05
"""Clocks of two nodes may run apart by so much while one waits for the other's lease to run out."""
NEVER = float("-inf")


class Lease:
    """Counted from when a read was *sent*, never from its receipt: a reply that was long on its way proves what was
    true when the server wrote it, and that was after the sending and before everything appended later. So whoever
    appends a purge at monotonic time A knows that a node that has not applied it is blind `length` seconds after A.

    A reply that brought records counts from the sending of the reply *before* it. Others strike a node off the roll
    when it stands there at one sequence a whole lease after a purge that it lacks; and a read that brings this purge
    leaves the node at that sequence until the next read. Counted from before the purge, the node has no lease any
    more when it is struck, however late the strike arrives; and the next read puts it on the roll again.
    """

    def __init__(self) -> None:
        self._proof = NEVER
        self._sent = NEVER

    def heard(self, heard: Heard) -> None:
        """Call this when the records that came with it are applied."""
        self._proof = max(self._proof, self._sent if heard.records else heard.sent)
        self._sent = heard.sent

    def end(self) -> None:
        """Nothing that was heard holds any more."""
        self._proof = self._sent = NEVER

    def left(self, now: float, length: float) -> float:
        """Seconds; below 0 the node is blind. One that lasts for ever needs no proof."""
        return length if isinf(length) else self._proof + length - now

    def __repr__(self) -> str:
        return f"<Lease proof={self._proof:.3f}>"
