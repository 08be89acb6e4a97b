"""Nodes as processes of their own, with everything in a folder, in front of one scripted upstream."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fault_load import BUDGET, Load

from edgecache.core.units import Duration, Size
from edgecache.settings import LimitSettings, StoreSettings
from edgecache.testing.cluster import Cluster, Inside, Member, Process
from edgecache.testing.link import Link
from edgecache.testing.redis_server import RedisServer
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream

NODES = 3
CUT_OFF = 2
"""The node behind the link."""
POLICY = """
[[route]]
name = "semantic"
models = ["semantic-*"]
mode = "semantic"
threshold = 0.9

[[route]]
name = "serves-stale"
models = ["stale-*"]
when_blind = "serve-stale"

[[route]]
name = "exact"
"""


class Script:
    """What the upstream says: the load of the test that runs."""

    def __init__(self) -> None:
        self.load: Load | None = None

    def __call__(self, request: Received) -> Answer:
        assert self.load is not None
        return self.load.answer(request)


class Bench:
    """A folder, an upstream whose address lasts, and processes. `patience` is what new nodes have with a Redis that
    hangs, in seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.patience = 0.5
        self.script = Script()
        self.upstream = ScriptedUpstream(script=self.script, delay_ms=5)
        (folder / "policies").mkdir()
        (folder / "policies" / "policy.toml").write_text(POLICY)

    def process(self, number: int, url: str, **settings: str) -> Process:
        """With a short lease."""
        return Process(
            f"node-{number}",
            self.folder,
            {
                "EDGECACHE_STORE_URL": self._patient(url),
                "EDGECACHE_STORE_LEASE": "1s",
                "EDGECACHE_UPSTREAM": self.upstream.url,
                "EDGECACHE_POLICIES": str(self.folder / "policies"),
                "EDGECACHE_LIMITS_MEMORY": f"{BUDGET}",
                **settings,
            },
        )

    def inside(self, number: int, url: str) -> Inside:
        """The same in this process."""
        return Inside(
            f"node-{number}",
            self.folder,
            upstream=self.upstream,
            policy=POLICY,
            store=StoreSettings(url=self._patient(url), lease=Duration(1)),
            limits=LimitSettings(memory=Size(BUDGET)),
        )

    def _patient(self, url: str) -> str:
        return f"{url}?socket_timeout={self.patience}"

    @asynccontextmanager
    async def loaded(self, members: Sequence[Member]) -> AsyncIterator[Load]:
        """Of nodes that run and are up to date."""
        async with Cluster(members) as nodes:
            self.script.load = load = Load(nodes)
            await nodes.converged()
            yield load
            said = [member.log for member in members if isinstance(member, Process)]
            assert not any("Traceback" in log for log in said), said


class Standing(Bench):
    """Three nodes on one server, one of them through a link, which go on from test to test while they are `well`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.well = False
        self.redis = RedisServer()
        self.link: Link
        self.members: list[Process] = []

    def begin(self) -> None:
        """With the upstream open, for its address."""
        if not self.well:
            self.end()
            self.redis.start()
            self.link = Link(self.redis.port)
        self.well = False

    def join(self) -> None:
        """With the link open, for its address."""
        if not self.members:
            urls = dict.fromkeys(range(NODES), self.redis.url) | {CUT_OFF: self.link.url}
            self.members = [self.process(number, url) for number, url in urls.items()]

    def end(self) -> None:
        for member in self.members:
            member.kill()
        self.members = []
        self.redis.remove()
