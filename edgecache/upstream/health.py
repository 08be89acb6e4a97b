"""Asking a target now and then whether it is well, where its settings name a path for that."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from edgecache.upstream.member import Member

UNWELL: Final = frozenset({401, 403, 429})
"""Besides the errors of a server: its key is refused, or may not ask for more."""

logger = logging.getLogger(__name__)


async def watch(member: Member, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """For ever. Tells the log when what is known changes."""
    path, seconds = member.target.health, member.target.health_interval
    while True:
        status = await member.client.probe(path, seconds)
        healthy = status is not None and status < 500 and status not in UNWELL
        if healthy != member.healthy:
            member.healthy = healthy
            said = "does not answer" if status is None else f"answers {status}"
            level = logging.INFO if healthy else logging.WARNING
            last = "" if healthy else ", and is asked last until it is well"
            logger.log(level, "upstream %s: its health path %s %s%s", member.target.name, path, said, last)
        await sleep(seconds)
