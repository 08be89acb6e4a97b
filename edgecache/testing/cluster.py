"""Several real nodes on one store, each a process of its own or in this one: what tests of faults talk to.

async with Cluster([Process(f"node-{n}", folder, settings) for n in range(3)]) as nodes:
    await nodes[0].chat("How do I enable dark mode?")
    nodes[1].kill()
    await nodes.converged()
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import aiohttp

from edgecache.testing.node import CHAT, JSON, SECRET, Reply, chat_body, running_node

PATIENCE: Final = 60.0
"""Seconds for what must come about in the end, on a machine that is busy."""
LOOK: Final = 0.02
"""Seconds between two looks at what nobody tells."""
_SERVING: Final = "serving on <Listener "


class Member:
    """One node, as others see it. Has new addresses after each start."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.url = self.admin_url = ""
        self.session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.url or 'stopped'}>"

    async def start(self) -> None:
        """Returns when it serves."""
        raise NotImplementedError

    async def close(self) -> None:
        """As fast as possible. Safe twice."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        return bool(self.url)

    @property
    def token(self) -> str:
        return (self.folder / "data" / "admin-token").read_text().strip()

    # --- ask ------------------------------------------------------------------------------------------------------

    async def chat(self, question: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
        """`fields` are further ones of the request."""
        return await self._send("POST", self.url + CHAT, chat_body(question, **fields), {**JSON, **(headers or {})})

    async def purge(self, *keys: str, wait: bool = False) -> Reply:
        """All that carries one of these keys; with `wait` on every node."""
        body = json.dumps({"surrogate_keys": keys}).encode()
        return await self._order("/service/edgecache/purge", body, wait)

    async def purge_all(self, *, wait: bool = False) -> Reply:
        return await self._order("/service/edgecache/purge_all", b"", wait)

    async def _order(self, path: str, body: bytes, wait: bool) -> Reply:
        url = self.url + path + ("?wait=all" if wait else "")
        return await self._send("POST", url, body, {**JSON, "Fastly-Key": self.token})

    async def ready(self) -> Any:
        """What `/readyz` says."""
        return (await self._send("GET", self.admin_url + "/readyz")).json()

    async def blind(self) -> bool:
        return bool((await self.ready())["log"]["blind"])

    async def status(self) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return (await self._send("GET", self.admin_url + "/admin/status", headers=headers)).json()

    async def _send(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        if not self.running or self.session is None:
            raise aiohttp.ClientConnectionError(f"{self!r} does not run")
        async with self.session.request(method, url, data=body, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())


class Process(Member):
    """`edgecache serve`, with everything it says in `log`. `settings` are variables of its environment."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(name, folder)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._said = 0

    @property
    def log(self) -> str:
        """Of all its lives."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    async def start(self) -> None:
        """
        Raises:
            RuntimeError: it ended, or does not serve after PATIENCE; with what it said.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._said = len(self.log)
        with (self.folder / "log").open("ab") as log:
            self._process = self._begin(log)
        deadline = time.monotonic() + PATIENCE
        while not self._found():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self!r} did not start:\n{self.log[self._said :]}")
            await asyncio.sleep(LOOK)

    def kill(self) -> None:
        """SIGKILL. Safe twice. Blocks until it is gone."""
        process, self._process = self._process, None
        self.url = self.admin_url = ""
        if process is not None:
            process.kill()
            process.wait()

    async def close(self) -> None:
        self.kill()

    def pause(self) -> None:
        """SIGSTOP: the system accepts connections for it, and nothing else happens. Only one that runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _begin(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Bound to no event loop: it may outlive the one that started it."""
        command = (sys.executable, "-m", "edgecache", "serve")
        return subprocess.Popen(command, cwd=self.folder, env=self._environment(), stdout=log, stderr=log)

    def _found(self) -> bool:
        """Its addresses, from the line that says that it serves."""
        _, serving, rest = self.log[self._said :].partition(_SERVING)
        line, end, _ = rest.partition("\n")
        if serving and end:
            traffic, admin = (part.split(">")[0] for part in line.split(", admin on <Listener "))
            self.url, self.admin_url = f"http://{traffic}", f"http://{admin}"
        return self.running

    def _environment(self) -> dict[str, str]:
        models = ("EDGECACHE_MODELS", "EDGECACHE_MODEL_WHEELS")
        kept = {name: value for name, value in os.environ.items() if name in models or "EDGECACHE_" not in name}
        return {
            **kept,
            "EDGECACHE_NODE": self.name,
            "EDGECACHE_LOCAL_MODEL": "",
            "EDGECACHE_SECRET": SECRET,
            "EDGECACHE_DATA_FOLDER": str(self.folder / "data"),
            "EDGECACHE_LISTEN_TRAFFIC": "127.0.0.1:0",
            "EDGECACHE_LISTEN_ADMIN": "127.0.0.1:0",
            **self._settings,
        }


class Inside(Member):
    """A node in this process, so that a test can break it. `settings` are those of `running_node`."""

    def __init__(self, name: str, folder: Path, **settings: Any) -> None:
        super().__init__(name, folder)
        self._settings = settings
        self._started = contextlib.AsyncExitStack()

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        node = await self._started.enter_async_context(
            running_node(self.folder, **{"node": self.name, **self._settings})
        )
        self.url, self.admin_url = node.url, node.admin_url

    async def close(self) -> None:
        self.url = self.admin_url = ""
        await self._started.aclose()


class Cluster(Sequence[Member]):
    """All of them run in its context, and whoever was stopped meanwhile may be started again. With `keep` they go on
    running after it, for the next one.
    """

    def __init__(self, members: Sequence[Member], *, keep: bool = False) -> None:
        self._members = tuple(members)
        self._keep = keep

    def __repr__(self) -> str:
        return f"<Cluster {list(self._members)}>"

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, place: Any) -> Any:
        return self._members[place]

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
        for member in self:
            member.session = session
        try:
            await asyncio.gather(*(member.start() for member in self if not member.running))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Safe twice."""
        if not self._keep:
            await asyncio.gather(*(member.close() for member in self))
        for member in self:
            if member.session is not None:
                await member.session.close()

    async def converged(self) -> int:
        """Returns when nobody is blind and all have applied the same of the same log; how much that is.

        Raises:
            TimeoutError: it does not come about; nobody may purge meanwhile.
        """
        seen: list[Any] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    seen = [(await member.ready())["log"] for member in self if member.running]
                    same = len({(log["identity"], log["applied"]) for log in seen}) == 1
                    if same and not any(log["blind"] for log in seen):
                        return int(seen[0]["applied"])
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            raise TimeoutError(f"{self!r} does not converge: {seen}") from None

    async def all_blind(self) -> None:
        """Returns when no node that runs serves from cache any more."""
        async with asyncio.timeout(PATIENCE):
            for member in self:
                while member.running and not await member.blind():  # noqa: ASYNC110  nobody tells
                    await asyncio.sleep(LOOK)
