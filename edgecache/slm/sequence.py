"""One answer as it grows."""

from collections.abc import Callable

from edgecache.core.generation import Finished, Piece, Prompt, Sampling
from edgecache.errors import EdgecacheError
from edgecache.slm.sampling import Floats, choose, seeded
from edgecache.slm.text import TextStream

Event = Piece | Finished | EdgecacheError
Emit = Callable[[Event], None]


class Job:
    """A question, where its events go, and whether anybody still wants them."""

    def __init__(self, prompt: Prompt, emit: Emit) -> None:
        self.prompt = prompt
        self.emit = emit
        self.cancelled = False

    def __repr__(self) -> str:
        return f"<Job turns={len(self.prompt.turns)} cancelled={self.cancelled}>"


class Sequence:
    """State of one generation, told the logits of each step.

    `length` counts the tokens whose keys and values are in the row; `token` is the next one to take in.
    """

    def __init__(self, job: Job, ids: list[int], context: int, stops: frozenset[int]) -> None:
        sampling = job.prompt.sampling
        self.job = job
        self.ids = ids
        self.length = 0
        self.token = -1
        self.produced = 0
        self._limit = _limit(sampling, context - len(ids))
        self._stops = stops
        self._sampling = sampling
        self._draws = seeded(sampling.seed)
        self._text = TextStream(sampling.stop)

    def __repr__(self) -> str:
        return f"<Sequence prompt={len(self.ids)} length={self.length} produced={self.produced} limit={self._limit}>"

    @property
    def unread(self) -> int:
        """Tokens of the prompt that the row does not hold yet."""
        return max(len(self.ids) - self.length, 0)

    def accept(self, logits: Floats, spell: Callable[[int], bytes]) -> bool:
        """Choose the next token and tell the job what it adds; whether the answer goes on."""
        if self._limit <= 0:
            return self._finish("length")
        self.token = choose(logits, self._sampling.temperature, self._sampling.top_p, self._draws.random())
        self.produced += 1
        if self.token in self._stops:
            return self._finish("stop")
        self._say(self._text.feed(spell(self.token)))
        if self._text.stopped:
            return self._finish("stop")
        return self.produced < self._limit or self._finish("length")

    def _finish(self, reason: str) -> bool:
        self._say(self._text.finish())
        self.job.emit(Finished(reason, len(self.ids), self.produced))
        return False

    def _say(self, text: str) -> None:
        if text:
            self.job.emit(Piece(text))


def _limit(sampling: Sampling, room: int) -> int:
    """The first token of an answer comes with the last of the prompt, so `room` is never less than one."""
    return room if sampling.max_tokens is None else min(sampling.max_tokens, room)
