"""One node's side of a log of purges."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from edgecache.core.ledger import Ledger
from edgecache.purge.log import PurgeLog


@dataclass
class Side:
    """One node's side of the log."""

    storage: Any
    ledger: Ledger
    log: PurgeLog


Begin = Callable[..., Awaitable[Side]]


async def end(side: Side) -> None:
    await side.log.close()
    await side.storage.close()
