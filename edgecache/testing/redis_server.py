"""A real redis-server for tests: its own folder, its own port, and every way to die."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STARTING = 60.0
"""Seconds a server may take to answer, on a machine that is busy."""
_BUSY = 60.0  # what running redis-cli may take, on the same machine
_AT_ONCE = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def why_no_redis() -> str | None:
    """Why tests with a redis-server cannot run here, None where they can. In CI it is a failure, elsewhere a skip."""
    missing = [name for name in ("redis-server", "redis-cli") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found (Debian: apt-get install redis-server)" if missing else None


class RedisServer:
    """Starts with its context, sync or async, and is gone with its data at the end of it.

    `append_only` writes every command to the disk before it is answered (`appendfsync always`); without it the server
    forgets everything when it is killed. `options` are further words of its command line. A `replica_of` a server that
    runs has all of its data when `start` returns.
    """

    def __init__(
        self, *, append_only: bool = True, options: Sequence[str] = (), replica_of: "RedisServer | None" = None
    ) -> None:
        self._append_only = append_only
        self._options = tuple(options)
        self._primary = replica_of
        self._aside: Path | None = None
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
    def running(self) -> bool:
        return self._process is not None

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
            port = self.port or free_port()
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command(port), stdout=log, stderr=log)
            if self._answers(port):
                self.port = port
                self._catch_up()
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

    def move(self, port: int) -> None:
        """Serve at another port, at which nobody serves. Blocks."""
        self.cli("CONFIG", "SET", "port", str(port))
        self.port = port

    def wipe(self) -> None:
        """Kill it and start it with nothing. Blocks."""
        self.restart(keep_data=False)

    def save_aside(self) -> None:
        """Copy its data as it is now; nobody may write meanwhile. Blocks."""
        self._aside = self._aside or Path(tempfile.mkdtemp(prefix="edgecache-redis-aside-"))
        if not self._append_only:
            self.cli("SAVE")
        shutil.copytree(self.folder, self._aside, dirs_exist_ok=True)

    def put_back(self) -> None:
        """Kill it and start it with the data that was saved aside: the store and the log have rolled back together.
        Blocks.
        """
        if self._aside is None:
            raise RuntimeError(f"nothing of {self!r} was saved aside")
        self.kill()
        shutil.rmtree(self.folder)
        shutil.copytree(self._aside, self.folder)
        self.start()

    def cli(self, *words: str) -> str:
        """What redis-cli prints. Blocks."""
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_BUSY).stdout

    def confirm(self, write: str) -> None:
        """Have every replica acknowledge a write: one that has just come takes up to a second for its first. Blocks.

        Raises:
            RuntimeError: not within STARTING seconds.
        """
        replicas = self.cli("INFO", "replication").count("state=online")
        asked = f"{write}\nWAIT {replicas} {int(1_000 * STARTING)}\n"
        command = ["redis-cli", "-p", str(self.port)]
        said = subprocess.run(
            command, check=True, capture_output=True, text=True, input=asked, timeout=STARTING + _BUSY
        )
        if said.stdout.split()[-1:] != [str(replicas)]:
            raise RuntimeError(f"replicas of {self!r} did not follow: {said.stdout}")

    def remove(self) -> None:
        """Kill it and delete its folder. Blocks."""
        self.kill()
        for folder in (self._folder, self._aside):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._folder = self._aside = None

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
        follow = ["--replicaof", "127.0.0.1", str(self._primary.port)] if self._primary else []
        return ["redis-server", *where, "--save", "", *_AT_ONCE, *keep, *follow, *self._options]

    def _catch_up(self) -> None:
        primary = self._primary
        if primary is not None:
            wait_until(lambda: f"port={self.port},state=online" in primary.cli("INFO"), f"{self!r} in step")
            primary.confirm("PUBLISH in-step now")

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


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """Asks until it is so. Blocks.

    Raises:
        RuntimeError: it is not so after STARTING seconds.
    """
    deadline = time.monotonic() + STARTING
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {STARTING} s")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ping(port: int) -> bool:
    """Whether a server answers, if only that it wants a password, and has read its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
