"""The digests themselves, for a fixed secret."""

from typing import Any

import pytest
from chat_requests import CALLED, IMAGE, SYSTEM, TOOL, ask, identity, user

# name: (request, scope, headers, query, partition, key)
GOLDEN: dict[str, tuple[Any, str, dict[str, str], str, str, str]] = {
    "plain": (ask(), "tenant", {}, "", "f7a55ddc9de3a07b2a2fb3ae70812630", "8ee1ca8dceec44c09c8fcf85cf6b87cc"),
    "other scope": (ask(), "other", {}, "", "8299aac49092961779c7f3a7e1bc90a7", "f732bff800ee09f9f86776458f137961"),
    "other model": (
        {**ask(), "model": "n"},
        "tenant",
        {},
        "",
        "033dda6b3eb0601ae96b057f84bef698",
        "38cb10633cf33338fa29c590641fa8a7",
    ),
    "system prompt": (
        {"model": "m", "messages": [SYSTEM, user("q")]},
        "tenant",
        {},
        "",
        "abce67d6aae2bc41c773d33cf1480274",
        "d54c3caaf0f2e4af219bef860395c195",
    ),
    "several turns": (
        {"model": "m", "messages": [user("a"), {"role": "assistant", "content": "b"}, user("c")]},
        "tenant",
        {},
        "",
        "086d1ffaf792df5c1fd0843c4ef3248c",
        "fc4ad90575fcf743be28286368052f8e",
    ),
    "sampling": (
        ask(temperature=0.7, top_p=1, seed=7, max_completion_tokens=100),
        "tenant",
        {},
        "",
        "3bb58e84fb9f3e8c0bae5781c28d02d2",
        "b9bfefc1035c11e28c5bab5dbbed4721",
    ),
    "tools": (
        ask(tools=[TOOL], tool_choice="auto"),
        "tenant",
        {},
        "",
        "159bd27445c83b85638cfbe27a2af263",
        "d199ea84a86fa6e6e31346c9922a3e8a",
    ),
    "response format": (
        ask(response_format={"type": "json_object"}),
        "tenant",
        {},
        "",
        "d052cecd68440e0a4484c4b98451986b",
        "3963ec31f68f999477dd9ac8a64f2e99",
    ),
    "an image": (
        ask([{"type": "text", "text": "What is this?"}, IMAGE]),
        "tenant",
        {},
        "",
        "5613db7e7c3e17a244f9e0b739cd0527",
        "29d2212ce47d3fd4ef3613439756b5c1",
    ),
    "tool results": (
        {"model": "m", "messages": CALLED},
        "tenant",
        {},
        "",
        "62f39b17dc77a823633b44545bd57f05",
        "8ca65e190c01b7c15f39456a22783da8",
    ),
    "header and query": (
        ask(),
        "tenant",
        {"openai-beta": "a=1", "openai-project": "p"},
        "api-version=2024-10-21",
        "567863305011c56d4826f2b8a7c5f2eb",
        "6d20c5f55795c1c9baa3cfdc1a33080e",
    ),
    "unknown field": (
        ask(something_new={"b": [1, 1.0, "1", True, None], "a": "é"}),
        "tenant",
        {},
        "",
        "28b8d16fa4a6bfe383f87193eb5b983f",
        "08666118f1f942c957829094930c60ee",
    ),
    "no text": (ask(None), "tenant", {}, "", "47abffe02dbc786ea517ede6af219feb", "add1ad0a40a8170c17f67992f7efaa91"),
    "other languages": (
        ask("空はなぜ青いのですか。"),
        "tenant",
        {},
        "",
        "f7a55ddc9de3a07b2a2fb3ae70812630",
        "173dc8cec92e428d1b5ca9e3d2c07110",
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
