"""Tokens to text, as it may be shown: whole characters only, and nothing that may turn out to be a stop string."""

import codecs
import re
from collections.abc import Sequence
from functools import cache

from tokenizers import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Spelling:
    """Token id -> bytes. Control tokens are spelt as nothing."""

    def __init__(self, tokenizer: Tokenizer, *, byte_level: bool) -> None:
        self._tokenizer = tokenizer
        self._byte_level = byte_level
        self._added = tokenizer.get_added_tokens_decoder()

    def __repr__(self) -> str:
        return f"<Spelling byte_level={self._byte_level} added={len(self._added)}>"

    def __call__(self, token: int) -> bytes:
        """The bytes of `token`; an id that the vocabulary lacks has none."""
        added = self._added.get(token)
        if added is not None:
            return b"" if added.special else added.content.encode()
        text = self._tokenizer.id_to_token(token) or ""
        if self._byte_level:
            return b"".join(byte_alphabet().get(character) or character.encode() for character in text)
        byte = _BYTE.fullmatch(text)
        return bytes.fromhex(byte[1]) if byte else text.replace("▁", " ").encode()


@cache
def byte_alphabet() -> dict[str, bytes]:
    """The characters by which byte-level vocabularies write bytes (`bytes_to_unicode` of GPT-2)."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in kept]
    written = {chr(byte): bytes([byte]) for byte in kept}
    return written | {chr(256 + place): bytes([byte]) for place, byte in enumerate(others)}


class TextStream:
    """Bytes in, text out. `stopped` once a stop string was completed; it and what follows never come out."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def __repr__(self) -> str:
        return f"<TextStream stopped={self.stopped} held={self._held!r}>"

    def feed(self, piece: bytes) -> str:
        """Text that may be shown now."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(piece)
        found = [place for place in map(self._held.find, self._stops) if place >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - self._growing())

    def finish(self) -> str:
        """What was held back for a stop string that did not come. Half a character is dropped."""
        return "" if self.stopped else self._release(len(self._held))

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _growing(self) -> int:
        """Length of the longest end of the held text with which a stop string begins."""
        longest = max(map(len, self._stops), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0
