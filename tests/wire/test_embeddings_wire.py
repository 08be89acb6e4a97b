"""Embeddings: what is asked of each input, and one answer taken apart and joined."""

import base64
import json
import re
import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import data_folder

from edgecache.core.reply import Usage
from edgecache.errors import BadRequest
from edgecache.wire.embeddings import (
    MOST,
    Batch,
    Mixed,
    apportioned,
    asked_as,
    asking,
    join,
    read_embeddings,
    split,
    usage_of,
)

FIELDS = {"model": "m", "encoding_format": "base64"}


def asked(value: Any, **fields: Any) -> Batch:
    return read_embeddings(json.dumps({**FIELDS, "input": value, **fields}).encode(), "/v1/embeddings")


def item(at: int, embedding: str = "[1.50, -2e-3]", **more: Any) -> str:
    others = "".join(f', "{name}": {json.dumps(value)}' for name, value in more.items())
    return f'{{"object": "embedding", "index": {at}, "embedding": {embedding}{others}}}'


def answer(*items: str, tokens: int | None = 7, model: str = "m-1") -> bytes:
    usage = "" if tokens is None else f', "usage": {{"prompt_tokens": {tokens}, "total_tokens": {tokens}}}'
    return f'{{"object": "list", "data": [{", ".join(items)}], "model": "{model}"{usage}}}'.encode()


def parts_of(body: bytes, inputs: list[Any]) -> tuple[bytes, ...]:
    parts = split(body, inputs)
    assert parts is not None
    for part in parts:
        assert part.usage == usage_of(part.body)
    return tuple(part.body for part in parts)


# --- what is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("a", ("a",)),
        (["a", "b", "a"], ("a", "b", "a")),
        ([1, 2], ([1, 2],)),
        ([[1, 2], [3]], ([1, 2], [3])),
        ("", ("",)),
        (["a"] * MOST, ("a",) * MOST),
    ],
    ids=["text", "texts", "tokens", "token lists", "empty", "most"],
)
def test_inputs(value: Any, inputs: tuple[Any, ...]) -> None:
    batch = asked(value)
    assert batch.inputs == inputs
    assert batch.request.question.uncacheable is None


@pytest.mark.parametrize(
    "value",
    [None, 5, {}, [], [[]], ["a", 1], ["a", [1]], [1, 2.5], [True], [[1], [True]], [None], ["a"] * (MOST + 1)],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_cached(value: Any) -> None:
    batch = asked(value)
    assert batch.inputs == () and batch.request.question.uncacheable


def test_what_is_shared_by_all_inputs() -> None:
    question = asked("a", dimensions=3, user="u", metadata={"user_id": "v"}, unknown=None).request.question
    assert question.fields == {"encoding_format": "base64", "dimensions": 3, "unknown": None}
    assert (question.model, question.text) == ("m", "")
    assert asked("a", user="u").request.users == ("u",)


def test_azure_names_the_model_in_its_path() -> None:
    assert read_embeddings(b'{"input":"a"}', "/openai/deployments/e-3/embeddings").request.model == "e-3"
    assert read_embeddings(b'{"input":"a"}', "/v1/embeddings").inputs == ()


@pytest.mark.parametrize("body", [b'{"model":"m","model":"n","input":"a"}', b'{"model":"m","input":["a"],"x":1e999}'])
def test_what_parsers_differ_in_is_not_cached(body: bytes) -> None:
    assert read_embeddings(body).inputs == ()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 9_999])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_embeddings(body)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["model", "input", "user", "metadata", "x"]), VALUES) | VALUES)
def test_wrong_types_are_never_more_than_not_cached(fields: Any) -> None:
    batch = read_embeddings(json.dumps(fields).encode())
    assert bool(batch.inputs) == (batch.request.question.uncacheable is None)


def test_inputs_that_differ_are_asked_as_different_things() -> None:
    values: list[Any] = ["a", "a ", " a", "a\r\n", "a\n", "", " ", "[1]", [1], [1, 2], "\u2028"]
    assert len({asked_as(value).strip() for value in values}) == len(values)


def test_the_body_is_the_clients_own_where_it_may_be() -> None:
    request = read_embeddings(b'{"model": "m", "dimensions": 1.0e1, "input" : ["a","b"]}').request
    assert asking(request, None, "") is request.body
    fewer = asking(request, ["b"], "n")
    assert json.loads(fewer) == {"model": "n", "dimensions": 10, "input": ["b"]}
    assert b"1.0e1" in fewer


# --- answers ------------------------------------------------------------------------------------------------------


def test_a_batch_is_taken_apart_and_joined() -> None:
    body = answer(item(0), item(1, '"AAAA"', extra=[1]), item(2, "[ 3 ]"))
    parts = parts_of(body, ["a", "bbb", "cc"])
    for at, (part, embedding) in enumerate(zip(parts, ["[1.50, -2e-3]", '"AAAA"', "[ 3 ]"], strict=True)):
        assert [one["index"] for one in json.loads(part)["data"]] == [0], at
        assert embedding.encode() in part, "the bytes that the provider sent"
    whole = join(parts)
    assert json.loads(whole) == json.loads(body)
    assert b"1.50, -2e-3" in whole
    again = join([parts[2], parts[0], parts[0]])
    assert [one["index"] for one in json.loads(again)["data"]] == [0, 1, 2]


def test_one_input_keeps_every_byte() -> None:
    body = answer(item(0), tokens=3)
    assert parts_of(body, ["a"]) == (body,)
    assert usage_of(body) == Usage(prompt=3)
    assert join([body]) is body


@pytest.mark.parametrize(
    "body",
    [
        answer(item(0)), answer(item(0), item(1), item(2)), answer(item(1), item(0)), answer(item(0), item(0)),
        answer(item(0), item(1, "null")), answer(item(0), item(1, "[]")), answer(item(0), item(1, '""')),
        answer(item(0), item(1, "5")), answer(item(0), '{"embedding": [1]}'), answer(item(0), '{"index": 1}'),
        answer(item(0), item(1))[:-1], b'{"data": 5}', b"[]", b"", b'{"data": [5, 6]}', b"\xff",
        answer(item(0), item(1)).replace(b'"object"', b'"error": {}, "object"', 1),
    ],
)  # fmt: skip
def test_what_does_not_answer_both_inputs(body: bytes) -> None:
    assert split(body, ["a", "b"]) is None


@given(st.dictionaries(st.sampled_from(["data", "usage", "model", "error"]), VALUES) | VALUES)
def test_wrong_types_are_no_answer(fields: Any) -> None:
    assert split(json.dumps(fields).encode(), ["a"]) is None


def test_embeddings_of_several_models_are_not_joined() -> None:
    with pytest.raises(Mixed):
        join([answer(item(0)), answer(item(0), model="m-2")])


# --- usage --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 53), st.lists(st.integers(1, 99), min_size=1, max_size=30))
def test_shares_add_up(total: int, weights: list[int]) -> None:
    shares = apportioned(total, weights)
    assert sum(shares) == total and len(shares) == len(weights) and min(shares) >= 0
    assert all(abs(share - total * weight / sum(weights)) <= 1 + total / (1 << 40) for share, weight in zip(
        shares, weights, strict=True
    ))  # fmt: skip


@given(st.integers(0, 300_000), st.lists(st.text(max_size=9) | st.lists(st.integers(), min_size=1), min_size=1))
def test_usage_is_apportioned_so_that_its_sum_is_exact(tokens: int, inputs: list[Any]) -> None:
    body = answer(*map(item, range(len(inputs))), tokens=tokens)
    parts = parts_of(body, inputs)
    told = [json.loads(part)["usage"] for part in parts]
    assert sum(one["prompt_tokens"] for one in told) == sum(one["total_tokens"] for one in told) == tokens
    assert json.loads(join(parts))["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_tokens_are_counted_and_texts_by_their_bytes() -> None:
    lists, texts = ([1], [1, 2, 3], [1, 2]), ["", "aaaa", "\u00e9\u00e9"]
    for inputs, shares in ((list(lists), [10, 30, 20]), (texts, [5, 27, 28])):
        parts = parts_of(answer(item(0), item(1), item(2), tokens=60), inputs)
        assert [json.loads(part)["usage"]["prompt_tokens"] for part in parts] == shares


def test_usage_that_is_not_told_is_not_made_up() -> None:
    parts = parts_of(answer(item(0), item(1), tokens=None), ["a", "b"])
    assert all(b"usage" not in part for part in (*parts, join(parts)))
    odd = answer(item(0), item(1)).replace(b'"total_tokens": 7', b'"total_tokens": null')
    assert json.loads(join(parts_of(odd, ["a", "b"])))["usage"] == {"prompt_tokens": 7}


# --- recorded -----------------------------------------------------------------------------------------------------


def recorded() -> list[tuple[str, bytes, int, bytes]]:
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the recordings")
    found = []
    for path in sorted(data_folder("cassettes").rglob("*embedding*.yaml")):
        for one in yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["interactions"]:
            asked, told = one["request"], one["response"]
            if str(asked.get("url")).endswith("/v1/embeddings"):
                found.append((path.stem, asked["body"].encode(), told["code"], told["body"].encode()))
    return found


@pytest.mark.parametrize(("name", "body", "status", "told"), recorded(), ids=lambda value: str(value)[:30])
def test_recorded_exchanges(name: str, body: bytes, status: int, told: bytes) -> None:
    batch = read_embeddings(body)
    assert batch.inputs, name
    assert (split(told, batch.inputs) is not None) == (status == 200)
    if status != 200:
        assert usage_of(told) is None
        return
    parts = parts_of(told, list(batch.inputs))
    assert json.loads(join(parts)) == json.loads(told)
    embeddings = re.findall(rb'"embedding": *("[^"]*"|\[[^]]*\])', told)
    assert len(embeddings) == len(parts)
    assert all(embedding in part for embedding, part in zip(embeddings, parts, strict=True))


def test_the_order_of_recorded_embeddings_is_kept() -> None:
    name, body, _, told = next(one for one in recorded() if one[0] == "embeddings-mixed-batch")
    batch = read_embeddings(body)
    parts = parts_of(told, list(batch.inputs))
    whole = [one["embedding"] for one in json.loads(told)["data"]]
    assert [json.loads(part)["data"][0]["embedding"] for part in parts] == whole, name
    norms = [struct.unpack("<1536f", base64.b64decode(one)) for one in whole]
    assert all(one != other for one, other in pairwise(norms))
