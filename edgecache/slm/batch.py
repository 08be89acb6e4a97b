"""Continuous batching: which sequence has which row, and what the next step is. Used by one thread."""

import logging

from edgecache.errors import EdgecacheError, ModelUnavailable
from edgecache.slm.engine import Engine
from edgecache.slm.sequence import Job, Sequence

logger = logging.getLogger(__name__)

_CHUNK = 64
"""Tokens of a prompt read at a time. The same whatever else runs, so that an answer does not depend on the load: in
8-bit arithmetic, chunks cut elsewhere give logits that differ by some thousandths."""


class Batch:
    """Sequences in the rows of an engine: those that answer in rows 0 to n-1, at most one being read behind them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answering: list[Sequence] = []
        self._reading: Sequence | None = None
        self._row = 0
        self.tokens_read = 0
        self.tokens_produced = 0
        self.finished = 0

    def __repr__(self) -> str:
        return f"<Batch answering={len(self._answering)} reading={self._reading!r}>"

    @property
    def jobs(self) -> list[Job]:
        """The jobs that have a row."""
        return [sequence.job for sequence in self._all()]

    @property
    def open(self) -> bool:
        """Whether another job can be taken in now."""
        return self._reading is None and len(self._answering) < self._engine.session.rows

    @property
    def reading(self) -> Job | None:
        """The job whose prompt the next step reads."""
        return self._reading.job if self._reading else None

    def admit(self, job: Job) -> None:
        """Give `job` a row; a prompt that cannot be answered is told so instead."""
        try:
            ids = self._engine.encode(job.prompt)
        except EdgecacheError as error:
            job.emit(error)
            return
        except Exception:  # one prompt that breaks the encoder must not end the answers of others
            logger.exception("a prompt could not be encoded")
            job.emit(ModelUnavailable("The local model could not read this conversation."))
            return
        self._row = len(self._answering)
        self._reading = Sequence(job, ids, self._engine.context, self._engine.stops)

    def drop_cancelled(self) -> int:
        """Free the rows of jobs that nobody wants any more; how many those were."""
        before = len(self._all())
        if self._reading and self._reading.job.cancelled:
            self._reading = None
        self._keep([sequence for sequence in self._answering if not sequence.job.cancelled])
        return before - len(self._all())

    def clear(self) -> None:
        """Free all rows."""
        self._answering.clear()
        self._reading = None

    def read(self) -> None:
        """Take in the next chunk of the prompt that is being read."""
        sequence = self._reading
        if sequence is None:
            return
        chunk = sequence.ids[sequence.length : sequence.length + _CHUNK]
        logits = self._engine.session.read(self._row, chunk, sequence.length)
        sequence.length += len(chunk)
        self.tokens_read += len(chunk)
        if sequence.unread:
            return
        self.tokens_produced += 1
        goes_on = sequence.accept(logits, self._engine.spell)
        # Only now: a job that `accept` failed must still be found among `jobs`, to be told.
        self._reading = None
        if goes_on:
            self._settle(sequence, self._row)
        else:
            self.finished += 1

    def decode(self) -> None:
        """One more token for every sequence that answers."""
        answering = self._answering
        if not answering:
            return
        tokens, lengths = [one.token for one in answering], [one.length for one in answering]
        logits = self._engine.session.decode(tokens, lengths)
        self.tokens_produced += len(answering)
        for sequence in answering:
            sequence.length += 1
        # Every sequence is told before any row moves: a token is chosen from the row in which it was computed.
        going_on = [one.accept(row, self._engine.spell) for one, row in zip(answering, logits, strict=True)]
        self.finished += going_on.count(False)
        self._keep([one for one, goes_on in zip(answering, going_on, strict=True) if goes_on])

    def _all(self) -> list[Sequence]:
        return [*self._answering, self._reading] if self._reading else list(self._answering)

    def _settle(self, sequence: Sequence, row: int) -> None:
        """It has been read in `row`; rows before it may have become free since."""
        target = len(self._answering)
        if row != target:
            self._engine.session.move(row, target, sequence.length)
        self._answering.append(sequence)

    def _keep(self, wanted: list[Sequence]) -> None:
        """Close the gaps that all others leave: the last wanted ones move into them, the rest stay where they are."""
        homeless = [row for row, one in enumerate(self._answering) if one in wanted and row >= len(wanted)]
        rows: list[Sequence] = self._answering[: len(wanted)]
        for row, one in enumerate(rows):
            if one not in wanted:
                source = homeless.pop()
                rows[row] = self._answering[source]
                self._engine.session.move(source, row, rows[row].length)
        self._answering = rows
