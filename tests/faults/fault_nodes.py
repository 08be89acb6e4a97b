"""Nodes as processes of their own, with everything in a folder, in front of one scripted upstream."""

from pathlib import Path

from fault_load import BUDGET, Load

from edgecache.testing.cluster import Process
from edgecache.testing.redis_server import RedisServer
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream

NODES = 3
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
    """A folder, an upstream whose address lasts, and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = Script()
        self.upstream = ScriptedUpstream(script=self.script, delay_ms=5)
        (folder / "policies").mkdir()
        (folder / "policies" / "policy.toml").write_text(POLICY)

    def process(self, number: int, url: str, **settings: str) -> Process:
        """With a short lease, and short patience with a Redis that hangs."""
        return Process(
            f"node-{number}",
            self.folder,
            {
                "EDGECACHE_STORE_URL": f"{url}?socket_timeout=0.5",
                "EDGECACHE_STORE_LEASE": "500ms",
                "EDGECACHE_UPSTREAM": self.upstream.url,
                "EDGECACHE_POLICIES": str(self.folder / "policies"),
                "EDGECACHE_LIMITS_MEMORY": f"{BUDGET}",
                **settings,
            },
        )


class Standing(Bench):
    """Three nodes on one server, which go on from test to test while they are `well`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.well = False
        self.redis = RedisServer()
        self.members: list[Process] = []

    def begin(self) -> None:
        """With the upstream open, for its address."""
        if not self.well:
            self.end()
            self.redis.start()
            self.members = [self.process(n, self.redis.url) for n in range(NODES)]
        self.well = False

    def end(self) -> None:
        for member in self.members:
            member.kill()
        self.redis.remove()
