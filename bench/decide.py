"""How often a semantic hit is the right answer, and how many of the right ones are found: with the gate and without.

Labelled pairs of questions, split by question into two halves that share none: the threshold of the shipped policy was
chosen on the first (`TUNED`), the figures are those of the second. The labels are those of the data, noise included;
the interval is Wilson's, for 95 %. PAWS-X is another kind of text: the same words with another meaning.
"""

import asyncio
import gzip
import hashlib
import importlib.resources
import json
import math
import os
import statistics
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgecache.decide import Decider, compare
from edgecache.decide.features import Features, features
from edgecache.decide.gate import compare_features
from edgecache.embedding import VERSION, OnnxEmbedder, build
from edgecache.models import MINILM, Silent, default_cache, fetch, prepare

TUNED, REPORTED = 0, 1
_QUESTION_PAIRS = 6_000
_TIMED = 2_000
_Z = 1.96

Figure = dict[str, object]


class Pair(NamedTuple):
    """Two texts, and whether they mean the same."""

    one: str
    other: str
    same: bool


class Judged(NamedTuple):
    """A pair with what was decided: the cosine, and whether the gate is silent."""

    similarity: float
    silent: bool
    same: bool


def measure(repeats: int, half: int = REPORTED) -> list[Figure]:
    """The figures of `python -m bench decide`."""
    threshold = _shipped_threshold()
    data = Path(os.environ.get("EDGECACHE_DATA", "../shared/data"))
    questions = list(_half(_questions(data), half))[:_QUESTION_PAIRS]
    sentences = list(_sentences(data))
    judged = asyncio.run(_judge([*questions, *sentences]))
    return [
        *_accuracy("qqp", judged[: len(questions)], threshold),
        *_accepted("pawsx", judged[len(questions) :], threshold),
        *_costs(questions[:_TIMED], repeats),
    ]


def _shipped_threshold() -> float:
    """That of the semantic route in the policy that travels with the package."""
    text = (importlib.resources.files("edgecache") / "data" / "default.toml").read_text(encoding="utf-8")
    return next(float(route["threshold"]) for route in _tables(tomllib.loads(text)) if "threshold" in route)


def _tables(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A table and all tables in it."""
    yield table
    for value in table.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from _tables(inner)


def _questions(data: Path) -> Iterator[Pair]:
    with gzip.open(data / "qqp" / "pairs.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            yield Pair(pair["a"], pair["b"], bool(pair["label"]))


def _sentences(data: Path) -> Iterator[Pair]:
    for line in (data / "pawsx" / "en.tsv").read_text(encoding="utf-8").splitlines():
        one, other, label = line.split("\t")
        if label in ("0", "1"):
            yield Pair(one, other, label == "1")


def _half(pairs: Iterable[Pair], half: int) -> Iterator[Pair]:
    """Pairs joined by a question, however far, stay together."""
    pairs = list(pairs)
    parents: dict[str, str] = {}

    def root(text: str) -> str:
        while parents.setdefault(text, text) != text:
            parents[text] = parents[parents[text]]
            text = parents[text]
        return text

    for pair in pairs:
        parents[root(pair.one)] = root(pair.other)
    names: dict[str, str] = {}
    for text in parents:
        names[root(text)] = min(names.get(root(text), text), text)
    return (pair for pair in pairs if hashlib.sha256(names[root(pair.one)].encode()).digest()[-1] % 2 == half)


async def _judge(pairs: Sequence[Pair]) -> list[Judged]:
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.one, pair.other)))
    vectors = dict(zip(texts, await _embed(texts), strict=True))
    return [
        Judged(float(vectors[pair.one] @ vectors[pair.other]), not compare(pair.one, pair.other), pair.same)
        for pair in pairs
    ]


async def _embed(texts: Sequence[str]) -> list[np.ndarray]:
    cache = default_cache(os.environ)
    source = fetch(MINILM, cache, Silent())
    embedder = OnnxEmbedder(lambda: prepare(source, cache, MINILM.name, VERSION, build, Silent()), threads=2)
    await embedder.open()
    try:
        vectors = await asyncio.gather(*map(embedder.embed, texts))
    finally:
        await embedder.close()
    return [np.frombuffer(vector or bytes(1_536), "<f4") for vector in vectors]


def _accuracy(name: str, judged: Sequence[Judged], threshold: float) -> Iterator[Figure]:
    same = sum(pair.same for pair in judged)
    proposed = [pair for pair in judged if pair.similarity >= threshold]
    for suffix, hits in (("", [pair for pair in proposed if pair.silent]), ("_without_gate", proposed)):
        right = sum(pair.same for pair in hits)
        yield _share(f"{name}_precision{suffix}", right, len(hits))
        yield _share(f"{name}_recall{suffix}", right, same)


def _accepted(name: str, judged: Sequence[Judged], threshold: float) -> Iterator[Figure]:
    """PAWS-X has no precision worth stating: its share of negatives is an accident of how it was made."""
    for label, kind in ((False, "negatives"), (True, "positives")):
        of_kind = [pair for pair in judged if pair.same == label]
        proposed = [pair for pair in of_kind if pair.similarity >= threshold]
        yield _share(f"{name}_{kind}_accepted", sum(pair.silent for pair in proposed), len(of_kind))
        yield _share(f"{name}_{kind}_accepted_without_gate", len(proposed), len(of_kind))


def _share(name: str, part: int, whole: int) -> Figure:
    share = part / whole
    middle = (share + _Z**2 / (2 * whole)) / (1 + _Z**2 / whole)
    reach = _Z * math.sqrt(share * (1 - share) / whole + _Z**2 / (4 * whole**2)) / (1 + _Z**2 / whole)
    spread = [round(middle - reach, 3), round(middle + reach, 3)]
    return {"name": name, "value": round(share, 3), "unit": "share", "spread": spread, "goal": ""}


def _costs(pairs: Sequence[Pair], repeats: int) -> Iterator[Figure]:
    """Microseconds for a decision on two new texts, for one text to be read, for two read ones to be compared."""
    texts = [text for pair in pairs for text in (pair.one, pair.other)]
    yield _cost("decide_new_pair", lambda: _decide(Decider(), pairs), len(pairs), repeats)
    yield _cost("read_text", lambda: _read(texts), len(texts), repeats)
    read = [(features(pair.one), features(pair.other)) for pair in pairs]
    yield _cost("compare_read_texts", lambda: _compare(read), len(pairs), repeats)


def _decide(decider: Decider, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        decider.decide(pair.one, pair.other, similarity=1.0, threshold=0.5)


def _read(texts: Sequence[str]) -> None:
    for text in texts:
        features(text)


def _compare(read: Sequence[tuple[Features, Features]]) -> None:
    for one, other in read:
        compare_features(one, other)


def _cost(name: str, work: Callable[[], None], calls: int, repeats: int) -> Figure:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) / calls * 1e6)
    value, low, high = (round(at(times), 1) for at in (statistics.median, min, max))
    return {"name": name, "value": value, "unit": "us", "spread": [low, high], "goal": ""}
