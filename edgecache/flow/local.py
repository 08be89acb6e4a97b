"""The local model's answer in the words of the dialect it was asked in."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from edgecache.core.generation import Finished, Piece
from edgecache.core.reply import Begin, Closing, Delta, Finish, TextDelta, Usage
from edgecache.wire import sse
from edgecache.wire.dialect import Dialect, Request
from edgecache.wire.steps import Gatherer


async def steps(
    begin: Begin, first: Piece | Finished, events: AsyncGenerator[Piece | Finished, None]
) -> AsyncGenerator[Delta, None]:
    """The answer as it is made; `first` was waited for already."""
    yield begin
    async with aclosing(events):
        event: Piece | Finished = first
        while isinstance(event, Piece):
            yield TextDelta(text=event.text)
            event = await anext(events)
        yield Finish(finish=event.reason)
        yield Closing(usage=Usage(prompt=event.prompt_tokens, completion=event.completion_tokens))


async def told(steps: AsyncGenerator[Delta, None], dialect: Dialect, request: Request) -> AsyncIterator[bytes]:
    """As a stream of events, or as one body when it is whole."""
    gathered, writer = Gatherer(), dialect.writer(request)
    async with aclosing(steps):
        async for step in steps:
            if not request.stream:
                gathered.feed(step)
            else:
                for event in sse.events(writer.feed(step)):
                    yield event
    if not request.stream:
        yield dialect.tell(gathered.reply(), request)
