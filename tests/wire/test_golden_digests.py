"""The digests themselves, for a fixed secret."""

from typing import Any

import pytest
from chat_requests import CALLED, IMAGE, SYSTEM, TOOL, ask, identity, user

# name: (request, scope, headers, query, partition, key)
GOLDEN: dict[str, tuple[Any, str, dict[str, str], str, str, str]] = {
    "plain": (ask(), "tenant", {}, "", "69934362bc1c6a65a1b25e546818f0a5", "faa6516b9eba03b10492ad17fcf6d630"),
    "other scope": (ask(), "other", {}, "", "824ba40a2687c2de37ce75fd60339cdd", "3773fa43bdb600854479d60cd639bf15"),
    "other model": (
        {**ask(), "model": "n"},
        "tenant",
        {},
        "",
        "ebf7c1060d85fa53ce64c5679c53b140",
        "d92c18a6eef6ad0bdbb1f60b2c57cbe6",
    ),
    "system prompt": (
        {"model": "m", "messages": [SYSTEM, user("q")]},
        "tenant",
        {},
        "",
        "5d6824b2a3d53a36abe7d37cf4c9ef6a",
        "9c5cdb95fe7f7bfd6ea0d8fc0548fdfc",
    ),
    "several turns": (
        {"model": "m", "messages": [user("a"), {"role": "assistant", "content": "b"}, user("c")]},
        "tenant",
        {},
        "",
        "7ed24d35b55bba7e78ce362dafbd4ee8",
        "7e11af159763281e2d9e32e10011a7aa",
    ),
    "sampling": (
        ask(temperature=0.7, top_p=1, seed=7, max_completion_tokens=100),
        "tenant",
        {},
        "",
        "45f52a3407a1585f055b2bd360d29f9a",
        "10314a75887798c3f7e8e1f18bc41311",
    ),
    "tools": (
        ask(tools=[TOOL], tool_choice="auto"),
        "tenant",
        {},
        "",
        "044c55f34d20c3e5c485d9692977c318",
        "8cc6fb8c8475730b4607021b9ceb6b61",
    ),
    "response format": (
        ask(response_format={"type": "json_object"}),
        "tenant",
        {},
        "",
        "4702453cded230a0d7c0117a0df04a12",
        "efd35b139b76a2a8656b7d90188c4f73",
    ),
    "an image": (
        ask([{"type": "text", "text": "What is this?"}, IMAGE]),
        "tenant",
        {},
        "",
        "d90a31fcc96c5653693b70ebf6e83dbf",
        "4ce4224fb6f16e7bb8e4b8d4f25407ca",
    ),
    "tool results": (
        {"model": "m", "messages": CALLED},
        "tenant",
        {},
        "",
        "833a4cfb62c4571db7703b3603185a39",
        "9c59c282763df5864180266d4fd56b41",
    ),
    "header and query": (
        ask(),
        "tenant",
        {"openai-beta": "a=1", "openai-project": "p"},
        "api-version=2024-10-21",
        "269128f8dbf5aa2cda05475d14398dc5",
        "82418fea35d3847384e36e6247304422",
    ),
    "unknown field": (
        ask(something_new={"b": [1, 1.0, "1", True, None], "a": "é"}),
        "tenant",
        {},
        "",
        "4881de68cb6d2f4fcfc57609f599c0f5",
        "ef38fa01d2af7b3c8654927bd8d0d274",
    ),
    "no text": (ask(None), "tenant", {}, "", "3197890dba263b3da615ad74baf7f21d", "73349aca0758fe9b52fd0a461cd461a3"),
    "other languages": (
        ask("空はなぜ青いのですか。"),
        "tenant",
        {},
        "",
        "69934362bc1c6a65a1b25e546818f0a5",
        "7c14bf9ed1b134a384abea801573d964",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_digests(name: str) -> None:
    """Stored answers are found by these bytes: if they change, RULES must change with them."""
    fields, scope, headers, query, partition, key = GOLDEN[name]
    found = identity(fields, scope, headers, query)
    assert (found.partition.hex(), found.key.hex()) == (partition, key)


def test_golden_digests_of_another_path_and_other_upstreams() -> None:
    found = identity(ask(), "tenant", path="/openai/deployments/tiny/chat/completions", rules=("azure", "openai"))
    assert (found.partition.hex(), found.key.hex()) == (
        "6b0c42d08596aae824dadbf0cc793aa3",
        "23d155d6567e93d5141a41e9f27b09bc",
    )


def test_golden_digests_are_all_different() -> None:
    assert len({key for *_, key in GOLDEN.values()}) == len(GOLDEN)
