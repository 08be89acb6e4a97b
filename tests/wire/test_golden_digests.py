"""The digests themselves, for a fixed secret."""

from typing import Any

import pytest
from asking import CALLED, IMAGE, SYSTEM, TOOL, ask, identity, user

# name: (request, scope, headers, query, partition, key)
GOLDEN: dict[str, tuple[Any, str, dict[str, str], str, str, str]] = {
    "plain": (ask(), "tenant", {}, "", "398a0272578528777c801478ac680965", "12749a88dec39acc253d18e3e53e5ab0"),
    "other scope": (ask(), "other", {}, "", "dc956febc8f291be79c88ae3d24f2808", "46de8078d94c2d8e5f0e72594975d274"),
    "other model": (
        {**ask(), "model": "n"},
        "tenant",
        {},
        "",
        "64fc300dd7f45b0486782c140707fe43",
        "04165f9eaebd99ca7476fa9ce85e8e0d",
    ),
    "system prompt": (
        {"model": "m", "messages": [SYSTEM, user("q")]},
        "tenant",
        {},
        "",
        "e92f4668c9e32eb10c7ea77ae8d5dea2",
        "de5610272a81dc548fd838d697ee68ea",
    ),
    "several turns": (
        {"model": "m", "messages": [user("a"), {"role": "assistant", "content": "b"}, user("c")]},
        "tenant",
        {},
        "",
        "d14ee979d43c601ff0dd35a4ff408a6a",
        "0045efdd4e362c29c6d41545beee2f42",
    ),
    "sampling": (
        ask(temperature=0.7, top_p=1, seed=7, max_completion_tokens=100),
        "tenant",
        {},
        "",
        "9a067da84ec602c73f738fb278fde3e3",
        "5c7c24e74021a6e675d5eb4e70cd66ae",
    ),
    "tools": (
        ask(tools=[TOOL], tool_choice="auto"),
        "tenant",
        {},
        "",
        "d392d2e1dc84f71545ffeb237b25094d",
        "114919ceb9b7ccef8604cebd95fd4aab",
    ),
    "response format": (
        ask(response_format={"type": "json_object"}),
        "tenant",
        {},
        "",
        "748c5823fb58996f7ea026647086cacf",
        "13a2ae4e1fa6e0074b62ce888790dd18",
    ),
    "an image": (
        ask([{"type": "text", "text": "What is this?"}, IMAGE]),
        "tenant",
        {},
        "",
        "b8b8563a718c31c80d3973d14fe9d208",
        "e82396686ae9220ab9d6d2da68003522",
    ),
    "tool results": (
        {"model": "m", "messages": CALLED},
        "tenant",
        {},
        "",
        "9cf0670613bf4cfe95f9a2f5052b2c14",
        "aca7bfc13a4f02847afffaed17332543",
    ),
    "header and query": (
        ask(),
        "tenant",
        {"openai-beta": "a=1", "openai-project": "p"},
        "api-version=2024-10-21",
        "bdd95ce45b2643443338a2247b37b586",
        "10405cbeb52af7fb4cabd7a1701d4e43",
    ),
    "unknown field": (
        ask(something_new={"b": [1, 1.0, "1", True, None], "a": "é"}),
        "tenant",
        {},
        "",
        "6ab1ddce3b25bb7a16c8cd787550aca7",
        "4d6ee3f843ccfcce91f28bba16bdd33d",
    ),
    "no text": (ask(None), "tenant", {}, "", "47abffe02dbc786ea517ede6af219feb", "add1ad0a40a8170c17f67992f7efaa91"),
    "other languages": (
        ask("空はなぜ青いのですか。"),
        "tenant",
        {},
        "",
        "398a0272578528777c801478ac680965",
        "7c13d4f1d88f7087388e7432a863cc20",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_digests(name: str) -> None:
    """Stored answers are found by these bytes: if they change, RULES must change with them."""
    fields, scope, headers, query, partition, key = GOLDEN[name]
    found = identity(fields, scope, headers, query)
    assert (found.partition.hex(), found.key.hex()) == (partition, key)


def test_golden_digests_are_all_different() -> None:
    assert len({key for *_, key in GOLDEN.values()}) == len(GOLDEN)
