"""A caller's credential is shown to one provider, whatever fails."""

import socket
from typing import Any

import pytest
from asking import UNBROKEN, always, call, opened, plenty, read, target

from edgecache.core.ports import Call
from edgecache.errors import UpstreamUnreachable
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.upstream import Target
from edgecache.upstream.trust import shows_credential, trusted

OWN = [("Authorization", "Bearer sk-callers")]


def names(asked: Call, *targets: Target) -> list[str]:
    return [found.name for found in trusted(asked, targets)]


def one(name: str, host: str, **more: object) -> Target:
    return target(f"https://{host}", name, **more)


@pytest.mark.parametrize(
    "header",
    ["Authorization", "x-api-key", "api-key", "Cookie", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "X-Auth-Token"],
)
def test_what_shows_a_credential(header: str) -> None:
    assert shows_credential(call(headers=[("Accept", "*/*"), (header, "x")]))


def test_what_does_not() -> None:
    assert not shows_credential(call(headers=[("Idempotency-Key", "x"), ("Accept", "x"), ("anthropic-version", "x")]))
    assert not shows_credential(call(query="limit=2&after=x"))


@pytest.mark.parametrize("query", ["key=x", "a=1&api_key=x", "X-Amz-Signature=x", "sessionid"])
def test_a_query_may_hold_one_too(query: str) -> None:
    assert shows_credential(call(query=query))


def test_it_stays_with_the_provider_of_the_lowest_order() -> None:
    targets = one("a", "a.example", order=2), one("b", "b.example", order=1), one("b2", "b.example/v1", order=3)
    assert names(call(headers=OWN), *targets) == ["b", "b2"]
    assert names(call(), *targets) == ["a", "b", "b2"]


def test_of_several_it_is_the_first_named_and_ports_and_schemes_tell_providers_apart() -> None:
    targets = one("a", "a.example"), one("b", "b.example"), one("c", "a.example:444"), one("d", "A.example:443")
    assert names(call(headers=OWN), *targets) == ["a", "d"]
    plain = target("http://a.example:443", "plain")
    assert names(call(headers=OWN), targets[0], plain) == ["a"]


def test_the_settings_may_say_that_two_are_one_provider() -> None:
    targets = one("a", "a.example", realm="us"), one("b", "b.example", realm="us"), one("c", "c.example")
    assert names(call(headers=OWN), *targets) == ["a", "b"]


def test_a_target_whose_own_key_takes_its_place_is_asked_too() -> None:
    targets = one("a", "a.example"), one("b", "b.example", api_key="own"), one("c", "c.example")
    assert names(call(headers=OWN), *targets) == ["a", "b"]
    assert names(call(headers=OWN, configured_key=False), *targets) == ["a"]
    assert names(call(headers=OWN), targets[1]) == ["b"]


@pytest.mark.parametrize("status", [429, 503, None])
async def test_no_failure_shows_a_callers_key_to_a_second_provider(status: int | None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with always(status or 200) as mine, always(200) as other:
            url = mine.url if status else f"http://127.0.0.1:{taken.getsockname()[1]}"
            targets = target(url), target(other.url, "two", order=1)
            async with opened(*targets, budget=plenty(), breaking=UNBROKEN) as pool:
                for _ in range(12):
                    try:
                        await read(await pool.send(call(headers=OWN, configured_key=False, hedge=0.0)))
                    except UpstreamUnreachable:
                        assert status is None
    assert other.requests == []


async def test_a_realm_lets_it_go_on() -> None:
    async with always(503) as mine, always(200) as other:
        targets = target(mine.url, realm="r"), target(other.url, "two", order=1, realm="r")
        async with opened(*targets) as pool:
            reply = await pool.send(call(headers=OWN, configured_key=False))
            assert (reply.upstream, await read(reply)) == ("two", b"200")
    assert other.requests[0].header("authorization") == "Bearer sk-callers"


@pytest.mark.parametrize(
    "shown", [{"headers": (("X-Auth-Token", "SECRET"),)}, {"query": "key=SECRET"}, {"headers": (("Cookie", "a=b"),)}]
)
async def test_what_our_key_does_not_replace_is_shown_to_one_provider_only(shown: dict[str, Any]) -> None:
    busy = Answer(status=503, body=b"{}")
    async with ScriptedUpstream(script=lambda _: busy) as first, ScriptedUpstream(script=lambda _: busy) as second:
        targets = [target(first.url, "first", api_key="k1"), target(second.url, "second", api_key="k2", order=1)]
        async with opened(*targets) as pool:
            reply = await pool.send(call(configured_key=True, **shown))
            assert reply.status == 503
            await reply.close()
            assert (len(first.requests), len(second.requests)) == (1, 0)
            reply = await pool.send(call(configured_key=True, headers=(("X-Api-Key", "replaced"),)))
            await reply.close()
            assert (len(first.requests), len(second.requests)) == (2, 1)
