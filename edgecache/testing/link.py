"""The way between one node and its server, which a test can cut, or hold what comes back on it."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class Link:
    """Passes on what comes to `port` here to another port of this machine, as an async context; as often as wanted, at
    the same port after the first time.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._cut = False
        self._open = asyncio.Event()
        self._open.set()
        self._held = asyncio.Event()
        self.port = 0

    def __repr__(self) -> str:
        state = "cut" if self._cut else "open" if self._open.is_set() else "holding"
        return f"<Link 127.0.0.1:{self.port} -> {self._to} {state}>"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Ends every connection; new ones end at once, until `mend`."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._cut = False

    def lead(self, to: int) -> None:
        """New connections go to another port from now on; those that are there stay, unless they were cut."""
        self._to = to

    def hold(self) -> None:
        """From now on replies wait here, until `release`; what is sent goes on."""
        self._held.clear()
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def wait_held(self) -> None:
        """Until a reply waits: what it answers has been done."""
        await self._held.wait()

    async def __aenter__(self) -> Self:
        self.mend()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        self.release()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._pumps.clear()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        answers, asking = await asyncio.open_connection("127.0.0.1", self._to)
        for source, target in ((reader, asking), (answers, writer)):
            pump = asyncio.create_task(self._pump(source, target, replies=target is writer))
            self._pumps.add(pump)
            self._writers.add(target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if replies and not self._open.is_set():
                    self._held.set()
                    await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
