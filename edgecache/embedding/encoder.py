"""What a backend has to do; batching, cancelling and closing are done for it by `BatchingEmbedder`."""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

LONGEST_PIECE: Final = 100
"""Characters of a text per word piece, at most: WordPiece knows no longer words. What is longer, for its limit of
pieces, is too long for the model (or white space), and need not be split to know it."""


class Row(msgspec.Struct, frozen=True):
    """A text that the model can read as a whole, and the ids of its word pieces, special ones included."""

    text: str
    pieces: tuple[int, ...]


class Encoder(Protocol):
    """A loaded model. Called from one worker thread only."""

    @property
    def identity(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def longest(self) -> int:
        """In characters: longer texts are not given to `read`."""

    def read(self, text: str) -> Row | None:
        """None where the model cannot read all of the text."""

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        """A unit vector for each row, in order: little-endian float32, `4 * dimensions` bytes."""
