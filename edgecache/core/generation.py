"""What the local model is asked, and what it answers."""

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """One message of the conversation as text."""

    role: str
    content: str


class Sampling(msgspec.Struct, frozen=True):
    """How tokens are chosen. `temperature` 0 is greedy; `max_tokens` None means up to the end of the context."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


class Prompt(msgspec.Struct, frozen=True):
    """A conversation to be continued by the assistant."""

    turns: tuple[Turn, ...]
    sampling: Sampling = Sampling()


class Piece(msgspec.Struct, frozen=True):
    """The next piece of text, whole characters only."""

    text: str


class Finished(msgspec.Struct, frozen=True):
    """The last event of a generation. `reason` is `stop` or `length`."""

    reason: str
    prompt_tokens: int
    completion_tokens: int
