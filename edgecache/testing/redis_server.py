"""A real redis-server for tests: its own folder, its own port, and every way to die."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STARTING = 20.0
"""Seconds a server may take to answer, on a machine that is busy."""


def why_no_redis() -> str | None:
    """Why tests with a redis-server cannot run here, None where they can. In CI it is a failure, elsewhere a skip."""
    missing = [name for name in ("redis-server", "redis-cli") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found (Debian: apt-get install redis-server)" if missing else None


class RedisServer:
    """Starts with its context, sync or async, and is gone with its data at the end of it.

    `append_only` writes every command to the disk before it is answered (`appendfsync always`); without it the server
    forgets everything when it is killed. `options` are further words of its command line.
    """

    def __init__(self, *, append_only: bool = True, options: Sequence[str] = ()) -> None:
        self._append_only = append_only
        self._options = tuple(options)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process else "stopped"
        return f"<RedisServer 127.0.0.1:{self.port} {state}>"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def folder(self) -> Path:
        """Where it keeps its data, and its log file `redis.log`."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="edgecache-redis-"))
        return self._folder

    def start(self) -> None:
        """As often as needed, with what is in the folder, on the same port after the first time. Blocks.

        Raises:
            RuntimeError: it ended at once or did not answer; with the end of its log.
        """
        attempts = 1 if self.port else 5  # another process may take a free port before the server does
        for attempt in range(attempts):
            self.port = self.port or _free_port()
            self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._answers():
                return
            self.kill()
            if attempt + 1 < attempts:
                self.port = 0
        raise RuntimeError(f"redis-server did not start:\n{self._last_words()}")

    def stop(self) -> None:
        """SIGTERM, as an operator would. Safe twice. Blocks until it is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what was not on the disk is lost. Safe twice. Blocks until it is gone."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool = True) -> None:
        """Kill and start again, on the same port, if asked without anything of what it knew. Blocks."""
        self.kill()
        if not keep_data:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
        self.start()

    def cli(self, *words: str) -> str:
        """What redis-cli prints. Blocks."""
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=STARTING).stdout

    def remove(self) -> None:
        """Kill it and delete its folder. Blocks."""
        self.kill()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.remove)

    def _command(self) -> list[str]:
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self._append_only else ["--appendonly", "no"]
        place = ["--dir", str(self.folder), "--logfile", "redis.log"]
        where = ["--port", str(self.port), "--bind", "127.0.0.1"]
        return ["redis-server", *where, *place, "--save", "", *keep, *self._options]

    def _answers(self) -> bool:
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            if _ping(self.port):
                return self._process.poll() is None  # else it was another process on that port
            time.sleep(0.01)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()

    def _last_words(self) -> str:
        log = self.folder / "redis.log"
        return log.read_text(errors="replace")[-2_000:] if log.exists() else "(it wrote no log)"


class RedisServerCluster:
    """Three primaries without replicas, as a sync context. `url` is what RedisStorage takes."""

    def __init__(self) -> None:
        self.servers = tuple(RedisServer(append_only=False, options=self._options()) for _ in range(3))

    def __repr__(self) -> str:
        return f"<RedisServerCluster {[server.port for server in self.servers]}>"

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def __enter__(self) -> Self:
        try:
            for server in self.servers:
                server.start()
            self._join()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in self.servers:
            server.remove()

    def _options(self) -> tuple[str, ...]:
        return ("--cluster-enabled", "yes", "--cluster-port", str(_free_port()))

    def _join(self) -> None:
        """`redis-cli --cluster create` returns when its own node agrees; the others may need a moment more."""
        nodes = [f"127.0.0.1:{server.port}" for server in self.servers]
        self.servers[0].cli("--cluster", "create", *nodes, "--cluster-yes")
        deadline = time.monotonic() + STARTING
        while not all("cluster_state:ok" in server.cli("cluster", "info") for server in self.servers):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self!r} did not agree in {STARTING} s")
            time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ping(port: int) -> bool:
    """Whether a server answers, and has read its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
