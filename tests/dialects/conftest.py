"""One node for all exchanges of a dialect; no test may block its event loop."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which the event loop was blocked."""
    with blockbuster_ctx("edgecache") as found:
        yield found
