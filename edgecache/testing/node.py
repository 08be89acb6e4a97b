"""A real node in this process, on free ports, with a folder of its own: what tests of the whole path talk to.

    async with ScriptedUpstream() as upstream, running_node(folder, upstream=upstream) as node:
        answer = await node.chat("How do I enable dark mode?")
        assert answer.status == 200 and answer.headers["X-Cache"] == "MISS"

Everything is as in production but for the clock, if a test brings one. The built-in embedding model is the real one;
there is no local model unless the settings name one.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from edgecache.app import App
from edgecache.core.ports import Generator
from edgecache.embedding.encoder import Encoder
from edgecache.embedding.onnx_embedder import OnnxEmbedder
from edgecache.models.progress import Silent
from edgecache.parts import TOKEN_FILE
from edgecache.settings import Listen, LocalSettings, Settings, UpstreamSettings
from edgecache.testing.scripted_upstream import ScriptedUpstream
from edgecache.weights import embedding_folder

CHAT: Final = "/v1/chat/completions"
NO_MODEL: Final = LocalSettings(model="")
SECRET: Final = "a secret for tests only"
DEADLINE_S: Final = 60.0
"""How long a test waits for what must come before it fails."""

SEMANTIC: Final = """
[[route]]
name = "questions"
mode = "semantic"
threshold = 0.9
request_tags = true
"""
"""A policy under which paraphrases of everything are hits."""


@dataclass(frozen=True)
class Reply:
    """One response, read whole: bytes as they came over the wire, less their transfer encoding."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What the assistant says, streamed or not."""
        if not self.headers["Content-Type"].startswith("text/event-stream"):
            return str(self.json()["choices"][0]["message"]["content"])
        deltas = [choice["delta"] for event in self.events() for choice in event["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)

    def events(self) -> list[Any]:
        """The data of a stream's events, `[DONE]` left out."""
        lines = [line.removeprefix(b"data: ") for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]

    @property
    def error(self) -> Any:
        """The provider-shaped error object."""
        return self.json()["error"]


class Clock:
    """Unix time in seconds, as a test sets it. Call it to read it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"<Clock {self.now}>"


class Node:
    """A started `App` and a client of it."""

    def __init__(self, app: App, session: aiohttp.ClientSession, admin_token: str) -> None:
        assert app.traffic is not None and app.admin is not None
        self.app = app
        self.session = session
        self.admin_token = admin_token
        self.port = app.traffic.port
        self.admin_port = app.admin.port

    def __repr__(self) -> str:
        return f"<Node {self.app!r}>"

    @property
    def url(self) -> str:
        """Of the traffic listener, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    async def ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, admin: bool = False
    ) -> Reply:
        """One request; `path` with its query, as it is to be sent. Nothing is followed, decoded or unpacked."""
        url = URL((self.admin_url if admin else self.url) + path, encoded=True)
        async with self.session.request(
            method, url, data=body, headers=CIMultiDict(headers or {}), allow_redirects=False
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def chat(
        self,
        question: str | Sequence[Mapping[str, Any]],
        *,
        headers: Mapping[str, str] | None = None,
        path: str = CHAT,
        **fields: Any,
    ) -> Reply:
        """A chat completion: a question, or all messages; `fields` are further ones of the request."""
        return await self.ask("POST", path, chat_body(question, **fields), headers={**JSON, **(headers or {})})

    async def manage(self, method: str, path: str, body: Any = None) -> Reply:
        """A call to the admin listener with this node's admin token."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        content = None if body is None else msgspec.json.encode(body)
        return await self.ask(method, path, content, headers=headers, admin=True)

    async def token(self, name: str, *, scope: str = "team", grants: Sequence[str] = ("traffic",)) -> str:
        """A new token's secret."""
        made = await self.manage("POST", "/admin/tokens", {"name": name, "scope": scope, "grants": list(grants)})
        assert made.status == 201, made
        return str(made.json()["token"])

    async def stored(self) -> int:
        """How many entries the store holds."""
        return await self.app.storage.store.count()

    async def statistics(self) -> Any:
        return (await self.manage("GET", "/admin/status")).json()

    async def landed(self) -> None:
        """Until no fill is in flight: what could be stored is stored. A stream ends for its client a little before."""
        async with asyncio.timeout(DEADLINE_S):
            while (await self.statistics())["flights"]["flying"]:
                pass


JSON: Final = {"Content-Type": "application/json"}


def chat_body(question: str | Sequence[Mapping[str, Any]], **fields: Any) -> bytes:
    """A chat request as JSON."""
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else list(question)
    return json.dumps({"model": "gpt-4o", "messages": messages, **fields}).encode()


@asynccontextmanager
async def running_node(
    folder: Path,
    *,
    upstream: ScriptedUpstream | str | None = None,
    key: str = "",
    upstreams: Sequence[UpstreamSettings] = (),
    policy: str = "",
    clock: Callable[[], float] = time.time,
    local: Generator | None = None,
    **settings: Any,
) -> AsyncGenerator[Node, None]:
    """A node whose data and policies are in `folder`; a second one on the same folder is the first one restarted.

    `upstream` is asked for what the cache does not have, with `key` if it is configured; or `upstreams` are;
    `policy` is TOML, empty for the default one; `local` takes the place of the local model; `settings` are further
    fields of `Settings`.
    """
    if local is not None:
        settings.setdefault("local", LocalSettings())
    chosen = await asyncio.to_thread(_settings, folder, upstream, key, upstreams, policy, settings)
    app = App(chosen, Silent(), clock=clock, local=local)
    if isinstance(app._embedder, OnnxEmbedder):
        app._embedder._load = partial(_encoder, app._cache)
    try:
        await app.open()
        admin_token = await asyncio.to_thread((chosen.folder / TOKEN_FILE).read_text)
        async with aiohttp.ClientSession(
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
        ) as session:
            yield Node(app, session, admin_token.strip())
    finally:
        await app.close()


@cache
def _encoder(models: Path) -> Encoder:
    """The built-in embedding model, loaded once for all nodes of this process: it takes longer than all the rest of a
    start. Sessions of onnxruntime may be run by several threads, and so may a tokenizer that neither pads nor cuts.
    """
    return OnnxEmbedder(partial(embedding_folder, models, Silent()))._load()


def _settings(
    folder: Path,
    upstream: ScriptedUpstream | str | None,
    key: str,
    upstreams: Sequence[UpstreamSettings],
    policy: str,
    further: Mapping[str, Any],
) -> Settings:
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    if policy:
        (policies / "policy.toml").write_text(policy)
    url = upstream.url if isinstance(upstream, ScriptedUpstream) else upstream
    defaults: dict[str, Any] = {
        "node": "node-under-test",
        "data_folder": str(folder / "data"),
        "policies": str(policies),
        "secret": SECRET,
        "drain": 0.2,
        "listen": Listen(traffic="127.0.0.1:0", admin="127.0.0.1:0"),
        "local": NO_MODEL,
        "upstream": (UpstreamSettings(name="upstream", url=url, key=key),) if url else tuple(upstreams),
    }
    return Settings(**{**defaults, **further})


class RawConnection:
    """Bytes to a listener and back, for what no HTTP client would send. A context manager: leaving it hangs up."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    async def send(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    def finish(self) -> None:
        """No more will be sent; answers can still come."""
        self._writer.write_eof()

    async def until(self, end: bytes) -> bytes:
        """All bytes up to and with `end`.

        Raises:
            TimeoutError, asyncio.IncompleteReadError: they did not come.
        """
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readuntil(end)

    async def exactly(self, count: int) -> bytes:
        """So many bytes."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readexactly(count)

    async def rest(self) -> bytes:
        """All bytes until the listener closes the connection; b"" if it resets it.

        Raises:
            TimeoutError: it did not close it.
        """
        found = b""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while piece := await self._reader.read(65_536):
                    found += piece
            except ConnectionError:
                pass
        return found
