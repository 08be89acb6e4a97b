"""A local model for tests: it answers at once, says what a test wants, and waits where a test says.

model = FakeModel("You asked: {}".format)
async with running_node(folder, local=model) as node:
    ...
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec

from edgecache.core.generation import Finished, Piece, Prompt
from edgecache.errors import ContextTooLong, RequestError


class FakeStatistics(msgspec.Struct, frozen=True):
    """Answers begun, and those that were not ended."""

    begun: int
    abandoned: int


class FakeModel:
    """Implements `Generator`. `reply` makes the answer from the last user text; it is said word by word, the second
    word once `barrier` is set. Prompts of more than `context` words are too long; `refuses` is raised for any.
    """

    name = "fake"
    ready = True

    def __init__(
        self,
        reply: Callable[[str], str] = "You asked: {}".format,
        *,
        barrier: asyncio.Event | None = None,
        context: int = 2_048,
        refuses: RequestError | None = None,
    ) -> None:
        self.prompts: list[Prompt] = []
        self.abandoned = 0
        self._reply = reply
        self._barrier = barrier
        self._context = context
        self._refuses = refuses

    def __repr__(self) -> str:
        return f"<FakeModel begun={len(self.prompts)} abandoned={self.abandoned}>"

    async def open(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Finished, None]:
        """A word each, then the end; stops after `max_tokens` words."""
        asked = sum(len(turn.content.split()) for turn in prompt.turns)
        if self._refuses is not None:
            raise self._refuses
        if asked > self._context:
            raise ContextTooLong(f"The prompt has {asked} tokens, this model reads {self._context}.", param="messages")
        self.prompts.append(prompt)
        words = self._reply(prompt.turns[-1].content).split(" ")
        said = words[: prompt.sampling.max_tokens]
        self.abandoned += 1
        for number, word in enumerate(said):
            if number and self._barrier is not None:
                await self._barrier.wait()
            yield Piece(word if number == 0 else f" {word}")
        self.abandoned -= 1
        yield Finished("stop" if said == words else "length", asked, len(said))

    def statistics(self) -> FakeStatistics:
        return FakeStatistics(len(self.prompts), self.abandoned)
