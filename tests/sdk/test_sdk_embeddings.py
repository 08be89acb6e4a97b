"""OpenAI's SDK and embeddings: each input of a batch is an answer of its own."""

import openai
from providers import vector_of

from edgecache.testing.scripted_upstream import ScriptedUpstream

MODEL = "text-embedding-3-small"


async def test_one_text(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    for _ in range(2):
        found = await gpt.embeddings.create(model=MODEL, input="red")
        assert [item.embedding for item in found.data] == [vector_of("red")]
        assert found.usage.prompt_tokens == 2
    assert len(upstream.requests) == 1


async def test_only_what_is_missing_is_asked_for(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    await gpt.embeddings.create(model=MODEL, input=["red", "green"])
    found = await gpt.embeddings.create(model=MODEL, input=["green", "blue", "red", "green"])
    assert [item.embedding for item in found.data] == [vector_of(text) for text in ("green", "blue", "red", "green")]
    assert [item.index for item in found.data] == [0, 1, 2, 3]
    assert [request.json()["input"] for request in upstream.requests] in (  # type: ignore[index]
        [["red", "green"], ["blue"]],
        [["red", "green"], "blue"],
    )


async def test_numbers_and_base64_are_not_taken_for_each_other(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    for encoding in ("float", "base64", "float", "base64"):
        found = await gpt.with_raw_response.embeddings.create(model=MODEL, input="red", encoding_format=encoding)  # type: ignore[arg-type]
        told = found.http_response.json()["data"][0]["embedding"]
        assert isinstance(told, str) == (encoding == "base64")
    assert len(upstream.requests) <= 2
