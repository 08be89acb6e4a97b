"""What the converted model's folder says about itself, beside graph and tokenizer."""

from pathlib import Path

import msgspec

from edgecache.errors import ModelSourceError

_FILE = "model.json"


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that the session and the scheduler need.

    `positions` is the longest sequence in tokens; `stops` are ids that end an answer; `starts` is put before every
    prompt (or None); `byte_level` tells the two ways of spelling tokens apart; `longest` is the length in characters of
    the longest token.
    """

    name: str
    layers: int
    kv_heads: int
    head_size: int
    vocabulary: int
    positions: int
    stops: tuple[int, ...]
    starts: int | None
    byte_level: bool
    longest: int
    template: str
    bos: str
    eos: str


def write(folder: Path, description: Description) -> None:
    """Beside the graph."""
    (folder / _FILE).write_bytes(msgspec.json.encode(description))


def read(folder: Path) -> Description:
    """What `write` wrote.

    Raises:
        ModelSourceError: it is not there or damaged.
    """
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Description)
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelSourceError(f"{folder} is not a converted model; remove it: {error}") from error
