"""The digests themselves, for a fixed secret."""

from typing import Any

import pytest
from chat_requests import CALLED, IMAGE, SYSTEM, TOOL, ask, identity, user

# name: (request, scope, headers, query, partition, key)
GOLDEN: dict[str, tuple[Any, str, dict[str, str], str, str, str]] = {
    "plain": (ask(), "tenant", {}, "", "0a65efe7f197bc5f76722382b559a5ea", "d8b2133a720d5981b5c10b7e2bbce1f1"),
    "other scope": (ask(), "other", {}, "", "93cfb1abd0583615ba1d274f599c3247", "a69e5b75cf74c57e81054c6655952612"),
    "other model": (
        {**ask(), "model": "n"},
        "tenant",
        {},
        "",
        "3271c12342f73b5fb1a757961cc7b69b",
        "706c73ef6ee23118d2a8f8015075eb68",
    ),
    "system prompt": (
        {"model": "m", "messages": [SYSTEM, user("q")]},
        "tenant",
        {},
        "",
        "9163c743fa8a6771ff5a4010670dc37b",
        "4b27a62a52eaa4259a15a89e8c9c8e70",
    ),
    "several turns": (
        {"model": "m", "messages": [user("a"), {"role": "assistant", "content": "b"}, user("c")]},
        "tenant",
        {},
        "",
        "5f77c8d321d3d5bb7f81ecf1711c754a",
        "ed1c7d9a5ec9488849218488d55c611e",
    ),
    "sampling": (
        ask(temperature=0.7, top_p=1, seed=7, max_completion_tokens=100),
        "tenant",
        {},
        "",
        "2407a078b504cef24b0437e0b15d2b2c",
        "f191d92faebfb81f56e142642ce3967b",
    ),
    "tools": (
        ask(tools=[TOOL], tool_choice="auto"),
        "tenant",
        {},
        "",
        "58da5eced01a1d8ad57e313b9d1f9004",
        "e6727fbe0dd8442c5a91cf8b70ecb4dc",
    ),
    "response format": (
        ask(response_format={"type": "json_object"}),
        "tenant",
        {},
        "",
        "92f746bc68864af5dd1ee2e3d32a10c8",
        "db45688ff3f2e391e6dea901322aad02",
    ),
    "an image": (
        ask([{"type": "text", "text": "What is this?"}, IMAGE]),
        "tenant",
        {},
        "",
        "0b141b2fcf14cf3ad0682c047f02b76c",
        "4486353d6f7b81ff9b808eda853880d0",
    ),
    "tool results": (
        {"model": "m", "messages": CALLED},
        "tenant",
        {},
        "",
        "eb2eb0f731074276ddde65c02eb02970",
        "806ca0b78b1aec5d31d4efb841d7d06a",
    ),
    "header and query": (
        ask(),
        "tenant",
        {"openai-beta": "a=1", "openai-project": "p"},
        "api-version=2024-10-21",
        "faf15949d1b437e5f87d034b8e7ad897",
        "aad5a91899ff015e816e378789372533",
    ),
    "unknown field": (
        ask(something_new={"b": [1, 1.0, "1", True, None], "a": "é"}),
        "tenant",
        {},
        "",
        "13e3ca51c31443dbea5bc747b5753e8e",
        "5d6eebc76b3d28057e7baa2b196608be",
    ),
    "no text": (ask(None), "tenant", {}, "", "9a7eafc020ccbe9400ba4513983606d3", "34f4a21804e854568cb9c3a890e4726a"),
    "other languages": (
        ask("空はなぜ青いのですか。"),
        "tenant",
        {},
        "",
        "0a65efe7f197bc5f76722382b559a5ea",
        "ade614fb01815d98fbce24ebf259686b",
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
        "9cbcc787dcc59f0614dcd444f4b0bdda",
        "7a2b3d75bb47269f82a3ee7c25281b0f",
    )


def test_golden_digests_are_all_different() -> None:
    assert len({key for *_, key in GOLDEN.values()}) == len(GOLDEN)
