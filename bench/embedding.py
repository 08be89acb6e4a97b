"""How long a text takes to become a vector, through the port, in milliseconds.

A figure is the median over `repeats` rounds, its spread the fastest and the slowest round; a round is the median of
its calls. Calls include tokenising and the way to the worker thread and back.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from edgecache.embedding import VERSION, OnnxEmbedder, build
from edgecache.models import MINILM, Silent, default_cache, fetch, prepare

_CALLS = 20
_AT_ONCE = 16

Figure = dict[str, object]
Call = Callable[[], Awaitable[object]]


def measure(repeats: int) -> list[Figure]:
    """The figures of `python -m bench embedding`."""
    _prepare()  # so that what is measured is the second start
    return asyncio.run(_measure(repeats))


def _prepare() -> Path:
    cache = default_cache(os.environ)
    return prepare(fetch(MINILM, cache, Silent()), cache, MINILM.name, VERSION, build, Silent())


async def _measure(repeats: int) -> list[Figure]:
    figures = [await _figure("embedding_open", _opened_and_closed, repeats, calls=1)]
    embedder = OnnxEmbedder(_prepare)
    await embedder.open()
    for tokens in (3, 12, 128):
        figures.append(await _figure(f"embed_{tokens}_tokens", partial(embedder.embed, _text(tokens)), repeats))
    texts = [_text(11) + f" {letter}" for letter in "abcdefghijklmnop"]

    async def at_once() -> None:
        await asyncio.gather(*map(embedder.embed, texts))

    figures.append(await _figure("embed_12_tokens_of_16_at_once", at_once, repeats, share=_AT_ONCE))
    await embedder.close()
    return figures


async def _opened_and_closed() -> None:
    embedder = OnnxEmbedder(_prepare)
    await embedder.open()
    await embedder.close()


def _text(tokens: int) -> str:
    """Of so many word pieces, the two special ones included."""
    return " ".join(["word"] * (tokens - 2))


async def _figure(name: str, call: Call, repeats: int, calls: int = _CALLS, share: int = 1) -> Figure:
    await call()
    rounds = [statistics.median([await _time(call) / share for _ in range(calls)]) for _ in range(repeats)]
    value, low, high = (round(at(rounds), 3) for at in (statistics.median, min, max))
    return {"name": name, "value": value, "unit": "ms", "spread": [low, high], "goal": ""}


async def _time(call: Call) -> float:
    start = time.perf_counter()
    await call()
    return (time.perf_counter() - start) * 1_000
