"""A provider for tests and benchmarks: a real HTTP server on loopback whose answers are scripted.

    async with ScriptedUpstream() as upstream:
        upstream.enqueue(Answer(status=429, body=b"{}"))   # the next request gets this, those after it a chat answer
        ...                                                # send requests to upstream.url
        assert upstream.requests[0].path == "/v1/chat/completions"

Barriers are `asyncio.Event`s: the server waits for them before the head or between chunks. `raw_upstream.py` beside
this file sends bytes no HTTP library would send.
"""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

JSON_HEADERS: Final = (("Content-Type", "application/json"),)
SSE_HEADERS: Final = (("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"))

DEADLINE_S: Final = 60.0
"""How long the `wait_` methods wait before they fail the test."""


class Step(Enum):
    """What an answer's body may do besides sending bytes."""

    CUT = "cut"
    """Close the connection at once: a chunked or too short body is never finished."""


@dataclass(frozen=True)
class Received:
    """One request as it came: `query` without `?`, header names in their own case."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header; the name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> object:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server does with one request.

    A `body` goes with a Content-Length, `chunks` go chunk by chunk (chunked encoding unless `headers` give a
    Content-Length); an event among them is waited for. `before_head` is waited for, then `delay_ms` passes, then the
    head goes. A hanging server is a barrier nobody sets.
    """

    status: int = 200
    headers: Sequence[tuple[str, str]] = JSON_HEADERS
    body: bytes = b""
    chunks: Sequence[bytes | asyncio.Event | Step] | None = None
    before_head: asyncio.Event | None = None
    delay_ms: float = 0.0


def event(data: object) -> bytes:
    """One server-sent event; text goes as it is, anything else as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"data: {text}\n\n".encode()


def last_user_text(body: bytes) -> str:
    """The text of the last user message of a chat request, "" where there is none."""
    try:
        messages = json.loads(body)["messages"]
        content = next(turn["content"] for turn in reversed(messages) if turn["role"] == "user")
    except (ValueError, LookupError, TypeError, StopIteration):
        return ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def chat_answer(request: Received, reply: Callable[[str], str]) -> Answer:
    """An OpenAI chat completion, as JSON or as server-sent events as the request's `stream` says."""
    try:
        asked = json.loads(request.body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        return refusal(400, "We could not parse the JSON body of your request.")
    text = reply(last_user_text(request.body))
    if not asked.get("stream"):
        return Answer(body=_completion(asked, text))
    return Answer(headers=SSE_HEADERS, chunks=_completion_events(asked, text))


def refusal(status: int, message: str) -> Answer:
    """An error in OpenAI's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Answer(status=status, body=json.dumps({"error": error}).encode())


def _completion(asked: dict[str, object], text: str) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    shape = _shape(asked, "chat.completion") | {"choices": [choice], "usage": _usage(text)}
    return json.dumps(shape).encode()


def _completion_events(asked: dict[str, object], text: str) -> list[bytes]:
    shape = _shape(asked, "chat.completion.chunk")
    words = [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    events = [shape | {"choices": [_delta(delta, None)]} for delta in deltas]
    events.append(shape | {"choices": [_delta({}, "stop")]})
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        events.append(shape | {"choices": [], "usage": _usage(text)})
    return [*map(event, events), event("[DONE]")]


def _shape(asked: dict[str, object], kind: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-scripted",
        "object": kind,
        "created": 1_700_000_000,
        "model": asked.get("model", "scripted"),
    }


def _delta(delta: dict[str, str], finish: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(text: str) -> dict[str, int]:
    completion = max(1, len(text.split()))
    return {"prompt_tokens": 10, "completion_tokens": completion, "total_tokens": 10 + completion}


def default_script(reply: Callable[[str], str]) -> Callable[[Received], Answer]:
    """Chat completions and a list of one model; 404 in OpenAI's shape for all else."""

    def answer(request: Received) -> Answer:
        if request.path.endswith("/chat/completions") and request.method == "POST":
            return chat_answer(request, reply)
        if request.path.endswith("/models") and request.method == "GET":
            model = {"id": "scripted", "object": "model", "created": 1_700_000_000, "owned_by": "scripted"}
            return Answer(body=json.dumps({"object": "list", "data": [model]}).encode())
        return refusal(404, f"Invalid URL ({request.method} {request.path})")

    return answer


def make_tls(folder: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context for `names` (127.0.0.1 and localhost by default), and its CA's certificate as a PEM file."""
    import trustme  # a tool of tests: whoever uses this server without TLS need not have it

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return context, file


class Watched:
    """Something whose changes a test can wait for."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def _note(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is asked again after each request and each connection made or lost.

        Raises:
            TimeoutError: it did not hold within 10 s.
        """
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self._changed.wait()


class ScriptedUpstream(Watched):
    """The server. `requests` are in order of arrival, each recorded once its body is read.

    `reply` makes the assistant's text from the last user text; `script` replaces the default answers altogether.
    `delay_ms` is added before every head.
    """

    def __init__(
        self,
        reply: Callable[[str], str] = "You asked: {}".format,
        *,
        script: Callable[[Received], Answer] | None = None,
        delay_ms: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__()
        self.requests: list[Received] = []
        self._script = script or default_script(reply)
        self._queue: deque[Answer] = deque()
        self._delay_ms = delay_ms
        self._tls = tls
        self._server: _CountingServer | None = None
        self._runner: web.ServerRunner | None = None
        self._port = 0

    def __repr__(self) -> str:
        return f"<ScriptedUpstream {self.url}: {len(self.requests)} requests, {self.connections} connections>"

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._server.open) if self._server else 0

    @property
    def accepted(self) -> int:
        """How many connections were ever made."""
        return self._server.accepted if self._server else 0

    def enqueue(self, *answers: Answer) -> None:
        """Answers for the next requests, each used once, before the script is asked again."""
        self._queue.extend(answers)

    async def wait_requests(self, count: int) -> None:
        """Until at least `count` requests were read."""
        await self.wait_until(lambda: len(self.requests) >= count)

    async def wait_connections(self, count: int) -> None:
        """Until exactly `count` connections are open."""
        await self.wait_until(lambda: self.connections == count)

    async def open(self) -> None:
        self._server = _CountingServer(self._handle, self._note)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening and drop all connections. `open` listens at the same port again."""
        if self._runner and self._server:
            for transport in list(self._server.open.values()):
                transport.abort()
            await self._runner.cleanup()
        self._runner = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        received = await _receive(request)
        self.requests.append(received)
        self._note()
        answer = self._queue.popleft() if self._queue else self._script(received)
        if answer.before_head is not None:
            await answer.before_head.wait()
        if delay_ms := answer.delay_ms + self._delay_ms:
            await asyncio.sleep(delay_ms / 1_000)
        if answer.chunks is None:
            return web.Response(status=answer.status, headers=list(answer.headers), body=answer.body)
        return await _stream(request, answer, answer.chunks)


async def _receive(request: web.BaseRequest) -> Received:
    path, _, query = request.raw_path.partition("?")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
    return Received(request.method, path, query, headers, await request.content.read())


async def _stream(
    request: web.BaseRequest, answer: Answer, chunks: Sequence[bytes | asyncio.Event | Step]
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=list(answer.headers))
    await response.prepare(request)
    for chunk in chunks:
        if isinstance(chunk, bytes):
            await response.write(chunk)
        elif isinstance(chunk, asyncio.Event):
            await chunk.wait()
        else:
            await _cut(request)
    await response.write_eof()
    return response


async def _cut(request: web.BaseRequest) -> None:
    """Never returns: the handler is cancelled when the connection is gone. What was written before still arrives."""
    if request.transport is not None:
        request.transport.close()
    await asyncio.Event().wait()


class _CountingServer(web.Server):
    """Knows its open connections and says when they change; a handler ends with its connection."""

    def __init__(self, handler: Callable[[web.BaseRequest], object], note: Callable[[], None]) -> None:
        super().__init__(handler, handler_cancellation=True, access_log=None, auto_decompress=False)  # type: ignore[arg-type]
        self.open: dict[RequestHandler, asyncio.Transport] = {}
        self.accepted = 0
        self._note = note

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.open[handler] = transport
        self.accepted += 1
        self._note()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.open.pop(handler, None)
        self._note()
