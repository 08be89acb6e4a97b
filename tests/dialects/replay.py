"""Recorded exchanges through a node: what became of each.

Each exchange has a key of its own, and so a scope of its own: none is answered from another's entries. The scripted
upstream knows by the key which one it is to answer.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from cassettes import SUFFIX_OF, Exchange
from meaning import CHAT, COMPLETIONS, CONVERSING, EMBEDDINGS, MESSAGES, RESPONSES, difference, meaning, problems, whole

from edgecache.core.entry import Framing
from edgecache.errors import Untranslatable
from edgecache.testing.node import Node, Reply
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream, refusal
from edgecache.wire.dialect import Untellable
from edgecache.wire.dialects import BY_NAME

PIECE: Final = 1_009
"""Bytes of a stream that come at once: events end where they like."""
ALL_PATHS: Final = """
[[route]]
name = "all"
path = "/*"
"""
_ENDED: Final = re.compile(r"its last fill ended as: (.*)\.$")
_DETAIL: Final = re.compile(r'detail=("?)(.*)\1$')
PADDING: Final = b'"obfuscation"'
OK: Final = "hit"
VERSION: Final = {"anthropic-version": "2023-06-01"}
"""Sent by Anthropic's SDKs with every request."""


class Wrong(AssertionError):
    """An exchange did not go through as it must."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`steps` by name: OK, or why the node did not take it, in its words or its codecs'."""

    exchange: Exchange
    steps: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "; ".join(f"{step}: {said}" for step, said in self.steps.items())


def check(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


def askable(exchange: Exchange, other: str) -> dict[str, Any]:
    """The request, with a limit of tokens where the other dialect demands one; and of an answer that the provider is
    not to keep, as its client could not go on with another's.
    """
    kept = {"store": False} if exchange.dialect == RESPONSES else {}
    limit = {CHAT: "max_completion_tokens", RESPONSES: "max_output_tokens"}.get(exchange.dialect or "", "max_tokens")
    unlimited = other == MESSAGES and not exchange.asked.keys() & {limit, "max_tokens"}
    return {**exchange.asked, **kept, **({limit: 4_096} if unlimited else {})}


def translated(exchange: Exchange, fields: Mapping[str, Any], other: str, *, stream: bool) -> bytes | str:
    """The body that asks the same in another dialect; or why there is none, as its codec says."""
    assert exchange.dialect is not None
    own, codec = BY_NAME.get(exchange.dialect), BY_NAME.get(other)
    if own is None or codec is None:
        return "no codec"
    request = own.read(msgspec.json.encode(fields), exchange.path)
    if request.bound:
        return "bound to its dialect"
    if request.conversation is None:
        return "no conversation"
    try:
        body = codec.write_request(request.conversation, request.model, stream=stream)
    except Untranslatable as error:
        return str(error)
    again = codec.read(body, SUFFIX_OF[other]).question
    if request.question.uncacheable or again == request.question:
        return body
    where, _, _ = difference(msgspec.to_builtins(request.question), msgspec.to_builtins(again))
    return f"asks something else: {where}"


def untellable(exchange: Exchange, otherwise: str) -> str:
    """Why an answer cannot be said in other dialects, as its codec says."""
    try:
        BY_NAME[str(exchange.dialect)].reply(Framing.SSE if exchange.streamed else Framing.JSON, exchange.answer)
    except Untellable as error:
        return f"the answer: {error}"
    raise Wrong(otherwise)


class Replay:
    """Through one node, in any order."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self._keys = {exchange.name: f"sk-{number}" for number, exchange in enumerate(exchanges)}
        self._by_key = {self._keys[exchange.name]: exchange for exchange in exchanges}
        self.upstream = ScriptedUpstream(script=self._answer)
        self._node: Node | None = None

    def __repr__(self) -> str:
        return f"<Replay of {len(self._keys)} exchanges>"

    def through(self, node: Node) -> None:
        self._node = node

    async def run(self, exchange: Exchange) -> Outcome:
        """
        Raises:
            Wrong
        """
        miss, asked = await self._ask(exchange)
        check(asked, "the first answer did not come from the upstream")
        check(miss.status == exchange.status, f"status {miss.status}, not {exchange.status}")
        check(_type(miss) == exchange.content_type, f"Content-Type {_type(miss)}, not {exchange.content_type}")
        check(miss.body == exchange.answer, f"another body: {miss.body[:300]!r}")
        if exchange.dialect is None:
            return Outcome(exchange=exchange, steps={"again": await self._passed(exchange)})
        again = await self._again(exchange, miss)
        if again != OK:
            return Outcome(exchange=exchange, steps={"again": again})
        if exchange.dialect == EMBEDDINGS:
            return Outcome(exchange=exchange, steps={"again": OK, "one by one": await self._one_by_one(exchange)})
        steps = {"again": OK, "flipped": await self._flipped(exchange)}
        if exchange.dialect in CONVERSING:
            steps |= {other: await self._told(exchange, other) for other in CONVERSING if other != exchange.dialect}
        return Outcome(exchange=exchange, steps=steps)

    async def _passed(self, exchange: Exchange) -> str:
        """Of a path that no cache understands: every request goes through."""
        again, asked = await self._ask(exchange)
        check(asked, "a hit for what is to be passed through")
        check(again.body == exchange.answer, "another body at the second time")
        check(again.headers["Cache-Status"] == "edgecache; fwd=bypass", again.headers["Cache-Status"])
        return "passed through"

    async def _again(self, exchange: Exchange, miss: Reply) -> str:
        again, asked = await self._ask(exchange)
        check(again.status == exchange.status, f"status {again.status} at the second time")
        if asked:
            check(again.body == exchange.answer, "another body at the second time")
            return await self._why(again)
        check(again.headers["X-Cache"] == "HIT", f"X-Cache {again.headers['X-Cache']}, and the upstream saw nothing")
        check(_type(again).partition(";")[0] == exchange.content_type.partition(";")[0], f"a hit as {_type(again)}")
        check(_same_bytes(exchange, again.body), f"the hit has other bytes: {again.body[:300]!r}")
        return OK

    async def _flipped(self, exchange: Exchange) -> str:
        body = {**exchange.asked, "stream": not exchange.streamed}
        options = body.pop("stream_options", None)
        if body["stream"] and exchange.dialect in (CHAT, COMPLETIONS):
            body["stream_options"] = options or {"include_usage": True}
        flipped, asked = await self._ask(exchange, body)
        if asked:
            return await self._why(flipped)
        check(flipped.headers["X-Cache"] == "HIT", f"flipped: X-Cache {flipped.headers['X-Cache']}")
        expected = "text/event-stream" if body["stream"] else "application/json"
        check(_type(flipped).startswith(expected), f"flipped: {_type(flipped)}")
        self._same(exchange, flipped.body)
        return OK

    def _same(self, exchange: Exchange, flipped: bytes) -> None:
        assert exchange.dialect is not None
        recorded = _dump(whole(exchange.dialect, exchange.answer, streamed=exchange.streamed))
        rendered = _dump(whole(exchange.dialect, flipped, streamed=not exchange.streamed))
        if recorded != rendered:
            raise Wrong("flipped: at {}: {!r:.200} became {!r:.200}".format(*difference(recorded, rendered)))

    async def _one_by_one(self, exchange: Exchange) -> str:
        """Each input of a batch alone."""
        given = exchange.asked["input"]
        if isinstance(given, str) or isinstance(given[0], int):
            return "one input"
        vectors = [item["embedding"] for item in msgspec.json.decode(exchange.answer)["data"]]
        for text, vector in zip(given, vectors, strict=True):
            alone, asked = await self._ask(exchange, {**exchange.asked, "input": text})
            check(not asked, f"the upstream was asked for {text!r} alone")
            told = [item["embedding"] for item in alone.json()["data"]]
            check(told == [vector], f"another vector for {text!r}")
        return OK

    async def _told(self, exchange: Exchange, other: str) -> str:
        """The same question in another dialect, streamed and not."""
        assert exchange.dialect is not None
        common = askable(exchange, other)
        for stream in (False, True):
            body = translated(exchange, common, other, stream=stream)
            if isinstance(body, str):
                return body
            if not stream and (common != exchange.asked or exchange.query):
                await self._send(exchange, exchange.path, msgspec.json.encode(common), dict(exchange.headers))
            path = exchange.path.removesuffix(SUFFIX_OF[exchange.dialect]) + SUFFIX_OF[other]
            reply, asked = await self._send(exchange, path, body, VERSION if other == MESSAGES else {})
            if asked:
                return untellable(exchange, f"{other}: {reply.headers.get('Cache-Status')}, asked with {body.decode()}")
            check(reply.headers["X-Cache"] == "HIT", f"{other}: {reply.status} {reply.body[:300]!r}")
            self._means(exchange, reply.body, other, stream)
        return OK

    def _means(self, exchange: Exchange, told: bytes, other: str, stream: bool) -> None:
        assert exchange.dialect is not None
        problem = problems(other, told, streamed=stream)
        check(problem is None, f"{other}, stream {stream}: {problem}")
        recorded = meaning(exchange.dialect, exchange.answer, streamed=exchange.streamed)
        if other == MESSAGES and recorded.tokens is None:  # a field that is not optional there
            recorded = replace(recorded, tokens=(0, 0))
        rendered = meaning(other, told, streamed=stream)
        check(recorded == rendered, f"{other}, stream {stream}: {recorded} became {rendered}")

    async def _ask(self, exchange: Exchange, fields: Any = None) -> tuple[Reply, bool]:
        body = exchange.body if fields is None else msgspec.json.encode(fields)
        return await self._send(exchange, exchange.target, body, dict(exchange.headers))

    async def _send(
        self, exchange: Exchange, target: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Reply, bool]:
        """The reply, and whether the upstream was asked for it. A stream is stored a moment after it ended."""
        assert self._node is not None
        seen = len(self.upstream.requests)
        sent = {**headers, "Authorization": f"Bearer {self._keys[exchange.name]}"}
        reply = await self._node.ask(exchange.method, target, body, headers=sent)
        if exchange.dialect is not None and exchange.streamed:
            await self._node.landed()
        return reply, len(self.upstream.requests) > seen

    async def _why(self, reply: Reply) -> str:
        """Why it was not stored, in the node's words: in its header, or as it explains the entry."""
        assert self._node is not None
        said = _DETAIL.search(reply.headers.get("Cache-Status", ""))
        if said is not None:
            return said[2]
        explained = await self._node.manage("GET", f"/admin/entries/{reply.headers.get('X-Edgecache-Id')}")
        ended = _ENDED.search(explained.error["message"]) if explained.status == 404 else None
        check(ended is not None, f"no reason: {reply.headers.get('Cache-Status')}, {explained.body[:300]!r}")
        assert ended is not None
        return ended[1]

    def _answer(self, request: Received) -> Answer:
        exchange = self._by_key[(request.header("Authorization") or "").removeprefix("Bearer ")]
        if request.path != exchange.path:
            return refusal(404, f"{exchange.name} was recorded at {exchange.path}")
        if not exchange.streamed:
            return Answer(status=exchange.status, headers=exchange.answer_headers, body=exchange.answer)
        pieces = [exchange.answer[at : at + PIECE] for at in range(0, len(exchange.answer), PIECE)]
        return Answer(status=exchange.status, headers=exchange.answer_headers, chunks=pieces)


def _same_bytes(exchange: Exchange, hit: bytes) -> bool:
    """But for padding, and for the order in which the answers to a batch of inputs are written down again."""
    if exchange.dialect == EMBEDDINGS:
        return bool(msgspec.json.decode(hit) == msgspec.json.decode(exchange.answer))
    if PADDING not in exchange.answer:
        return hit == exchange.answer
    return PADDING not in hit and _unpadded(hit) == _unpadded(exchange.answer)


def _unpadded(stream: bytes) -> list[tuple[bytes, Any]]:
    """The lines of a stream, less what only hides the length of an answer."""
    lines = [line.partition(b": ") for line in stream.split(b"\n")]
    return [(name, _without_padding(value) if value.startswith(b"{") else value) for name, _, value in lines]


def _without_padding(data: bytes) -> Any:
    return {name: value for name, value in msgspec.json.decode(data).items() if name != "obfuscation"}


def _type(reply: Reply) -> str:
    return reply.headers.get("Content-Type", "")


def _dump(answer: Any) -> Any:
    """A field that is null says what one says that is not there: a stream's pieces have no place for some."""
    return answer.model_dump(mode="json", warnings=False, exclude_none=True)
