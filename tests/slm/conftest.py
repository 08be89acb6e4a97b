"""Models of the slm tests: a tiny one that they write, and the real one from the cache folder."""

import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from tiny_llama import write_tiny

from edgecache.models import SMOLLM2, Silent, default_cache, fetch, prepare
from edgecache.slm import VERSION, LocalModel, Recipe, build

EXACT = Recipe(accuracy=0)
"""Float32 products: how many rows are computed at once changes the last bits only."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, converted."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "built").mkdir()
    build(write_tiny(folder / "tiny.gguf"), folder / "built", Silent(), EXACT)
    return folder / "built"


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real model as users get it; fetched and converted once per machine."""
    cache = default_cache(os.environ)
    return prepare(fetch(SMOLLM2, cache, Silent()), cache, SMOLLM2.name, VERSION, build, Silent())


@pytest.fixture
async def opened() -> AsyncGenerator[Callable[..., LocalModel], None]:
    """Makes models and closes them at the end."""
    models: list[LocalModel] = []

    def make(folder: Path, **options: int) -> LocalModel:
        models.append(LocalModel("tiny", lambda: folder, **options))
        return models[-1]

    yield make
    for model in models:
        await model.close()
