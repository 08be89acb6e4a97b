"""The local model against llama.cpp: one greedy stream on the same file with the same number of threads."""

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import xllamacpp

from edgecache.core.generation import Finished, Prompt, Sampling, Turn
from edgecache.models import SMOLLM2, Bars, default_cache, fetch, prepare
from edgecache.slm import VERSION, LocalModel, build

_QUESTION = "Tell me a long story about a fox."
_TOKENS = 128
_THREADS = 2
_STREAMS = 8

Figure = dict[str, object]


def measure(repeats: int) -> list[Figure]:
    """Both in turns, A B A B, so that what else the machine does falls on both; a ratio per turn.

    Each side is timed from the question to the last token, so that reading the prompt (39 tokens) counts. llama.cpp is
    called in the process through its own server object, without HTTP.
    """
    cache = default_cache(os.environ)
    with Bars() as progress:
        source = fetch(SMOLLM2, cache, progress)
        folder = prepare(source, cache, SMOLLM2.name, VERSION, build, progress)
    return asyncio.run(_compare(source / "model.gguf", folder, repeats))


async def _compare(source: Path, folder: Path, repeats: int) -> list[Figure]:
    other = await asyncio.to_thread(_llamacpp, source)
    model = LocalModel(SMOLLM2.name, lambda: folder, threads=_THREADS)
    await model.open()
    await _ours(model)
    await asyncio.to_thread(other)
    pairs = [(await _ours(model), await asyncio.to_thread(other)) for _ in range(repeats)]
    batched = [await _together(model) for _ in range(3)]
    load = model.statistics().load_seconds or 0.0
    await model.close()
    return [
        _figure("slm_vs_llamacpp", [ours / theirs for ours, theirs in pairs], "ratio", ">= 1.0"),
        _figure("slm_tokens_per_second", [ours for ours, _ in pairs], "1/s"),
        _figure("llamacpp_tokens_per_second", [theirs for _, theirs in pairs], "1/s"),
        _figure(f"slm_tokens_per_second_of_{_STREAMS}_streams", batched, "1/s"),
        _figure("slm_load_seconds", [load], "s"),
    ]


def _figure(name: str, values: list[float], unit: str, goal: str = "") -> Figure:
    rounded = [round(value, 3) for value in (statistics.median(values), min(values), max(values))]
    return {"name": name, "value": rounded[0], "unit": unit, "spread": rounded[1:], "goal": goal}


async def _together(model: LocalModel) -> float:
    """Tokens per second of all streams at once."""
    started = time.perf_counter()
    tokens = [await answer for answer in asyncio.as_completed([_answer(model) for _ in range(_STREAMS)])]
    return sum(tokens) / (time.perf_counter() - started)


async def _ours(model: LocalModel) -> float:
    """Tokens per second of one answer."""
    started = time.perf_counter()
    return await _answer(model) / (time.perf_counter() - started)


async def _answer(model: LocalModel) -> int:
    prompt = Prompt((Turn("user", _QUESTION),), Sampling(max_tokens=_TOKENS))
    events = [event async for event in model.generate(prompt)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    return finished.completion_tokens


def _llamacpp(source: Path) -> Callable[[], float]:
    """A call that gives llama.cpp's tokens per second for one answer."""
    params = xllamacpp.CommonParams()
    params.model.path = str(source)
    params.n_ctx = 2_048
    params.n_parallel = 1
    params.verbosity = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _THREADS
    server = xllamacpp.Server(params)

    def answer() -> float:
        question = {"messages": [{"role": "user", "content": _QUESTION}], "max_tokens": _TOKENS, "temperature": 0}
        started = time.perf_counter()
        reply = server.handle_chat_completions(question | {"cache_prompt": False})
        tokens: int = reply["usage"]["completion_tokens"]
        return tokens / (time.perf_counter() - started)

    return answer
