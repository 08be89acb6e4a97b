"""Vectors that are searched exactly, kept in blocks that are only ever appended to.

Why a search in a worker thread is safe while the event loop writes: a block's rows are written once, beyond the row
count that any view was given before, and never again. What must change (a block that grows, one that is mostly dead)
becomes a new block; views keep the old one alive. The marks of dead rows do change, so each view has its own copy.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from edgecache.cache.arrays import Floats, Marks, Tickets, faiss

BLOCK_ROWS = 512
"""Growing or repacking a block copies at most half of this many rows on the event loop: below 0.1 ms."""


class BlockView(NamedTuple):
    """What a search may read: `vectors` (rows, dimensions), `tickets` (rows,), and which rows are alive (None: all)."""

    vectors: Floats
    tickets: Tickets
    alive: Marks | None

    def score(self, query: Floats, out: Floats) -> None:
        """Write each row's inner product with `query` (dimensions,) to `out` (rows,); dead rows get -inf.

        Releases the interpreter lock and uses one thread.
        """
        rows, dimensions = self.vectors.shape
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(out), faiss.swig_ptr(query), faiss.swig_ptr(self.vectors), dimensions, rows
        )
        if self.alive is not None:
            out[~self.alive] = -np.inf

    def living(self) -> "BlockView":
        """The same without its dead rows."""
        if self.alive is None:
            return self
        return BlockView(self.vectors[self.alive], self.tickets[self.alive], None)


class Block:
    """Room for `capacity` rows, of which the first `rows` are filled, in ascending order of their tickets."""

    __slots__ = ("_alive", "_tickets", "_vectors", "dead", "rows")

    def __init__(self, capacity: int, dimensions: int) -> None:
        self._vectors: Floats = np.empty((capacity, dimensions), np.float32)
        self._tickets: Tickets = np.empty(capacity, np.int64)
        self._alive: Marks | None = None
        self.rows = 0
        self.dead = 0

    @property
    def full(self) -> bool:
        return self.rows == len(self._tickets)

    @property
    def first(self) -> int:
        """The lowest ticket; the block must not be empty."""
        return int(self._tickets[0])

    @property
    def bytes(self) -> int:
        marks = 0 if self._alive is None else self._alive.nbytes
        return self._vectors.nbytes + self._tickets.nbytes + marks

    def append(self, ticket: int, vector: Floats) -> None:
        self._vectors[self.rows] = vector
        self._tickets[self.rows] = ticket
        self.rows += 1

    def kill(self, ticket: int) -> None:
        if self._alive is None:
            self._alive = np.ones(len(self._tickets), np.bool_)
        self._alive[np.searchsorted(self._tickets[: self.rows], ticket)] = False
        self.dead += 1

    def view(self) -> BlockView:
        alive = self._alive[: self.rows].copy() if self._alive is not None else None
        return BlockView(self._vectors[: self.rows], self._tickets[: self.rows], alive)

    def repacked(self, capacity: int) -> "Block":
        """A new block of `capacity` with the living rows of this one."""
        vectors, tickets, _ = self.view().living()
        block = Block(capacity, self._vectors.shape[1])
        block.rows = len(tickets)
        block._vectors[: block.rows] = vectors
        block._tickets[: block.rows] = tickets
        return block


class Flat:
    """Blocks in ascending order of tickets. Sealed blocks are being built into a graph: they change no more,
    except that rows die."""

    __slots__ = ("_blocks", "_dimensions", "_sealed", "bytes", "dead", "rows")

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[Block] = []
        self._sealed = 0
        self.rows = 0
        self.dead = 0
        self.bytes = 0

    @property
    def alive(self) -> int:
        return self.rows - self.dead

    def append(self, ticket: int, vector: Floats) -> None:
        """`ticket` is higher than all before."""
        if len(self._blocks) == self._sealed:
            self._insert(Block(1, self._dimensions))
        elif self._blocks[-1].full:
            self._extend(self._blocks[-1])
        self._blocks[-1].append(ticket, vector)
        self.rows += 1

    def kill(self, ticket: int) -> None:
        """Mark the row of `ticket`, which is here and alive, as dead; a block more than half dead is repacked."""
        place = bisect_right(self._blocks, ticket, key=lambda block: block.first) - 1
        block = self._blocks[place]
        before = block.bytes
        block.kill(ticket)
        self.bytes += block.bytes - before
        self.dead += 1
        if place >= self._sealed and 2 * block.dead > block.rows:
            self._repack(place)

    def views(self) -> list[BlockView]:
        return [block.view() for block in self._blocks]

    def seal(self) -> list[BlockView]:
        """Views of all rows; what is appended from here on goes to new blocks."""
        self._sealed = len(self._blocks)
        return self.views()

    def unseal(self) -> None:
        self._sealed = 0

    def drop_sealed(self) -> None:
        """Forget the sealed blocks: their rows are in a graph now."""
        for block in self._blocks[: self._sealed]:
            self._uncount(block)
        del self._blocks[: self._sealed]
        self._sealed = 0

    def _extend(self, block: Block) -> None:
        capacity = 2 * block.rows
        if capacity > BLOCK_ROWS:
            self._insert(Block(BLOCK_ROWS, self._dimensions))
        else:
            self._replace(len(self._blocks) - 1, block.repacked(capacity))

    def _repack(self, place: int) -> None:
        block = self._blocks[place]
        if block.dead == block.rows:
            self._uncount(self._blocks.pop(place))
        else:
            self._replace(place, block.repacked(block.rows - block.dead))

    def _insert(self, block: Block) -> None:
        self._blocks.append(block)
        self.bytes += block.bytes

    def _replace(self, place: int, block: Block) -> None:
        self._uncount(self._blocks[place])
        self._blocks[place] = block
        self.rows += block.rows
        self.bytes += block.bytes

    def _uncount(self, block: Block) -> None:
        self.rows -= block.rows
        self.dead -= block.dead
        self.bytes -= block.bytes
