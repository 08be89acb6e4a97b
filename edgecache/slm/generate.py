"""The local model as the rest of edgecache sees it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from edgecache.core.generation import Finished, Piece, Prompt
from edgecache.slm.engine import Engine
from edgecache.slm.sequence import Event, Job
from edgecache.slm.worker import Statistics, Worker


class LocalModel:
    """A model on this node; implements `Generator` of `core/ports.py`.

    `prepare` blocks until the converted model lies in the folder that it returns; it runs in the worker thread, so that
    `open` returns at once and questions asked before the model is loaded wait for it. Up to `rows` answers of up to
    `context` tokens (prompt included) are decoded as one batch; `queue` more may wait. `threads` are onnxruntime's.
    """

    def __init__(
        self,
        name: str,
        prepare: Callable[[], Path],
        *,
        rows: int = 8,
        context: int = 2_048,
        queue: int = 32,
        threads: int = 2,
    ) -> None:
        self._name = name
        self._worker = Worker(name, lambda: Engine(prepare(), rows=rows, context=context, threads=threads), queue)
        self._closed = False

    def __repr__(self) -> str:
        return f"<LocalModel {self._name} {self._worker!r}>"

    @property
    def name(self) -> str:
        return self._name

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._worker.ready

    async def open(self) -> None:
        """Start loading in the background."""
        self._worker.start()

    async def close(self) -> None:
        """End what runs with `ModelUnavailable`; safe twice, and without `open`."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._worker.stop)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Finished, None]:
        """See `Generator.generate`; a prompt that the chat template refuses raises `BadRequest`."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        job = Job(prompt, _hand_over(asyncio.get_running_loop(), events))
        self._worker.submit(job)
        try:
            while True:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            self._worker.cancel(job)

    def statistics(self) -> Statistics:
        return self._worker.statistics()


def _hand_over(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Event]) -> Callable[[Event], None]:
    """Puts an event into the queue from another thread; a loop that has ended wants none."""

    def put(event: Event) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return put
