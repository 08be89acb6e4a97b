"""Text -> word pieces, all of them or none."""

from pathlib import Path

from tokenizers import Tokenizer


class Tokens:
    """The tokenizer of a model that reads at most `limit` word pieces, special ones included. For one thread."""

    def __init__(self, path: Path, limit: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit = limit

    def __repr__(self) -> str:
        return f"<Tokens limit={self._limit}>"

    def read(self, text: str) -> tuple[int, ...] | None:
        """The ids of the text's pieces, or None where the model cannot read all of them.

        `encode_batch_fast` lets other threads run meanwhile, which `encode` does not.
        """
        (encoding,) = self._tokenizer.encode_batch_fast([text])
        return tuple(encoding.ids) if len(encoding.ids) <= self._limit else None
