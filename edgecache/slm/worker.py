"""The thread that owns the engine: loads it, feeds the batch from a bounded queue, and survives what goes wrong."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from edgecache.errors import ModelUnavailable, Overloaded
from edgecache.slm.batch import Batch
from edgecache.slm.engine import Engine
from edgecache.slm.sequence import Job

logger = logging.getLogger(__name__)

_LONGEST_WAIT = 60
_JOIN_SECONDS = 5.0


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start, and what is going on now."""

    ready: bool
    busy_rows: int
    waiting: int
    tokens_read: int
    tokens_produced: int
    refused: int
    cancelled: int
    failed: int
    load_seconds: float | None


class Worker:
    """Jobs in, events out. `submit`, `cancel` and `stop` may be called from any thread."""

    def __init__(self, name: str, load: Callable[[], Engine], queue: int) -> None:
        self._name = name
        self._load = load
        self._bound = queue
        self._condition = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._reading: Job | None = None
        self._stopping = False
        self._failure: Exception | None = None
        self._engine: Engine | None = None
        self._batch: Batch | None = None
        self._load_seconds: float | None = None
        self._refused = self._cancelled = self._failed = 0
        self._busy_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name=f"edgecache-{name}", daemon=True)

    def __repr__(self) -> str:
        return f"<Worker {self._name} ready={self.ready} waiting={len(self._waiting)} {self._batch!r}>"

    @property
    def ready(self) -> bool:
        return self._batch is not None and not self._stopping

    def start(self) -> None:
        """Start the thread, which loads the model first."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue `job`.

        Raises:
            Overloaded: too many wait already.
            ModelUnavailable: the model could not be loaded, or is closed.
        """
        with self._condition:
            if self._failure or self._stopping:
                raise self._unavailable()
            if len(self._waiting) >= self._bound:
                self._refused += 1
                raise Overloaded(
                    f"{len(self._waiting)} requests wait for the local model already.", retry_after=self._estimate()
                )
            self._waiting.append(job)
            self._condition.notify()

    def cancel(self, job: Job) -> None:
        """Nobody wants the events of `job` any more; its row is free before the next step."""
        with self._condition:
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._cancelled += 1
            if self._reading is job and self._engine:
                self._engine.session.stop()
            self._condition.notify()

    def stop(self) -> None:
        """End everything. Waits for the thread, but not for a model that is still being fetched or converted."""
        with self._condition:
            self._stopping = True
            if self._engine:
                self._engine.session.stop()
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join(None if self._engine else _JOIN_SECONDS)
        self._fail_running(self._unavailable())
        self._fail_waiting()

    def statistics(self) -> Statistics:
        batch = self._batch
        return Statistics(
            ready=self.ready,
            busy_rows=len(batch.jobs) if batch else 0,
            waiting=len(self._waiting),
            tokens_read=batch.tokens_read if batch else 0,
            tokens_produced=batch.tokens_produced if batch else 0,
            refused=self._refused,
            cancelled=self._cancelled,
            failed=self._failed,
            load_seconds=self._load_seconds,
        )

    def _run(self) -> None:
        if not self._open():
            return
        while self._wait():
            started = time.monotonic()
            try:
                self._step()
            except Exception as error:  # the thread must outlive whatever one step met; it ends those it concerned
                if not self._stopping:
                    logger.exception("the local model %s failed in a step", self._name)
                self._fail_running(error)
            self._busy_seconds += time.monotonic() - started

    def _open(self) -> bool:
        started = time.monotonic()
        try:
            engine = self._load()
        except Exception as error:  # noqa: BLE001 - nobody must wait for a model that will not come
            logger.error("the local model %s could not be loaded: %s", self._name, error)
            with self._condition:
                self._failure = error
            self._fail_waiting()
            return False
        with self._condition:
            self._engine, self._batch = engine, Batch(engine)
        self._load_seconds = time.monotonic() - started
        logger.info("the local model %s is ready after %.2f s", self._name, self._load_seconds)
        return True

    def _wait(self) -> bool:
        """Until there is something to do; False at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._stopping or self._waiting or (self._batch and self._batch.jobs))
            return not self._stopping

    def _step(self) -> None:
        batch = self._batch
        if batch is None:
            return
        self._cancelled += batch.drop_cancelled()
        if batch.open and (job := self._next()):
            batch.admit(job)
        self._read(batch)
        batch.decode()

    def _next(self) -> Job | None:
        with self._condition:
            return self._waiting.popleft() if self._waiting else None

    def _read(self, batch: Batch) -> None:
        """A chunk of a prompt, which `cancel` may end early; what it set is taken back before anything else runs."""
        job = batch.reading
        with self._condition:
            if job is None or job.cancelled or self._stopping:
                return
            self._reading = job
        try:
            batch.read()
        except ModelUnavailable:
            if not job.cancelled:
                raise
        finally:
            with self._condition:
                self._reading = None
                if self._engine and not self._stopping:
                    self._engine.session.resume()

    def _fail_running(self, error: Exception) -> None:
        if self._batch:
            jobs = self._batch.jobs
            self._batch.clear()
            self._end(jobs, str(error) if isinstance(error, ModelUnavailable) else "The local model failed.")

    def _fail_waiting(self) -> None:
        with self._condition:
            jobs = list(self._waiting)
            self._waiting.clear()
        self._end(jobs, str(self._unavailable()))

    def _end(self, jobs: list[Job], why: str) -> None:
        self._failed += len(jobs)
        for job in jobs:
            job.emit(ModelUnavailable(why))

    def _unavailable(self) -> ModelUnavailable:
        return ModelUnavailable(f"The local model {self._name} is not available: {self._failure or 'it was closed'}")

    def _estimate(self) -> int:
        """Seconds until those who wait now are served, at the pace so far."""
        finished = self._batch.finished if self._batch else 0
        seconds = len(self._waiting) * self._busy_seconds / finished if finished else 1.0
        return min(max(math.ceil(seconds), 1), _LONGEST_WAIT)
