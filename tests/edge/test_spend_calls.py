"""`GET /spend`, `edgecache spend` and the metrics: who may see it, and that the sums are right."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner

from edgecache.account.accounts import Accounts
from edgecache.account.grants import Grant
from edgecache.account.tokens import Tokens
from edgecache.cli import app
from edgecache.core.entry import Scope
from edgecache.core.policy import parse_policy
from edgecache.core.reply import Usage
from edgecache.edge.metrics import Metrics
from edgecache.edge.server import Listener
from edgecache.edge.spend_api import SpendApi
from edgecache.errors import LimitReached
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.node import Clock

ADMIN = "edgecache-" + "ad" * 32
ONE = Usage(prompt=1_000_000, completion=500_000)
POLICY = b"""
[[price]]
models = ["gpt"]
input = 1
output = 2
[[limit]]
per = "1h"
requests = 1
[[route]]
name = "chat"
[[route]]
name = "free"
"""


class Side:
    """The call behind a listener, and what it tells of."""

    def __init__(self, folder: Path) -> None:
        policy = parse_policy({"a.toml": POLICY})
        self.storage = SqliteStorage(folder / "edgecache.db")
        clock = Clock(20_777 * 86_400.0)  # 2026-11-20
        self.accounts = Accounts(self.storage.meters, lambda: policy, clock=clock, node="n")
        self.tokens = Tokens(self.storage.registry, clock=clock, random=lambda count: "0" * 2 * count)
        self.api = SpendApi(self.accounts, self.tokens)
        self.listener = Listener("127.0.0.1", 0, self.api.handle, None, drain=1.0)
        self.session: aiohttp.ClientSession | None = None

    async def ask(self, query: str = "", token: str = ADMIN) -> tuple[int, Any]:
        assert self.session is not None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{self.listener.port}/spend{query}"
        async with self.session.get(url, headers=headers) as response:
            return response.status, await response.json()


@pytest.fixture
async def side(tmp_path: Path) -> AsyncGenerator[Side, None]:
    side = Side(tmp_path)
    await side.storage.open()
    side.tokens.admit_admin(ADMIN)
    await side.listener.open()
    async with aiohttp.ClientSession() as side.session:
        for scope, route, model in (("token:a", "chat", "gpt"), ("token:b", "chat", "gpt"), ("token:b", "free", "own")):
            side.accounts.spent(Scope(scope), route, model, ONE)
            side.accounts.saved(Scope(scope), route, model, ONE)
        side.accounts.saved(Scope("token:b"), "chat", "gpt", ONE)
        yield side
    await side.listener.close()
    await side.storage.close()


def told(answers: int, money: float | None) -> dict[str, Any]:
    tokens = {"prompt_tokens": answers * 1_000_000, "completion_tokens": answers * 500_000}
    return {"answers": answers, **tokens, "money": money}


async def test_what_is_told(side: Side) -> None:
    status, found = await side.ask("?days=1&limit=2")
    assert status == 200
    usd, none = {"currency": "USD"}, {"currency": None}
    chat = {"route": "chat", **usd, "spent": told(2, 4.0), "saved": told(3, 6.0)}
    free = {"route": "free", **none, "spent": told(1, None), "saved": told(1, None)}
    assert found == {
        "day": None,
        "routes": [chat, free],
        "scopes": [
            {"scope": "token:b", "route": "chat", **usd, "spent": told(1, 2.0), "saved": told(2, 4.0)},
            {"scope": "token:a", "route": "chat", **usd, "spent": told(1, 2.0), "saved": told(1, 2.0)},
        ],
        "of": 3,
        "days": [{"day": "2026-11-20", **chat}, {"day": "2026-11-20", **free}],
        "unpriced": ["own"],
    }
    _, found = await side.ask("?day=2026-11-20&days=0")
    assert (found["day"], found["of"], found["days"]) == ("2026-11-20", 3, [])
    _, found = await side.ask("?day=2026-11-19")
    assert found["scopes"] == []


@pytest.mark.parametrize("query", ["?days=-1", "?days=401", "?limit=0", "?limit=x", "?day=yesterday", "?day=2026-1-1"])
async def test_what_cannot_be_told(side: Side, query: str) -> None:
    status, found = await side.ask(query)
    assert (status, found["error"]["type"]) == (400, "invalid_request_error")


async def test_only_administration_may_see_it(side: Side) -> None:
    traffic = await side.tokens.create("t", "a", (Grant.TRAFFIC, Grant.PURGE, Grant.PUSH))
    for token, status in (("", 401), ("wrong", 401), (traffic, 403)):
        assert (await side.ask(token=token))[0] == status


async def test_a_store_that_is_away(side: Side) -> None:
    await side.storage.close()
    status, found = await side.ask()
    assert status == 503 and "store" in found["error"]["message"]


def test_it_owns_one_path_and_no_other(tmp_path: Path) -> None:
    api = Side(tmp_path).api
    assert api.owns("GET", "/spend")
    assert not any(api.owns(*call) for call in (("POST", "/spend"), ("GET", "/spend/x"), ("GET", "/v1/spend")))


async def test_the_command(side: Side, tmp_path: Path, blockbuster: BlockBuster) -> None:
    ran = await asyncio.to_thread(run, side, tmp_path, "-n", "2")
    rows = [re.split(r"\s{2,}", line.strip()) for line in ran.splitlines() if line]
    assert rows[1] == ["token:b", "chat", "1", "1,500,000", "2.0000 USD", "2", "3,000,000", "4.0000 USD"]
    assert rows[3] == ["and 1 more: --limit"]
    assert rows[6] == ["2026-11-20", "free", "1", "1,500,000", "-", "1", "1,500,000", "-"]
    assert rows[7] == ["no price, so no money: own"]
    ran = await asyncio.to_thread(run, side, tmp_path, "--json", "--day", "2026-11-20")
    assert json.loads(ran)["of"] == 3


def run(side: Side, folder: Path, *words: str) -> str:
    environment = {"EDGECACHE_TOKEN": ADMIN, "EDGECACHE_DATA_FOLDER": str(folder)}
    command = ["spend", "--admin", f"127.0.0.1:{side.listener.port}", *words]
    ran = CliRunner().invoke(app, command, env=environment, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


async def test_metrics_by_route(side: Side) -> None:
    await side.accounts.admit(Scope("token:a"), "chat")
    with pytest.raises(LimitReached):
        await side.accounts.admit(Scope("token:a"), "chat")
    metrics = Metrics()
    metrics.account(side.accounts.routes, side.accounts.limited)
    text = metrics.render().decode()
    for line in (
        'edgecache_answers_total{currency="USD",how="spent",route="chat"} 2.0',
        'edgecache_answers_total{currency="",how="saved",route="free"} 1.0',
        'edgecache_tokens_total{currency="USD",how="saved",kind="completion",route="chat"} 1.5e+06',
        'edgecache_money_total{currency="USD",how="saved",route="chat"} 6.0',
        'edgecache_limited_total{route="chat"} 1.0',
    ):
        assert line in text.splitlines()
    assert "token:" not in text and 'edgecache_money_total{currency=""' not in text
