"""Nodes as processes of their own, and the command line beside them."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

DEADLINE = 60.0
COMMAND = (sys.executable, "-m", "edgecache")


@dataclass
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str


def environment(**settings: str) -> dict[str, str]:
    """That of the tests, without its edgecache settings but for where models and wheels are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGECACHE_")}
    models = {name: os.environ[name] for name in ("EDGECACHE_MODELS", "EDGECACHE_MODEL_WHEELS") if name in os.environ}
    return {**kept, **models, "EDGECACHE_LOCAL_MODEL": "", **settings}


async def run(*words: str, folder: Path, **settings: str) -> Ran:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *words,
        cwd=folder,
        env=environment(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


class NodeProcess:
    """`edgecache serve` with its data and policies in `folder`."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = {
            "EDGECACHE_DATA_FOLDER": str(folder / "data"),
            "EDGECACHE_LISTEN_TRAFFIC": "127.0.0.1:0",
            "EDGECACHE_LISTEN_ADMIN": "127.0.0.1:0",
            **settings,
        }
        self.log = ""
        self.url = self.admin = ""
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Returns when it serves."""
        self._session = self._session or aiohttp.ClientSession()
        self._process = await asyncio.create_subprocess_exec(
            *COMMAND, "serve", cwd=self.folder, env=environment(**self.settings), stderr=asyncio.subprocess.PIPE
        )
        line = await self.wait_line("serving on")
        found = re.search(r"serving on <Listener (\S+?)( tls)?>, admin on <Listener (\S+?)( tls)?>", line)
        assert found, line
        scheme = "https" if found[2] else "http"
        self.url, self.admin = f"{scheme}://{found[1]}", f"{scheme}://{found[3]}"

    async def wait_line(self, text: str) -> str:
        """The next line of its log that has `text` in it."""
        assert self._process is not None and self._process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while line := (await self._process.stderr.readline()).decode():
                self.log += line
                if text in line:
                    return line
        raise AssertionError(f"it ended without {text!r}:\n{self.log}")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self) -> int:
        assert self._process is not None and self._process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            self.log += (await self._process.stderr.read()).decode()
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def close(self) -> None:
        await self.kill()
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    @property
    def token(self) -> str:
        return (self.folder / "data" / "admin-token").read_text().strip()

    async def chat(self, question: str, **fields: Any) -> tuple[aiohttp.ClientResponse, str]:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}], **fields}
        async with self.session.post(self.url + "/v1/chat/completions", json=body) as response:
            answer = json.loads(await response.read())
            return response, answer["choices"][0]["message"]["content"]

    async def cli(self, *words: str) -> Ran:
        """A command of the same operator."""
        admin = self.admin.partition("://")[2]
        return await run(*words, folder=self.folder, **{**self.settings, "EDGECACHE_LISTEN_ADMIN": admin})
