"""The news of a node that shares its store with nobody."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from edgecache.core.ports import News


class SilentFeed:
    """The port `Feed`: there are no others, so nothing is told and nothing is heard."""

    def __repr__(self) -> str:
        return "<SilentFeed>"

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def tell(self, news: Sequence[News]) -> None:
        return None

    async def follow(self) -> AsyncIterator[Sequence[News] | None]:
        """Waits until it is cancelled."""
        await asyncio.Event().wait()
        yield None  # never reached; makes this a generator
