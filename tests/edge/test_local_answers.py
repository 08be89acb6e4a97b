"""The model on the node answers: in the provider's shapes, from the cache the second time, and only where it may."""

import asyncio
from pathlib import Path

import pytest

from edgecache.errors import ModelUnavailable, Overloaded
from edgecache.testing.fake_model import FakeModel
from edgecache.testing.node import JSON, Node, chat_body, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"
PARAPHRASE = "How can I enable dark mode in the settings?"
USAGE = {"include_usage": True}


async def test_the_local_model_answers_and_its_answer_is_kept(tmp_path: Path) -> None:
    model = FakeModel()
    async with running_node(tmp_path, local=model) as node:
        miss = await node.chat(QUESTION, model="local")
        assert miss.text == f"You asked: {QUESTION}"
        assert miss.headers["Edge-Source"] == "slm/fake"
        assert miss.headers["X-Cache"] == "MISS"
        assert "Cache-Status" not in miss.headers
        assert miss.json()["model"] == "fake"
        assert miss.json()["usage"] == {"prompt_tokens": 9, "completion_tokens": 11, "total_tokens": 20}
        for question in (QUESTION, PARAPHRASE):
            hit = await node.chat(question, model="local")
            assert hit.headers["X-Cache"] == "HIT"
            assert hit.headers["Edge-Source"] == "slm/fake"
            assert hit.body == miss.body
        assert len(model.prompts) == 1


async def test_the_local_model_streams_as_it_speaks(tmp_path: Path) -> None:
    barrier = asyncio.Event()
    model = FakeModel(barrier=barrier)
    async with running_node(tmp_path, local=model) as node:
        body = chat_body(QUESTION, model="local", stream=True, stream_options=USAGE)
        async with node.session.post(f"{node.url}/v1/chat/completions", data=body, headers=JSON) as response:
            await response.content.readuntil(b'"You"')
            barrier.set()
            assert (await response.content.read()).endswith(b"data: [DONE]\n\n")
        await node.landed()
        hit = await node.chat(QUESTION, model="local", stream=True)
        assert hit.headers["X-Cache"] == "HIT"
        assert hit.text == f"You asked: {QUESTION}"
        assert b"usage" not in hit.body
        other = await node.chat("Another question?", model="local", stream=True)
        assert (other.headers["X-Cache"], b"usage" in other.body) == ("MISS", False)
        assert len(model.prompts) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_generation_stops_when_the_last_client_leaves(tmp_path: Path, stream: bool) -> None:
    model = FakeModel(barrier=asyncio.Event())
    async with running_node(tmp_path, local=model) as node:
        asked = [asyncio.create_task(node.chat(QUESTION, model="local", stream=stream)) for _ in range(3)]
        while (await node.statistics())["flights"]["passengers"] < 3 or not model.abandoned:
            pass
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await node.landed()
        assert len(model.prompts) == 1
        assert await node.stored() == 0


async def test_an_answer_that_was_cut_by_its_length_is_not_kept(tmp_path: Path) -> None:
    model = FakeModel()
    async with running_node(tmp_path, local=model) as node:
        for _ in range(2):
            answer = await node.chat(QUESTION, model="local", max_tokens=2)
            assert answer.json()["choices"][0]["finish_reason"] == "length"
        assert len(model.prompts) == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 2}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
async def test_where_the_local_model_is_the_provider_it_refuses_what_a_provider_would(
    tmp_path: Path, fields: dict, param: str
) -> None:
    model = FakeModel()
    async with running_node(tmp_path, local=model) as node:
        refused = await node.chat("Hi", **{"model": "local", **fields})
        assert refused.status == 400
        assert refused.error["type"] == "invalid_request_error"
        assert refused.error["param"] == param
        assert refused.error["message"]
        assert model.prompts == []
        assert await node.stored() == 0


async def test_unknown_models_are_not_found_and_the_known_are_named(tmp_path: Path) -> None:
    async with running_node(tmp_path, local=FakeModel()) as node:
        refused = await node.chat(QUESTION, model="gpt-4o")
        assert (refused.status, refused.error["code"], refused.error["param"]) == (404, "model_not_found", "model")
        assert "local, smollm2-135m-instruct" in refused.error["message"]
        missing = await node.ask("POST", "/v1/chat/completions", b'{"messages": []}', headers=JSON)
        assert missing.status in (400, 404)


@pytest.mark.parametrize("error", [Overloaded("Full.", retry_after=3), ModelUnavailable("Broken.")])
async def test_a_model_that_cannot_answer_says_so(tmp_path: Path, error: Overloaded) -> None:
    async with running_node(tmp_path, local=FakeModel(refuses=error)) as node:
        refused = await node.chat(QUESTION, model="local")
        assert (refused.status, refused.error["code"]) == (503, error.code)
        assert refused.headers.get("Retry-After") == (str(error.retry_after) if error.retry_after else None)


async def test_a_prompt_over_the_context_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path, local=FakeModel(context=5)) as node:
        refused = await node.chat(QUESTION, model="local")
        assert (refused.status, refused.error["code"]) == (400, "context_length_exceeded")


# --- both tiers ---------------------------------------------------------------------------------------------------

LOCAL_FIRST = '[[route]]\nname = "both"\nmode = "semantic"\nthreshold = 0.9\ntiers = ["local", "upstream"]\n'
UPSTREAM_FIRST = '[[route]]\nname = "both"\nmode = "semantic"\nthreshold = 0.9\ntiers = ["upstream", "local"]\n'
SMALL = '[[route]]\nname = "small"\ntiers = ["local"]\n'
LARGE = '[[route]]\nname = "large"\ntiers = ["upstream"]\n'


async def change_policy(node: Node, folder: Path, policy: str) -> None:
    """As an operator does, until the new one is in force."""
    await asyncio.to_thread((folder / "policies" / "policy.toml").write_text, policy)
    before = (await node.manage("GET", "/admin/policy")).json()["digest"]
    node.app.reload_policy()
    async with asyncio.timeout(60):
        while (await node.manage("GET", "/admin/policy")).json()["digest"] == before:
            pass


@pytest.mark.parametrize(
    "fields", [{"tools": [{"type": "function"}]}, {"n": 2}, {"response_format": {"type": "json_object"}}]
)
async def test_what_the_local_model_cannot_do_goes_to_the_upstream(
    tmp_path: Path, upstream: ScriptedUpstream, fields: dict
) -> None:
    model = FakeModel()
    async with running_node(tmp_path, upstream=upstream, local=model, policy=LOCAL_FIRST) as node:
        assert (await node.chat("Hi")).headers["Edge-Source"] == "slm/fake"
        answer = await node.chat("Hi", **fields)
        assert answer.status == 200
        assert "Edge-Source" not in answer.headers
        assert (len(model.prompts), len(upstream.requests)) == (1, 1)


@pytest.mark.parametrize("model", [FakeModel(context=1), FakeModel(refuses=Overloaded("x"))], ids=["long", "full"])
async def test_when_the_local_model_cannot_the_upstream_answers(
    tmp_path: Path, upstream: ScriptedUpstream, model: FakeModel
) -> None:
    async with running_node(tmp_path, upstream=upstream, local=model, policy=LOCAL_FIRST) as node:
        assert (await node.chat(QUESTION)).status == 200
        assert len(upstream.requests) == 1


async def test_when_no_upstream_can_be_reached_the_local_model_answers(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    async with running_node(tmp_path, upstream=upstream, local=FakeModel(), policy=UPSTREAM_FIRST) as node:
        assert "Edge-Source" not in (await node.chat("Hi")).headers
        await upstream.close()
        answer = await node.chat(QUESTION)
        assert answer.headers["Edge-Source"] == "slm/fake"
        await upstream.open()


async def test_a_local_answer_is_not_served_where_only_the_upstream_answers(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """A small model's answer must not hide the large one's; the question is the same, and so is its key."""
    async with running_node(tmp_path, upstream=upstream, local=FakeModel(), policy=SMALL) as node:
        small = await node.chat(QUESTION)
        assert small.headers["Edge-Source"] == "slm/fake"
        await change_policy(node, tmp_path, LARGE)
        large = await node.chat(QUESTION)
        assert (large.headers["X-Cache"], "Edge-Source" in large.headers) == ("MISS", False)
        assert large.headers["X-Edgecache-Id"] == small.headers["X-Edgecache-Id"]
        assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
        assert len(upstream.requests) == 1


async def test_a_local_answer_in_flight_is_not_shared_where_only_the_upstream_answers(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    barrier = asyncio.Event()
    model = FakeModel(barrier=barrier)
    async with running_node(tmp_path, upstream=upstream, local=model, policy=SMALL) as node:
        small = asyncio.create_task(node.chat(QUESTION))
        while not model.abandoned:
            await node.statistics()
        await change_policy(node, tmp_path, LARGE)
        large = asyncio.create_task(node.chat(QUESTION))
        await upstream.wait_requests(1)
        barrier.set()
        assert "Edge-Source" in (await small).headers
        assert "Edge-Source" not in (await large).headers


async def test_local_models_are_listed_after_the_providers(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path / "a", local=FakeModel()) as node:
        models = (await node.ask("GET", "/v1/models")).json()
        assert [model["id"] for model in models["data"]] == ["local", "smollm2-135m-instruct"]
    async with running_node(tmp_path / "b", upstream=upstream, local=FakeModel()) as node:
        models = (await node.ask("GET", "/v1/models")).json()
        assert [model["id"] for model in models["data"]] == ["scripted", "local", "smollm2-135m-instruct"]
