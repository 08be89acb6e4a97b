"""Aliases of models and dialects: each target gets the request in its own words."""

import asyncio
from collections.abc import Callable

import pytest
from asking import CHAT, always, call, opened, read, target

from edgecache.core.ports import Form
from edgecache.errors import Overloaded, Untranslatable
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.upstream import Breaking

MESSAGES = "anthropic.messages"
PATHS = {"openai.chat": CHAT, MESSAGES: "/v1/messages", "openai.responses": "/v1/responses"}


def former(*cannot: str) -> Callable[[str, str], Form]:
    def form(dialect: str, model: str) -> Form:
        if dialect in cannot:
            raise Untranslatable(f"{dialect} cannot say this")
        return Form(PATHS[dialect], f"{dialect} {model}".encode(), (("Anthropic-Version", "2023-06-01"),))

    return form


def chat(*cannot: str, **more: object) -> object:
    sent = [("anthropic-version", "old"), ("X-Kept", "1")]
    form = former(*cannot)
    return call(b"own", dialect="openai.chat", model="m", form=form, headers=sent, query="a=1", **more)  # type: ignore[arg-type]


async def sent(asked: object, **settings: object) -> tuple[ScriptedUpstream, str]:
    """What a target of these settings is sent, and the dialect of the reply."""
    async with (
        ScriptedUpstream(script=lambda _: Answer()) as upstream,
        opened(target(upstream.url, **settings)) as pool,
    ):
        reply = await pool.send(asked)  # type: ignore[arg-type]
        await read(reply)
    return upstream, reply.dialect


@pytest.mark.parametrize("speaks", [(), ("openai.chat",), (MESSAGES, "openai.chat")])
async def test_what_is_spoken_goes_as_it_came(speaks: tuple[str, ...]) -> None:
    upstream, dialect = await sent(chat(), speaks=speaks, models={"other": "x"})
    got = upstream.requests[0]
    assert (got.path, got.query, got.body, dialect) == (CHAT, "a=1", b"own", "openai.chat")
    assert got.header("anthropic-version") == "old"


async def test_a_model_goes_by_the_targets_name_for_it() -> None:
    upstream, dialect = await sent(chat(), models={"m": "theirs"})
    got = upstream.requests[0]
    assert (got.path, got.query, got.body, dialect) == (CHAT, "a=1", b"openai.chat theirs", "openai.chat")
    assert [value for name, value in got.headers if name.lower() == "anthropic-version"] == ["2023-06-01"]
    assert (got.header("X-Kept"), got.header("Content-Length")) == ("1", "18")


async def test_another_dialect_is_spoken_to_who_speaks_only_that() -> None:
    upstream, dialect = await sent(chat(), speaks=(MESSAGES,), models={"m": "theirs"})
    got = upstream.requests[0]
    assert (got.path, got.query, got.body, dialect) == ("/v1/messages", "", b"anthropic.messages theirs", MESSAGES)


async def test_the_first_dialect_that_can_say_it_is_taken() -> None:
    upstream, dialect = await sent(chat(MESSAGES), speaks=(MESSAGES, "openai.responses"))
    assert (upstream.requests[0].path, dialect) == ("/v1/responses", "openai.responses")
    upstream, dialect = await sent(chat(), speaks=(MESSAGES, "openai.chat"), models={"m": "theirs"})
    assert dialect == "openai.chat", "its own before others"


async def test_what_is_passed_through_is_never_put_in_other_words() -> None:
    upstream, dialect = await sent(call(b"own", model="m"), speaks=(MESSAGES,), models={"m": "theirs"})
    assert (upstream.requests[0].body, dialect) == (b"own", "")


async def test_a_target_that_cannot_be_asked_is_passed_over_and_that_is_no_failure() -> None:
    async with always(200) as first, always(200) as second:
        targets = target(first.url, speaks=(MESSAGES,)), target(second.url, "two", order=1)
        async with opened(*targets) as pool:
            reply = await pool.send(chat(MESSAGES))  # type: ignore[arg-type]
            assert (reply.upstream, await read(reply)) == ("two", b"200")
            statistics = pool.statistics()
    assert first.requests == []
    assert [(one.requests, one.failures, one.retries) for one in statistics.targets] == [(0, 0, 0), (1, 0, 0)]
    assert statistics.retries_left == 10


async def test_when_nobody_can_be_asked_the_reason_is_told() -> None:
    async with opened(target("http://127.0.0.1:1", speaks=(MESSAGES,))) as pool:
        with pytest.raises(Untranslatable, match=r"anthropic\.messages cannot say this"):
            await pool.send(chat(MESSAGES))  # type: ignore[arg-type]
        with pytest.raises(Untranslatable, match=r"name an upstream that speaks openai\.chat and knows 'm'"):
            await pool.send(call(dialect="openai.chat", model="m"))


async def test_who_cannot_be_asked_now_is_told_before_who_can_never() -> None:
    hang = asyncio.Event()
    async with ScriptedUpstream(script=lambda _: Answer(before_head=hang)) as upstream:
        never = target("http://127.0.0.1:1", "two", order=1, speaks=(MESSAGES,))
        targets = target(upstream.url, concurrency=1, wait=0.0), never
        async with opened(*targets, breaking=Breaking()) as pool:
            first = asyncio.ensure_future(pool.send(call()))
            await upstream.wait_requests(1)
            with pytest.raises(Overloaded):
                await pool.send(chat(MESSAGES))  # type: ignore[arg-type]
            hang.set()
            await read(await first)


@pytest.mark.parametrize(
    ("speaks", "style", "name", "value"),
    [
        ((MESSAGES,), None, "x-api-key", "own"),
        ((MESSAGES,), "bearer", "Authorization", "Bearer own"),
        ((MESSAGES, "openai.chat"), None, "Authorization", "Bearer own"),
        ((), None, "Authorization", "Bearer own"),
    ],
)
async def test_a_key_goes_out_as_the_provider_of_a_dialect_wants_it(
    speaks: tuple[str, ...], style: str | None, name: str, value: str
) -> None:
    upstream, _ = await sent(chat(), speaks=speaks, key_style=style, api_key="own")
    assert [(key, held) for key, held in upstream.requests[0].headers if "own" in held] == [(name, value)]
