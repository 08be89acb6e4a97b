"""A run: tokens of its own, canaries, readers that never rest; and all of it gone at the end, however it ends."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from edgecache.client import Refused
from edgecache.verify.canary import Canary, Plan, watch
from edgecache.verify.cluster import Node, Unreachable
from edgecache.verify.findings import Findings, Summary

NAME = "edgecache-verify"
KNOWN_WITHIN = 10.0
"""Seconds in which every node must have heard of a new token."""
UNKNOWN = (401, 403)
LOOK = 0.1
"""Seconds between two looks at how far the run is."""


class Admin(Protocol):
    """The admin API of one node. Raises Refused."""

    def call(self, method: str, path: str, body: Any = None) -> Any: ...


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. `rounds` of each of `canaries`, or as many as there are in `seconds`. `token` is one that may
    read, push and purge in `scope`; empty: one is made.
    """

    canaries: int = 4
    rounds: int = 8
    seconds: float | None = None
    lease: float = 5.0
    margin: float = 1.0
    patience: float = 1.0
    model: str = NAME
    service: str = "edgecache"
    token: str = ""
    scope: str = ""

    @property
    def slowest(self) -> float:
        return self.lease * 1.05 + self.margin


class Run:
    """`stop` ends it early."""

    def __init__(self, wish: Wish, nodes: Sequence[Node], admin: Admin | None, findings: Findings) -> None:
        self._wish = wish
        self._nodes = nodes
        self._admin = admin
        self._findings = findings
        self._run = secrets.token_hex(4)
        self._made: list[str] = []
        self._started = time.monotonic()
        self._ends = float("inf")
        self.stop = threading.Event()

    def __repr__(self) -> str:
        return f"<Run {self._run} {self._findings!r}>"

    def __call__(self, progress: Callable[[float], None]) -> None:
        """All of it; `progress` is told the share that is done. Whatever ends it, its traces are removed before.

        Raises:
            Refused: nothing could be looked at; says why.
        """
        self._started = time.monotonic()
        try:
            plan = self._plan()
            try:
                self._check(plan)
                self._ends = time.monotonic() + (self._wish.seconds or float("inf"))
                self._carry_out(plan, progress)
            finally:
                self._purge(plan)
        finally:
            self._revoke()
            for node in self._nodes:
                node.close()

    def summary(self) -> Summary:
        return self._findings.summary(tuple(node.name for node in self._nodes), time.monotonic() - self._started)

    # --- before and after -----------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        own = f"{NAME}-{self._run}"
        scope = self._wish.scope or own
        limits = {"tenants": [scope]}
        token = self._wish.token or self._token(own, scope, ["traffic", "push", "purge_select"], **limits)
        return Plan(
            run=self._run,
            scope=scope,
            tag=own,
            model=self._wish.model,
            service=self._wish.service,
            token=token,
            stranger=self._token(f"{own}-stranger", f"{own}-stranger", ["traffic"]) if self._admin else "",
            slowest=self._wish.slowest,
            patience=self._wish.patience,
        )

    def _token(self, name: str, scope: str, grants: Sequence[str], **limits: Sequence[str]) -> str:
        if self._admin is None:
            raise Refused("Give a token and its scope, or an admin address where one can be made.")
        made = self._admin.call("POST", "/admin/tokens", {"name": name, "scope": scope, "grants": grants, **limits})
        self._made.append(name)
        return str(made["token"])

    def _check(self, plan: Plan) -> None:
        """That every node knows the tokens, and asks nobody for what it does not have."""
        for token in filter(None, (plan.token, plan.stranger)):
            for node in self._nodes:
                self._check_node(node, plan, token)

    def _check_node(self, node: Node, plan: Plan, token: str) -> None:
        until = time.monotonic() + KNOWN_WITHIN
        try:
            reply = node.read(f"Is this edgecache verify {plan.run}?", plan.model, token)
            while reply.status in UNKNOWN and time.monotonic() < until and not self.stop.wait(LOOK):
                reply = node.read(f"Is this edgecache verify {plan.run}?", plan.model, token)
        except Unreachable as error:
            raise Refused(f"{error}.") from None
        if not reply.is_not_cached:
            raise Refused(
                f"{node.name} answered a question that nobody has asked before, and that may only be answered from "
                f"cache, with {reply.status} and not with 504: {reply.reason}"
            )

    def _purge(self, plan: Plan) -> None:
        """Of the canaries nothing stays. By any node that takes it."""
        path = f"/service/{plan.service}/purge/{plan.tag}?wait=all"
        for node in self._nodes:
            try:
                if node.call(path, {}, plan.token).status == 200:
                    return
            except Unreachable:
                continue
        self._findings.failed(f"the canaries could not be purged: they are tagged {plan.tag}, and gone in an hour")

    def _revoke(self) -> None:
        while self._made:
            name = self._made.pop()
            try:
                assert self._admin is not None
                self._admin.call("DELETE", f"/admin/tokens/{quote(name, safe='')}")
            except Refused as error:
                self._findings.failed(f"the token {name} could not be revoked: {error}")

    # --- meanwhile ------------------------------------------------------------------------------------------------

    def _carry_out(self, plan: Plan, progress: Callable[[float], None]) -> None:
        count = self._wish.canaries
        with ThreadPoolExecutor(count * len(self._nodes)) as looks, ThreadPoolExecutor(count) as rounds:
            canaries = [Canary(number, plan, self._nodes, self._findings, looks) for number in range(count)]
            done = threading.Event()
            watchers = [threading.Thread(target=watch, args=(node, canaries, done)) for node in self._nodes]
            writers = [rounds.submit(self._go_through, canary) for canary in canaries]
            try:
                for watcher in watchers:
                    watcher.start()
                while wait(writers, timeout=LOOK).not_done:
                    progress(self._share())
            finally:
                self.stop.set()
                wait(writers)
                done.set()
                for watcher in watchers:
                    watcher.join()
            for writer in writers:
                writer.result()

    def _go_through(self, canary: Canary) -> None:
        count = 0
        while not self.stop.is_set() and time.monotonic() < self._ends:
            if self._wish.seconds is None and count == self._wish.rounds:
                return
            if not canary.round(count):
                self.stop.wait(LOOK)  # what failed is not asked again at once
            count += 1

    def _share(self) -> float:
        if self._wish.seconds is not None:
            return 1.0 - max(0.0, self._ends - time.monotonic()) / self._wish.seconds
        return self._findings.counted("rounds") / (self._wish.rounds * self._wish.canaries)
