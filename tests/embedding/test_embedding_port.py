"""The battery of the port `Embedder`, run against every backend."""

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest
from embedding_backends import Backend

from edgecache.embedding.batching import BatchingEmbedder
from edgecache.errors import EmbeddingUnavailable


def cosine(one: bytes | None, other: bytes | None) -> float:
    assert one is not None
    assert other is not None
    return float(np.frombuffer(one, "<f4") @ np.frombuffer(other, "<f4"))


async def test_each_text_alone_is_as_sentence_transformers_has_it(
    embedder: BatchingEmbedder, reference: dict[str, bytes]
) -> None:
    for text, vector in reference.items():
        assert cosine(await embedder.embed(text), vector) >= 0.9999, text
    assert embedder.statistics().batches == len(reference)


@pytest.mark.parametrize("seed", range(3))
async def test_batches_of_mixed_lengths_change_no_vector(
    embedder: BatchingEmbedder, reference: dict[str, bytes], seed: int
) -> None:
    texts = random.Random(seed).sample(sorted(reference), len(reference))
    vectors = await asyncio.gather(*map(embedder.embed, texts))
    for text, vector in zip(texts, vectors, strict=True):
        assert cosine(vector, reference[text]) >= 0.9999, text
    statistics = embedder.statistics()
    assert statistics.rows == len(texts)
    assert statistics.batches < len(texts) / 2
    assert statistics.padding > 0, "no batch mixed lengths"


async def test_a_vector_is_of_length_one_and_as_wide_as_said(embedder: BatchingEmbedder) -> None:
    vector = await embedder.embed("Why is the sky blue?")
    assert vector is not None
    assert len(vector) == 4 * embedder.dimensions == 4 * 384
    assert cosine(vector, vector) == pytest.approx(1, abs=1e-5)


async def test_meaning_is_nearer_than_words(embedder: BatchingEmbedder) -> None:
    question, same, other = await asyncio.gather(
        *map(embedder.embed, ["How do I reset my password?", "I forgot my login secret", "How do I reset my router?"])
    )
    assert cosine(question, same) > 0.4
    assert cosine(question, other) < 0.7


@pytest.mark.parametrize("words", ["word " * 254, "word " * 250 + "a, b c"])
async def test_the_model_reads_256_pieces(embedder: BatchingEmbedder, words: str) -> None:
    assert await embedder.embed(words) is not None


@pytest.mark.parametrize("words", ["word " * 255, "word " * 250 + "a, b, c", "word " * 10_000, "x" * 10_000_000])
async def test_a_longer_text_has_no_vector(embedder: BatchingEmbedder, words: str) -> None:
    assert await embedder.embed(words) is None
    assert embedder.statistics().unreadable == 1
    assert embedder.statistics().rows == 0


async def test_a_text_that_is_too_long_does_not_spoil_its_batch(
    embedder: BatchingEmbedder, reference: dict[str, bytes]
) -> None:
    texts = ["yes", "Thanks!", "word " * 300, "lone \ud800 surrogate", "Why is the sky blue?"]
    vectors = await asyncio.gather(*map(embedder.embed, texts))
    assert [vector is None for vector in vectors] == [False, False, True, True, False]
    assert cosine(vectors[4], reference[texts[4]]) >= 0.9999


async def test_identity_names_the_model_and_outlives_a_restart(backend: Backend) -> None:
    identities = set()
    for _ in range(2):
        embedder = backend.make()
        await embedder.open()
        identities.add(embedder.identity)
        await embedder.close()
    (identity,) = identities
    name, _, digest = identity.rpartition("@")
    assert name
    assert len(digest) == 16


async def test_nothing_is_there_before_open_nor_after_close(backend: Backend) -> None:
    embedder = backend.make()
    await embedder.close()
    for _ in range(2):
        with pytest.raises(EmbeddingUnavailable, match="not loaded"):
            await embedder.embed("yes")
        with pytest.raises(EmbeddingUnavailable, match="not loaded"):
            _ = embedder.identity
        await embedder.open()
        await embedder.open()
        assert await embedder.embed("yes") is not None
        await embedder.close()
        await embedder.close()


async def test_close_fails_those_that_wait(embedder: BatchingEmbedder, reference: dict[str, bytes]) -> None:
    waiting = [asyncio.ensure_future(embedder.embed(text)) for text in reference]
    await asyncio.sleep(0)
    assert embedder.statistics().waiting == len(reference)
    await embedder.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {EmbeddingUnavailable}
    assert embedder.statistics().waiting == 0
    assert embedder.statistics().failed == len(reference)


async def test_a_folder_without_a_model_is_unavailable(backend: Backend, tmp_path: Path) -> None:
    embedder = backend.make(tmp_path)
    with pytest.raises(EmbeddingUnavailable):
        await embedder.open()
    with pytest.raises(EmbeddingUnavailable, match="not loaded"):
        await embedder.embed("yes")
