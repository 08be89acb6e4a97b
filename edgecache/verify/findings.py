"""What a run has seen, from all of its threads."""

import threading
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

KEPT = 1_000
"""Violations, and failures, that are kept one by one; all are counted."""


class Kind(StrEnum):
    """STALE: an answer that an acknowledged purge or push forbade. MISSING: an acknowledged push that a node does not
    have. SLOW: `wait=all` took longer than leases allow. LEAK: another tenant was given the canary.
    """

    STALE = "stale"
    MISSING = "missing"
    SLOW = "slow"
    LEAK = "leak"


class Violation(msgspec.Struct, frozen=True):
    """`at` is Unix time in seconds, `canary` the number of one, `version` what was served or missed."""

    kind: Kind
    at: float
    node: str
    canary: int
    version: int
    told: str


class Summary(msgspec.Struct, frozen=True):
    """Times in seconds. `failures` kept the run from seeing something; they are no violations."""

    nodes: tuple[str, ...]
    seconds: float
    rounds: int
    pushes: int
    purges: int
    reads: int
    hits: int
    violations: dict[str, int]
    failures: int
    wait_all_p50: float | None
    wait_all_max: float | None
    seen: tuple[Violation, ...]
    failed: tuple[str, ...]

    @property
    def broken(self) -> int:
        return sum(self.violations.values())


class Findings:
    """`tell` gets each violation at once; `clock` is Unix time in seconds."""

    def __init__(self, tell: Callable[[Violation], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._violations: Counter[str] = Counter()
        self._seen: list[Violation] = []
        self._failed: list[str] = []
        self._waits: list[float] = []

    def __repr__(self) -> str:
        return f"<Findings {dict(self._counts)} {dict(self._violations)}>"

    def count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def counted(self, what: str) -> int:
        return self._counts[what]

    @property
    def broken(self) -> int:
        return self._violations.total()

    def waited(self, seconds: float) -> None:
        """How long a `wait=all` took."""
        with self._lock:
            self._waits.append(seconds)

    def violated(self, kind: Kind, node: str, canary: int, version: int, told: str) -> None:
        violation = Violation(kind, self._clock(), node, canary, version, told)
        with self._lock:
            self._violations[kind] += 1
            if len(self._seen) < KEPT:
                self._seen.append(violation)
            self._tell(violation)

    def failed(self, what: str) -> None:
        """Something could not be looked at."""
        with self._lock:
            self._counts["failures"] += 1
            if len(self._failed) < KEPT and what not in self._failed:
                self._failed.append(what)

    def summary(self, nodes: tuple[str, ...], seconds: float) -> Summary:
        with self._lock:
            waits = sorted(self._waits)
            return Summary(
                nodes=nodes,
                seconds=round(seconds, 3),
                violations={kind.value: self._violations[kind] for kind in Kind},
                wait_all_p50=waits[len(waits) // 2] if waits else None,
                wait_all_max=waits[-1] if waits else None,
                seen=tuple(self._seen),
                failed=tuple(self._failed),
                **{name: self._counts[name] for name in ("rounds", "pushes", "purges", "reads", "hits", "failures")},
            )


def as_json(value: Summary | Violation) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(value)
    return told
