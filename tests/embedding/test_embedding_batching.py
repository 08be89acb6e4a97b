"""Concurrent calls: what is batched, joined, dropped and failed. The real model, held up where a test says so."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from edgecache.embedding.batching import BatchingEmbedder
from edgecache.embedding.encoder import Row
from edgecache.embedding.onnx_embedder import OnnxEncoder
from edgecache.errors import EmbeddingUnavailable

FIRST, SECOND, THIRD = "What is the first question?", "What is the second question?", "What is the third question?"


class HeldUp(OnnxEncoder):
    """Says when a pass starts, and lets it go on when the test says so. Fails on texts that name it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, threads=1, name="held up")
        self.started = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.passes: list[list[str]] = []
        self.threads = {threading.current_thread().name}

    def read(self, text: str) -> Row | None:
        self.threads.add(threading.current_thread().name)
        if text == "fail reading":
            raise RuntimeError("as told")
        return super().read(text)

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        self.threads.add(threading.current_thread().name)
        self.passes.append([row.text for row in rows])
        self.started.release()
        if not self.go_on.acquire(timeout=60):
            raise TimeoutError("the test never let this pass go on")
        if any(row.text == "fail embedding" for row in rows):
            raise RuntimeError("as told")
        return super().encode(rows)


def cancel_everything() -> None:
    """A waiter that is never answered fails its test instead of holding up the run."""
    for task in asyncio.all_tasks():
        task.cancel()


@pytest.fixture
async def opened(converted: Path) -> AsyncIterator[tuple[BatchingEmbedder, HeldUp]]:
    loaded: list[HeldUp] = []

    def load() -> HeldUp:
        loaded.append(HeldUp(converted))
        return loaded[0]

    embedder = BatchingEmbedder(load, "held up")
    await embedder.open()
    deadline = asyncio.get_running_loop().call_later(60, cancel_everything)
    yield embedder, loaded[0]
    deadline.cancel()
    loaded[0].go_on.release(100)
    await embedder.close()


@pytest.fixture
def embedder(opened: tuple[BatchingEmbedder, HeldUp]) -> BatchingEmbedder:
    return opened[0]


@pytest.fixture
def encoder(opened: tuple[BatchingEmbedder, HeldUp]) -> HeldUp:
    return opened[1]


async def begin(embedder: BatchingEmbedder, *texts: str) -> list[asyncio.Task[bytes | None]]:
    """Calls that have got as far as waiting."""
    tasks = [asyncio.create_task(embedder.embed(text)) for text in texts]
    await asyncio.sleep(0)
    return tasks


async def a_pass_runs(encoder: HeldUp) -> None:
    assert await asyncio.to_thread(encoder.started.acquire, timeout=60)


async def test_a_lone_request_starts_at_once_and_later_ones_share_a_pass(
    embedder: BatchingEmbedder, encoder: HeldUp
) -> None:
    first = await begin(embedder, FIRST)
    await a_pass_runs(encoder)
    others = await begin(embedder, SECOND, THIRD)
    encoder.go_on.release(2)
    await asyncio.gather(*first, *others)
    assert encoder.passes == [[FIRST], [SECOND, THIRD]]


async def test_the_model_is_never_touched_on_the_event_loop(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    encoder.go_on.release(1)
    await embedder.embed(FIRST)
    assert encoder.threads == {"embedding_0"}


async def test_identical_texts_in_flight_are_embedded_once(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    tasks = await begin(embedder, FIRST, SECOND, SECOND)
    await a_pass_runs(encoder)
    tasks += await begin(embedder, FIRST, SECOND)
    encoder.go_on.release(2)
    vectors = await asyncio.gather(*tasks)
    assert encoder.passes == [[FIRST], [SECOND]]
    assert vectors[0] == vectors[3]
    assert vectors[1] == vectors[2] == vectors[4]
    assert embedder.statistics().joined == 3


async def test_nothing_is_remembered(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    encoder.go_on.release(2)
    assert await embedder.embed(FIRST) == await embedder.embed(FIRST)
    assert encoder.passes == [[FIRST], [FIRST]]


async def test_a_text_that_nobody_waits_for_is_not_embedded(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    (first, second, third) = await begin(embedder, FIRST, SECOND, THIRD)
    await a_pass_runs(encoder)
    second.cancel()
    await asyncio.wait([second])
    assert embedder.statistics().waiting == 2
    encoder.go_on.release(2)
    assert None not in await asyncio.gather(first, third)
    assert encoder.passes == [[FIRST], [THIRD]]


async def test_one_of_two_who_wait_for_a_text_may_leave(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    (first, leaver, stayer) = await begin(embedder, FIRST, SECOND, SECOND)
    await a_pass_runs(encoder)
    leaver.cancel()
    await asyncio.wait([leaver])
    encoder.go_on.release(2)
    assert None not in await asyncio.gather(first, stayer)


async def test_leaving_while_the_pass_runs_disturbs_nobody(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    (first,) = await begin(embedder, FIRST)
    await a_pass_runs(encoder)
    first.cancel()
    await asyncio.wait([first])
    (again, second) = await begin(embedder, FIRST, SECOND)
    encoder.go_on.release(2)
    assert None not in await asyncio.gather(again, second)
    assert encoder.passes == [[FIRST], [FIRST, SECOND]]
    assert repr(embedder) == "<BatchingEmbedder held up idle waiting=0 batches=2>"


async def test_leaving_in_the_moment_of_the_answer(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    first, second, third = await begin(embedder, FIRST, SECOND, THIRD)
    encoder.go_on.release()
    await first
    turn = embedder._turn
    assert turn is not None
    # The waiter is cancelled when the answers are already there, and its task has not yet run to leave.
    turn.remove_done_callback(embedder._finish_turn)
    turn.add_done_callback(lambda _: second.cancel())
    turn.add_done_callback(embedder._finish_turn)
    encoder.go_on.release()
    assert await asyncio.wait_for(third, 60) is not None
    assert second.cancelled()
    assert encoder.passes == [[FIRST], [SECOND, THIRD]]
    assert embedder.statistics().waiting == 0


async def test_close_fails_waiters_at_once_and_waits_for_the_pass(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    tasks = await begin(embedder, FIRST, SECOND)
    await a_pass_runs(encoder)
    closing = asyncio.create_task(embedder.close())
    for task in tasks:
        with pytest.raises(EmbeddingUnavailable, match="closed"):
            await task
    assert not closing.done(), "the worker thread is in the model"
    with pytest.raises(EmbeddingUnavailable, match="not loaded"):
        await embedder.embed(THIRD)
    encoder.go_on.release()
    await closing
    assert encoder.passes == [[FIRST]]
    assert repr(embedder) == "<BatchingEmbedder held up closed waiting=0 batches=1>"


async def test_a_pass_that_fails_fails_its_batch_only(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    tasks = await begin(embedder, FIRST, "fail embedding", "fail reading", SECOND + " and more" * 60)
    encoder.go_on.release(3)
    first, embedding, reading, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, bytes)
    assert isinstance(other, bytes)
    for error in (embedding, reading):
        assert isinstance(error, EmbeddingUnavailable)
        assert "RuntimeError: as told" in str(error)
        assert isinstance(error.__cause__, RuntimeError)
    assert embedder.statistics().failed == 2


async def test_statistics_add_up(embedder: BatchingEmbedder, encoder: HeldUp) -> None:
    tasks = await begin(embedder, FIRST, SECOND, SECOND, "What?", "word " * 300)
    encoder.go_on.release(2)
    await asyncio.gather(*tasks)
    statistics = embedder.statistics()
    assert (statistics.texts, statistics.joined, statistics.unreadable, statistics.failed) == (5, 1, 1, 0)
    assert (statistics.batches, statistics.rows, statistics.waiting) == (2, 3, 0)
    assert (statistics.pieces, statistics.padding) == (8 + 8 + 4, 4)


async def test_open_that_is_cancelled_leaves_it_closed(converted: Path) -> None:
    go_on = threading.Event()
    workers: list[threading.Thread] = []
    loading = threading.Event()

    def load() -> OnnxEncoder:
        workers.append(threading.current_thread())
        loading.set()
        go_on.wait(30)
        return OnnxEncoder(converted, 1, "slow")

    embedder = BatchingEmbedder(load, "slow")
    opening = asyncio.create_task(embedder.open())
    assert await asyncio.to_thread(loading.wait, 30)
    opening.cancel()
    await asyncio.wait([opening])
    with pytest.raises(EmbeddingUnavailable, match="not loaded"):
        await embedder.embed(FIRST)
    go_on.set()
    await asyncio.to_thread(workers[0].join, 30)
    assert not workers[0].is_alive(), "the thread of a start that was given up still waits for work"
    await embedder.open()
    assert await embedder.embed(FIRST) is not None
    await embedder.close()
