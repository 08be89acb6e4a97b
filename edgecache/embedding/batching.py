"""Batches concurrent calls: while one pass of the model runs, texts that arrive wait, and then share the next."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import msgspec

from edgecache.embedding.batch import MOST_ROWS, choose
from edgecache.embedding.encoder import Encoder, Row
from edgecache.errors import EdgecacheError, EmbeddingUnavailable

_WINDOW = 4 * MOST_ROWS
"""How many of those that wait are looked at for the next pass."""

Answer = bytes | EmbeddingUnavailable | None
Waiter = asyncio.Future[Answer]


class EmbeddingStatistics(msgspec.Struct, frozen=True):
    """Since the start; `waiting` is now.

    `texts` were asked for, of which `joined` were in flight already, `unreadable` got None and `failed` an error.
    `batches` passes of the model embedded `rows` texts of `pieces` word pieces, with `padding` pieces between them.
    """

    texts: int
    joined: int
    unreadable: int
    failed: int
    batches: int
    rows: int
    pieces: int
    padding: int
    waiting: int


class _Job:
    """A text in flight. `waiters` belongs to the event loop; `row` to the worker while a turn runs."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.waiters: set[Waiter] = set()
        self.row: Row | None = None


class _Turn:
    """One go of the worker: reads the texts it is given, and embeds those of them that go well together."""

    def __init__(self, encoder: Encoder, jobs: Sequence[_Job]) -> None:
        self._encoder = encoder
        self._jobs = jobs
        self.answers: dict[_Job, Answer] = {}
        self.rows: list[Row] = []

    def run(self) -> "_Turn":
        """Runs in the worker thread. Jobs left without an answer are for a later turn."""
        readable = [(job, row) for job in self._jobs if (row := self._read(job)) is not None]
        if readable:
            self._encode([readable[at] for at in choose([len(row.pieces) for _, row in readable])])
        return self

    def _read(self, job: _Job) -> Row | None:
        if job.row is not None:
            return job.row
        try:
            job.row = self._encoder.read(job.text) if _is_unicode(job.text) else None
        except Exception as error:  # noqa: BLE001  the backend's boundary: whatever it raises is for this text alone
            self.answers[job] = _unavailable(error)
            return None
        if job.row is None:
            self.answers[job] = None
        return job.row

    def _encode(self, batch: Sequence[tuple[_Job, Row]]) -> None:
        rows = [row for _, row in batch]
        try:
            vectors: Sequence[Answer] = self._encoder.encode(rows)
            self.rows = rows
        except Exception as error:  # noqa: BLE001  the backend's boundary: whatever it raises is for this batch alone
            vectors = [_unavailable(error)] * len(batch)
        self.answers.update(zip((job for job, _ in batch), vectors, strict=True))


class BatchingEmbedder:
    """Implements the port `Embedder` over a backend that `load` brings into memory.

    All state belongs to the event loop; the worker thread gets a turn's jobs and hands back their answers, so there
    are no locks. A request that finds the worker idle starts at once: there is no window of waiting for others.

    Nothing is remembered between calls. A memo of texts would tell one tenant, by the time an answer takes, what
    another has asked.
    """

    def __init__(self, load: Callable[[], Encoder], name: str) -> None:
        self._load = load
        self._name = name
        self._encoder: Encoder | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._turn: asyncio.Future[_Turn] | None = None
        self._jobs: dict[str, _Job] = {}
        self._texts = self._joined = self._unreadable = self._failed = 0
        self._batches = self._rows = self._pieces = self._padding = 0

    def __repr__(self) -> str:
        state = "closed" if self._executor is None else "busy" if self._turn else "idle"
        return f"<{type(self).__name__} {self._name} {state} waiting={len(self._jobs)} batches={self._batches}>"

    @property
    def identity(self) -> str:
        """Name and digest of what makes the vectors.

        Raises:
            EmbeddingUnavailable: not known before `open`.
        """
        return self._loaded().identity

    @property
    def dimensions(self) -> int:
        """
        Raises:
            EmbeddingUnavailable: not known before `open`.
        """
        return self._loaded().dimensions

    def statistics(self) -> EmbeddingStatistics:
        return EmbeddingStatistics(
            texts=self._texts,
            joined=self._joined,
            unreadable=self._unreadable,
            failed=self._failed,
            batches=self._batches,
            rows=self._rows,
            pieces=self._pieces,
            padding=self._padding,
            waiting=len(self._jobs),
        )

    async def open(self) -> None:
        """Load the model in the worker thread.

        Raises:
            ModelSourceError: the model could not be fetched or converted.
            EmbeddingUnavailable: it could not be loaded.
        """
        if self._executor is not None:
            return
        executor = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        try:
            self._encoder = await asyncio.get_running_loop().run_in_executor(executor, self._load)
            self._executor = executor
        except EdgecacheError:
            raise
        except Exception as error:  # the backend's boundary: onnxruntime, tokenizers and torch raise what they like
            raise _unavailable(error) from error
        finally:
            if self._executor is None:
                executor.shutdown(wait=False)

    async def close(self) -> None:
        """Whoever waits gets EmbeddingUnavailable at once; the pass that runs is waited for, and nobody gets it."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        for job in list(self._jobs.values()):
            self._answer(job, EmbeddingUnavailable("The embedding model was closed."))
        await asyncio.to_thread(executor.shutdown)
        self._encoder = None

    async def embed(self, text: str) -> bytes | None:
        """Unit vector, little-endian float32; None where the model cannot read all of the text.

        Raises:
            EmbeddingUnavailable: the model is not loaded, was closed meanwhile, or failed.
        """
        self._texts += 1
        answer = None if len(text) > self._loaded().longest else await self._wait(text)
        self._unreadable += answer is None
        self._failed += isinstance(answer, EmbeddingUnavailable)
        if isinstance(answer, EmbeddingUnavailable):
            raise answer
        return answer

    async def _wait(self, text: str) -> Answer:
        job = self._join(text)
        waiter: Waiter = asyncio.get_running_loop().create_future()
        job.waiters.add(waiter)
        self._start_turn()
        try:
            return await waiter
        finally:
            self._leave(job, waiter)

    def _loaded(self) -> Encoder:
        if self._executor is None or self._encoder is None:
            raise EmbeddingUnavailable("The embedding model is not loaded.")
        return self._encoder

    def _join(self, text: str) -> _Job:
        job = self._jobs.get(text)
        if job is not None:
            self._joined += 1
            return job
        job = self._jobs[text] = _Job(text)
        return job

    def _leave(self, job: _Job, waiter: Waiter) -> None:
        """A text that nobody waits for any more is not embedded; where its pass runs already, the answer is dropped."""
        job.waiters.discard(waiter)
        if not job.waiters:
            self._forget(job)

    def _forget(self, job: _Job) -> None:
        if self._jobs.get(job.text) is job:
            del self._jobs[job.text]

    def _start_turn(self) -> None:
        if self._turn is not None or self._executor is None or not self._jobs:
            return
        turn = _Turn(self._loaded(), list(islice(self._jobs.values(), _WINDOW)))
        self._turn = asyncio.get_running_loop().run_in_executor(self._executor, turn.run)
        self._turn.add_done_callback(self._finish_turn)

    def _finish_turn(self, future: asyncio.Future[_Turn]) -> None:
        self._turn = None
        turn = future.result()
        self._count(turn.rows)
        for job, answer in turn.answers.items():
            self._answer(job, answer)
        self._start_turn()

    def _answer(self, job: _Job, answer: Answer) -> None:
        self._forget(job)
        for waiter in job.waiters:
            if not waiter.done():  # a cancelled one is done before its caller has left
                waiter.set_result(answer)

    def _count(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        lengths = [len(row.pieces) for row in rows]
        self._batches += 1
        self._rows += len(rows)
        self._pieces += sum(lengths)
        self._padding += len(rows) * max(lengths) - sum(lengths)


def _is_unicode(text: str) -> bool:
    """False for lone surrogates, which JSON can carry and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unavailable(error: Exception) -> EmbeddingUnavailable:
    unavailable = EmbeddingUnavailable(f"The embedding model failed: {type(error).__name__}: {error}")
    unavailable.__cause__ = error
    return unavailable
