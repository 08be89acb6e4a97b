"""One canary: a question of our own, whose answers say which version they are."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from enum import StrEnum

import msgspec

from edgecache.verify.cluster import Node, Reply, Unreachable
from edgecache.verify.findings import Findings, Kind
from edgecache.verify.history import History

PAUSE = 0.01
"""Seconds between two looks for a canary that is not there yet."""
LIFETIME = "1h"


class Ending(StrEnum):
    """How a round ends. REPLACE: by the push of the next one."""

    REPLACE = "replace"
    KEY = "key"
    SOFT = "soft"
    ID = "id"


ENDINGS = tuple(Ending)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run. `scope` and `tag` are its own; `token` may read, push and purge in that scope, `stranger` (empty:
    there is none) reads as another tenant. `slowest` is how long `wait=all` may take, `patience` for how long an
    acknowledged push is looked for, in seconds. `service` is the nodes' id for purging.
    """

    run: str
    scope: str
    tag: str
    model: str
    service: str
    token: str
    stranger: str
    slowest: float
    patience: float


class Canary:
    """`monotonic` is in seconds. One thread goes through the rounds; any may `read`."""

    def __init__(
        self,
        number: int,
        plan: Plan,
        nodes: Sequence[Node],
        findings: Findings,
        pool: Executor,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._plan = plan
        self._nodes = nodes
        self._findings = findings
        self._pool = pool
        self._monotonic = monotonic
        self._history = History()
        self._version = 0
        self._blind = 0
        self.question = f"What does canary {number} of edgecache verify {plan.run} say?"
        self._key = f"{plan.tag}-{number}"
        self._says = re.compile(rf"canary {number} of {plan.run} says ([0-9]+)")

    def __repr__(self) -> str:
        return f"<Canary {self._number} version={self._version} {self._history!r}>"

    def round(self, count: int) -> bool:
        """Push, look, take back, look. False where a call failed."""
        ending = ENDINGS[count % len(ENDINGS)]
        writer = self._nodes[(count + self._number) % len(self._nodes)]
        name = self._push(writer)
        if name is None:
            return False
        self._everywhere(self._seek)
        if self._plan.stranger:
            self._everywhere(self._read_as_stranger)
        if ending is not Ending.REPLACE:
            if not self._purge(self._nodes[(count + self._number + 1) % len(self._nodes)], ending, name):
                return False
            self._everywhere(self.read)
        self._findings.count("rounds")
        return True

    # --- write ----------------------------------------------------------------------------------------------------

    def _push(self, node: Node) -> str | None:
        """The id of the next version, which is then on all nodes."""
        version = self._version + 1
        answer = {
            "question": self.question,
            "answer": f"canary {self._number} of {self._plan.run} says {version}",
            "model": self._plan.model,
            "scope": self._plan.scope,
            "tags": [self._plan.tag, self._key],
            "ttl": LIFETIME,
        }
        reply = self._order(node, "/push?wait=all", answer)
        if reply is None:
            return None
        self._version = version
        self._history.forbid(version - 1, self._monotonic(), f"the push of version {version}")
        self._findings.count("pushes")
        return str(reply.json()["answers"][0]["id"])

    def _purge(self, node: Node, ending: Ending, name: str) -> bool:
        by_key = f"/service/{self._plan.service}/purge/{self._key}"
        path = f"/purge/id/{name}" if ending is Ending.ID else by_key
        headers = {"Fastly-Soft-Purge": "1"} if ending is Ending.SOFT else {}
        if self._order(node, f"{path}?wait=all", {}, **headers) is None:
            return False
        what = "soft purge" if ending is Ending.SOFT else "purge"
        self._history.forbid(self._version, self._monotonic(), f"the {what} of version {self._version} by {ending}")
        self._findings.count("purges")
        return True

    def _order(self, node: Node, path: str, body: object, **headers: str) -> Reply | None:
        """With `wait=all`; None where it was not acknowledged."""
        begun = self._monotonic()
        try:
            reply = node.call(path, body, self._plan.token, **headers)
        except Unreachable as error:
            self._findings.failed(str(error))
            return None
        took = self._monotonic() - begun
        told = reply.json()
        if reply.status != 200 or not isinstance(told, dict) or "nodes" not in told:
            self._findings.failed(f"{node.name} answered {path.partition('?')[0]} with {reply.status}: {reply.reason}")
            return None
        self._blind = told["nodes"]["blind"]
        self._findings.waited(took)
        if took > self._plan.slowest:
            slow = f"wait=all of {path} took {took:.3f} s, at most {self._plan.slowest:g} s were to be expected"
            self._findings.violated(Kind.SLOW, node.name, self._number, self._version, slow)
        return reply

    # --- read -----------------------------------------------------------------------------------------------------

    def _everywhere(self, look: Callable[[Node], object]) -> None:
        list(self._pool.map(look, self._nodes))

    def read(self, node: Node) -> int | None:
        """The version that this node has; None for none, or where it cannot be asked."""
        begun = self._monotonic()
        try:
            reply = node.read(self.question, self._plan.model, self._plan.token)
        except Unreachable as error:
            self._findings.failed(str(error))
            return None
        self._findings.count("reads")
        if reply.is_not_cached:
            return None
        version = self._version_in(reply)
        if version is None:
            self._findings.failed(f"{node.name} answered a canary's question with {reply.status}: {reply.reason}")
            return None
        self._findings.count("hits")
        broken = self._history.broken(version, begun)
        if broken is not None:
            late = f"version {version} served {begun - broken.at:.3f} s after {broken.why} was acknowledged"
            self._findings.violated(Kind.STALE, node.name, self._number, version, late)
        return version

    def _seek(self, node: Node) -> None:
        """Until the newest version is there. A node that is cut off serves nothing, and was counted as blind."""
        until = self._monotonic() + self._plan.patience
        while self.read(node) != self._version:
            if self._monotonic() > until:
                if not self._blind:
                    told = f"version {self._version} was acknowledged and is not there {self._plan.patience:g} s later"
                    self._findings.violated(Kind.MISSING, node.name, self._number, self._version, told)
                return
            time.sleep(PAUSE)

    def _read_as_stranger(self, node: Node) -> None:
        try:
            reply = node.read(self.question, self._plan.model, self._plan.stranger)
        except Unreachable as error:
            self._findings.failed(str(error))
            return
        self._findings.count("reads")
        version = self._version_in(reply)
        if version is not None:
            self._findings.violated(Kind.LEAK, node.name, self._number, version, "another tenant was given the canary")

    def _version_in(self, reply: Reply) -> int | None:
        found = self._says.fullmatch(reply.text or "") if reply.status == 200 else None
        return int(found[1]) if found else None


def watch(node: Node, canaries: Sequence[Canary], stop: threading.Event) -> None:
    """Read all of them again and again, whatever is done to them meanwhile."""
    while not stop.is_set():
        for canary in canaries:
            canary.read(node)
            if stop.wait(0.002):
                return
