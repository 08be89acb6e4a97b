"""The digests themselves, for a fixed secret."""

from typing import Any

import pytest
from chat_requests import CALLED, IMAGE, SYSTEM, TOOL, ask, identity, user

# name: (request, scope, headers, query, partition, key)
GOLDEN: dict[str, tuple[Any, str, dict[str, str], str, str, str]] = {
    "plain": (ask(), "tenant", {}, "", "51dcc0b337eb028848bde26a616ab6e9", "56df1158c25a67d24467f04afc392b51"),
    "other scope": (ask(), "other", {}, "", "78ab459ab5d21bb49c1c2fd293a16a8a", "16e83a79cc5a9fe69f36d4ebdc947537"),
    "other model": (
        {**ask(), "model": "n"},
        "tenant",
        {},
        "",
        "d54eb973e4ea40720ef8231ce216b8aa",
        "37b85fe589ca29e931b31e3d1c26677a",
    ),
    "system prompt": (
        {"model": "m", "messages": [SYSTEM, user("q")]},
        "tenant",
        {},
        "",
        "0d3c2f1d71e20d73bb132f400e24f663",
        "2e2788405e1a20342ba383d1ed7492d6",
    ),
    "several turns": (
        {"model": "m", "messages": [user("a"), {"role": "assistant", "content": "b"}, user("c")]},
        "tenant",
        {},
        "",
        "4ea10adb890cc0063d2654f39596656c",
        "48337942f46fa51d5d5ce0aa5edce744",
    ),
    "sampling": (
        ask(temperature=0.7, top_p=1, seed=7, max_completion_tokens=100),
        "tenant",
        {},
        "",
        "274bbdbc6c5a6914b52db328e4ba9b80",
        "ec83bd680d0ce61425352b9fa46bb603",
    ),
    "tools": (
        ask(tools=[TOOL], tool_choice="auto"),
        "tenant",
        {},
        "",
        "f1b93f05328b815c1bdecf40dd279575",
        "90d7c699ff4d9d647a94d97263cbfcd7",
    ),
    "response format": (
        ask(response_format={"type": "json_object"}),
        "tenant",
        {},
        "",
        "b9f02f30c7233bc2e5fe1213f46b61f5",
        "420deebe3ddd472387c32712d65e3e95",
    ),
    "an image": (
        ask([{"type": "text", "text": "What is this?"}, IMAGE]),
        "tenant",
        {},
        "",
        "a8f8cbc2b1899ddcffe8425402686d55",
        "94f1000feab986fd19ef9e21ee96af86",
    ),
    "tool results": (
        {"model": "m", "messages": CALLED},
        "tenant",
        {},
        "",
        "d317914eba591517afd3ce036f8af57f",
        "60a9281d23942e87c2786be8f17ef3a7",
    ),
    "header and query": (
        ask(),
        "tenant",
        {"openai-beta": "a=1", "openai-project": "p"},
        "api-version=2024-10-21",
        "8e1ebe3f2d85ff5a9fbf59039a892b25",
        "5c830c080541e283c50bda29489b4f4d",
    ),
    "unknown field": (
        ask(something_new={"b": [1, 1.0, "1", True, None], "a": "é"}),
        "tenant",
        {},
        "",
        "4e252de27a15e0215d63eb5eeee1c93d",
        "218adc30fc9fee94a41f1f28fcd75360",
    ),
    "no text": (ask(None), "tenant", {}, "", "4658719a13ef9d8d1bd5bc6374278651", "f3fbf78156a89a8c0ca3c8ee0d66258f"),
    "other languages": (
        ask("空はなぜ青いのですか。"),
        "tenant",
        {},
        "",
        "51dcc0b337eb028848bde26a616ab6e9",
        "bb08b66dfdd6be37a0a37f5195794d4a",
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
        "0bba3e36816da89c15769c483160eb02",
        "f6177b5163a8403bbcd352f3bebec86a",
    )


def test_golden_digests_are_all_different() -> None:
    assert len({key for *_, key in GOLDEN.values()}) == len(GOLDEN)
