"""Bodies that are not what they should be: an error in the provider's shape that says what to change, nothing stored,
and a node that goes on. In front of an upstream and of the local model.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from shared_documents import json_suite, naughty_strings

from edgecache.testing.fake_model import FakeModel
from edgecache.testing.node import CHAT, JSON, Node, Reply, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

EXACT = '[[route]]\nname = "exact"\nmode = "exact"\nrequest_tags = true\n'
LOCAL_ONLY = '[[route]]\nname = "all local"\nmode = "semantic"\ntiers = ["local"]\n'
THEIRS = b'{"error": {"message": "theirs"}}'


@pytest.fixture
async def refusing() -> AsyncGenerator[ScriptedUpstream, None]:
    """A provider that refuses everything."""
    async with ScriptedUpstream(script=lambda _: Answer(status=400, body=THEIRS)) as upstream:
        yield upstream


@pytest.fixture
async def local(tmp_path: Path) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, local=FakeModel(), policy=LOCAL_ONLY) as node:
        yield node


async def send(node: Node, body: bytes) -> Reply:
    return await node.ask("POST", CHAT, body, headers=JSON)


def refusal(reply: Reply, status: int = 400) -> str:
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/json"
    assert set(reply.error) == {"message", "type", "param", "code"}
    assert "Traceback" not in reply.body.decode()
    return str(reply.error["message"])


DEEP = 100_000
CHAT_BODY = b'{"model": "m", "messages": [{"role": "user", "content": %s}]}'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is empty"),
        (b"{", "could not be parsed"),
        (b'{"model": "m",}', "could not be parsed"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"model": "m"}'.encode("utf-16"), "not UTF-8"),
        (CHAT_BODY % b'"\xff"', "not UTF-8"),
        (CHAT_BODY % b'"\\ud800"', "lone surrogate"),
        (CHAT_BODY % b'"\\udc00 x"', "lone surrogate"),
        (CHAT_BODY % b'"\xed\xa0\x80"', ""),
        (b"[" * DEEP, ""),
        (b"[" * DEEP + b"]" * DEEP, "nested too deeply"),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested too deeply"),
        (CHAT_BODY % (b"[" * DEEP + b"]" * DEEP), "nested too deeply"),
        (CHAT_BODY % (b'{"a":' * DEEP), ""),
        (CHAT_BODY % (b"9" * 5_000), "4,300 digits"),
    ],
)
async def test_what_is_not_json_is_refused_here(node: Node, upstream: ScriptedUpstream, body: bytes, says: str) -> None:
    assert says in refusal(await send(node, body))
    assert upstream.requests == []
    assert (await node.chat("A good question")).status == 200


async def test_the_json_suite_in_front_of_an_upstream(tmp_path: Path, refusing: ScriptedUpstream) -> None:
    """What is JSON goes to the provider as it came; what is not is refused; nothing is stored."""
    async with running_node(tmp_path, upstream=refusing) as node:
        for name, document in json_suite():
            before = len(refusing.requests)
            reply = await send(node, document)
            if len(refusing.requests) > before:
                assert not name.startswith("n_")
                assert (reply.status, reply.body) == (400, THEIRS)
                assert refusing.requests[-1].body == document, name
            else:
                assert not name.startswith("y_"), name
                refusal(reply)
        assert await node.stored() == 0
        assert (await node.ask("GET", "/healthz", admin=True)).status == 200


async def test_the_json_suite_in_front_of_the_local_model(local: Node) -> None:
    """No document of the suite is a request, so each is refused as the provider would."""
    for _, document in json_suite():
        reply = await send(local, document)
        assert reply.status in (400, 404)
        refusal(reply, reply.status)
    assert await local.stored() == 0
    assert (await local.chat("A good question")).status == 200


async def test_the_json_suite_within_a_question(node: Node, upstream: ScriptedUpstream) -> None:
    """Hostile values in a field nobody knows: refused, or passed on with the bytes that came."""
    for name, document in json_suite():
        before = len(upstream.requests)
        body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "x": ' + document + b"}"
        reply = await send(node, body)
        if reply.status == 200:
            assert not name.startswith("n_") or len(upstream.requests) > before, name
            assert upstream.requests[-1].body == body or reply.headers["X-Cache"] == "HIT", name
        else:
            assert not name.startswith("y_"), name


async def test_naughty_strings_are_asked_and_answered_twice(node: Node, upstream: ScriptedUpstream) -> None:
    """In question, model name and unknown field, every other one streamed; the hit says what the miss said."""
    for number, text in enumerate(naughty_strings()):
        fields = {"model": text or "m", "x_unknown": text, "stream": number % 2 == 1, "seed": number}
        miss = await node.chat(text, **fields)
        await node.landed()
        before = len(upstream.requests)
        hit = await node.chat(text, **fields)
        assert (miss.status, hit.status) == (200, 200), text
        assert (miss.text, hit.headers["X-Cache"], hit.body) == (f"You asked: {text}", "HIT", miss.body), text
        assert len(upstream.requests) == before


async def test_naughty_strings_in_front_of_the_local_model(local: Node) -> None:
    texts = naughty_strings()
    asked = [local.chat(text, model=text or "m", seed=number) for number, text in enumerate(texts)]
    for text, reply in zip(texts, await asyncio.gather(*asked), strict=True):
        assert (reply.status, reply.text) == (200, f"You asked: {text}")


async def test_naughty_strings_in_headers(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Whatever happens is an answer. Under a rule that makes no vectors: each caller is another one, so that all would
    be made.
    """
    async with running_node(tmp_path, upstream=upstream, policy=EXACT) as node:
        await ask_with_headers(node, naughty_strings())


async def ask_with_headers(node: Node, texts: list[str]) -> None:
    for text in texts:
        value = text.encode().decode("latin-1")
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            continue  # the client refuses to send it
        headers = {"Authorization": f"Bearer {value}", "OpenAI-Beta": value, "Surrogate-Key": value}
        reply = await node.chat("Hi", headers=headers)
        assert reply.status in (200, 400, 401), text
        if reply.status != 200:
            assert json.loads(reply.body)["error"]["message"]


async def test_surrogate_keys_that_cannot_be_are_refused(node: Node, upstream: ScriptedUpstream) -> None:
    refused = await node.chat("Hi", headers={"Surrogate-Key": "x" * 1_025})
    assert "1025 bytes" in refusal(refused)
    assert refused.error["param"] == "Surrogate-Key"
    assert upstream.requests == []
