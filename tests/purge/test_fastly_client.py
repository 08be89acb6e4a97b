"""Fastly's own client, as it comes from the package index, with nothing but its address changed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import fastly
import pytest
from fastly.api.purge_api import PurgeApi
from fastly.model.purge_response import PurgeResponse
from purging import fill, token

from edgecache.testing.node import CHAT, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

SERVICE = "edgecache"
SHOP, DOCS = "What is in the shop?", "What is in the documents?"
POLICY = """
[[route]]
name = "all"
request_tags = true
stale_while_revalidate = "1h"
"""

Purge = Callable[..., Any]


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream, policy=POLICY) as node:
        yield node


@pytest.fixture
async def purge(node: Node) -> Purge:
    """`await purge("purge_all", SERVICE)` calls the client's method, in a thread."""
    secret = await token(node, "ops", "purge")

    def call(name: str, *words: Any, **options: Any) -> Any:
        configuration = fastly.Configuration(host=node.url)
        configuration.api_token = options.pop("api_token", secret)
        with fastly.ApiClient(configuration) as client:
            return getattr(PurgeApi(client), name)(*words, **options)

    async def purge(name: str, *words: Any, **options: Any) -> Any:
        return await asyncio.to_thread(call, name, *words, **options)

    return purge


async def filled(node: Node) -> None:
    await fill(node, SHOP, "shop", "all")
    await fill(node, DOCS, "docs", "all")


async def left(node: Node, upstream: ScriptedUpstream) -> list[str]:
    """How each question is answered now; a hit asks the provider nothing."""
    found = []
    for question in (SHOP, DOCS):
        before = len(upstream.requests)
        found.append(str((await node.chat(question)).headers["X-Cache"]))
        assert len(upstream.requests) == before + (found[-1] == "MISS")
    return found


async def test_everything(node: Node, upstream: ScriptedUpstream, purge: Purge) -> None:
    await filled(node)
    assert await left(node, upstream) == ["HIT", "HIT"]
    assert (await purge("purge_all", SERVICE)).status == "ok"
    assert await left(node, upstream) == ["MISS", "MISS"]


@pytest.mark.parametrize("key", ["shop", "a/b c", "é"])
async def test_one_key(node: Node, upstream: ScriptedUpstream, purge: Purge, key: str) -> None:
    await filled(node)
    answer = await purge("purge_tag", SERVICE, key)
    assert (answer.status, len(answer.id)) == ("ok", 32)
    assert await left(node, upstream) == ["MISS" if key == "shop" else "HIT", "HIT"]
    (logged,) = await node.app.storage.log.read(0)
    assert [tag.value for tag in logged.record.tags] == [key]


async def test_many_keys_by_header_and_by_body(node: Node, upstream: ScriptedUpstream, purge: Purge) -> None:
    for options in (
        {"surrogate_key": "docs other"},
        {"purge_response": PurgeResponse(surrogate_keys=["docs", "other"])},
    ):
        await filled(node)
        answer = (await purge("bulk_purge_tag", SERVICE, **options)).to_dict()
        assert list(answer) == ["docs", "other"]
        assert len(set(answer.values())) == 1
        assert await left(node, upstream) == ["HIT", "MISS"]
        await purge("purge_all", SERVICE)


@pytest.mark.parametrize("form", ["example.com{}", "https://example.com{}"])
async def test_a_url(node: Node, upstream: ScriptedUpstream, purge: Purge, form: str) -> None:
    await filled(node)
    assert (await purge("purge_single_url", form.format("/v1/other"))).status == "ok"
    assert await left(node, upstream) == ["HIT", "HIT"]
    assert (await purge("purge_single_url", form.format(CHAT))).status == "ok"
    assert await left(node, upstream) == ["MISS", "MISS"]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("purge_tag", SERVICE, "shop"), {}),
        (("bulk_purge_tag", SERVICE), {"surrogate_key": "shop other"}),
    ],
)
async def test_softly(
    node: Node, upstream: ScriptedUpstream, purge: Purge, words: tuple[str, ...], options: dict[str, Any]
) -> None:
    """What was purged is served once more, and asked for anew meanwhile."""
    await filled(node)
    await purge(*words, fastly_soft_purge=1, **options)
    before = len(upstream.requests)
    stale = await node.chat(SHOP)
    assert stale.headers["X-Cache"] == "HIT"
    assert "ttl=-" in stale.headers["Cache-Status"]
    await node.landed()
    assert len(upstream.requests) == before + 1
    assert await left(node, upstream) == ["HIT", "HIT"]
    assert "ttl=-" not in (await node.chat(SHOP)).headers["Cache-Status"]


async def test_a_url_softly(node: Node, upstream: ScriptedUpstream, purge: Purge) -> None:
    await filled(node)
    await purge("purge_single_url", f"example.com{CHAT}", fastly_soft_purge=1)
    for question in (SHOP, DOCS):
        assert "ttl=-" in (await node.chat(question)).headers["Cache-Status"]


async def test_errors_are_the_clients_own(node: Node, purge: Purge) -> None:
    for error, words, options in (
        (fastly.exceptions.UnauthorizedException, ("purge_all", SERVICE), {"api_token": "not ours"}),
        (fastly.exceptions.NotFoundException, ("purge_all", "another"), {}),
        (fastly.ApiException, ("bulk_purge_tag", SERVICE), {"surrogate_key": " ".join(f"k{n}" for n in range(257))}),
    ):
        with pytest.raises(error) as raised:
            await purge(*words, **options)
        assert raised.value.status in (400, 401, 404)
        assert "detail" in str(raised.value.body)
    assert (await node.statistics())["ledger"]["applied"] == 0
