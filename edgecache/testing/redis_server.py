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

    @property
    def _log(self) -> Path:
        return self.folder / "redis.log"

    def start(self) -> None:
        """As often as needed, with what is in the folder, on the same port after the first time. Blocks.

        Raises:
            RuntimeError: it ended at once or did not answer; with the end of its log.
        """
        for _ in range(1 if self.port else 5):
            port = self.port or _free_port()
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command(port), stdout=log, stderr=log)
            if self._answers(port):
                self.port = port
                return
            taken = self._process.poll() is not None  # perhaps by another process, before the server did
            self.kill()
            if not taken:
                break
        raise RuntimeError(f"redis-server did not start:\n{self._last_words()}")

    def stop(self) -> None:
        """SIGTERM, as an operator would. Safe twice. Blocks until it is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what was not on the disk is lost. Safe twice. Blocks until it is gone."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

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

    def _command(self, port: int) -> list[str]:
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self._append_only else ["--appendonly", "no"]
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return ["redis-server", *where, "--save", "", *keep, *self._options]

    def _answers(self, port: int) -> bool:
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            if _ping(port):
                return self._process.poll() is None  # else it was another process on that port
            time.sleep(0.01)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()

    def _signal(self, which: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError(f"{self!r} is not running")
        self._process.send_signal(which)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2_000:]


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
    """Whether a server answers, if only that it wants a password, and has read its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
