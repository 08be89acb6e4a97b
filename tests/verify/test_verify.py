"""`edgecache verify`: a good cluster keeps the promise, a node that breaks it is found out, and nothing is left."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from old_answers import old_answers
from typer.testing import CliRunner, Result

from edgecache.cli import app
from edgecache.client import AdminClient
from edgecache.testing.node import DEADLINE_S, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream
from edgecache.verify.cluster import Node as Target
from edgecache.verify.findings import Findings
from edgecache.verify.run import Run, Wish

UNHURRIED = ("--lease", "60", "--patience", "60")
"""A busy machine may take longer over a call than a lease allows."""


async def verify(nodes: list[Node], *words: str, urls: list[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("EDGECACHE_TOKEN", nodes[0].admin_token)
    addresses = [word for url in urls for word in ("--node", url)]
    arguments = ["verify", *addresses, "--admin", f"127.0.0.1:{nodes[0].admin_port}", *words]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


def told(ran: Result) -> Any:
    return json.loads(ran.stdout)


async def nothing_stays(node: Node) -> None:
    tokens = (await node.manage("GET", "/admin/tokens")).json()["tokens"]
    assert [token["name"] for token in tokens if token["name"].startswith("edgecache-verify")] == []
    last = (await node.manage("GET", "/admin/audit")).json()["lines"][0]
    assert last["effect"] == "purge" and last["what"][0].startswith("key:edgecache-verify-")


async def test_a_good_cluster(cluster: list[Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, out = tmp_path / "verify.prom", tmp_path / "violations.jsonl"
    words = ("--rounds", "4", "--concurrency", "2", "--json", "--metrics", str(metrics), "--out", str(out), *UNHURRIED)
    ran = await verify(cluster, *words, urls=[node.url for node in cluster], monkeypatch=monkeypatch)
    assert ran.exit_code == 0, ran.output
    seen = told(ran)
    assert (seen["rounds"], seen["pushes"], seen["purges"], seen["failures"]) == (8, 8, 6, 0)
    assert seen["violations"] == {"stale": 0, "missing": 0, "slow": 0, "leak": 0}
    assert seen["hits"] >= 8 * len(cluster)
    assert len(seen["nodes"]) == 3
    await nothing_stays(cluster[0])
    exported = await asyncio.to_thread(metrics.read_text)
    assert 'edgecache_verify_violations{kind="stale"} 0.0' in exported
    assert "edgecache_verify_rounds 8.0" in exported
    assert await asyncio.to_thread(out.read_text) == ""


@pytest.mark.parametrize("fault", ["stale", "missing", "leak"])
async def test_a_broken_node(cluster: list[Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    out = tmp_path / "violations.jsonl"
    words = ("--rounds", "2", "--concurrency", "1", "--out", str(out), *UNHURRIED, "--patience", "0.05")
    async with old_answers(cluster[2], fault) as broken:
        urls = [cluster[0].url, cluster[1].url, broken.url]
        ran = await verify(cluster, *words, urls=urls, monkeypatch=monkeypatch)
    assert ran.exit_code == 1, ran.output
    assert f"VIOLATION {fault} on 127.0.0.1:{broken.port}" in ran.output
    found = [json.loads(line) for line in (await asyncio.to_thread(out.read_text)).splitlines()]
    assert fault in {violation["kind"] for violation in found}
    assert {violation["node"] for violation in found} == {f"127.0.0.1:{broken.port}"}
    await nothing_stays(cluster[0])


async def test_wait_all_that_takes_too_long(node: Node) -> None:
    """Longer than no time at all."""
    findings = Findings(lambda violation: None, lambda: 5.0)
    wish = Wish(canaries=1, rounds=1, lease=0.0, margin=0.0)
    run = Run(wish, [Target(node.url)], AdminClient("127.0.0.1", node.admin_port, node.admin_token, ""), findings)
    await asyncio.to_thread(run, lambda share: None)
    assert run.summary().violations["slow"] == 1
    assert run.summary().seen[0].at == 5.0


async def test_nothing_stays_after_an_interrupt(node: Node) -> None:
    admin = f"127.0.0.1:{node.admin_port}"
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "edgecache",
            "verify",
            "--node",
            node.url,
            "--admin",
            admin,
            "--seconds",
            "60",
            *UNHURRIED,
        ),
        env={**os.environ, "EDGECACHE_TOKEN": node.admin_token},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_S):
        while not await node.stored():
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        shown, _ = await process.communicate()
    assert process.returncode == 130, shown
    assert b"no violations" in shown
    await nothing_stays(node)


async def test_with_a_token_that_is_given(node: Node) -> None:
    made = {"name": "mine", "scope": "mine", "grants": ["traffic", "push", "purge"], "tenants": ["mine"]}
    token = (await node.manage("POST", "/admin/tokens", made)).json()["token"]
    words = ["verify", "--node", node.url, "--token", token, "--scope", "mine", "--rounds", "4", "--json", *UNHURRIED]
    ran = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert ran.exit_code == 0, ran.output
    assert told(ran)["rounds"] == 16


async def test_a_rule_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that nobody must be asked for is refused before anything is pushed."""
    policy = '[[route]]\nname = "deaf"\nrequest_directives = false\n'
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=policy) as node:
        ran = await verify([node], urls=[node.url], monkeypatch=monkeypatch)
        assert ran.exit_code == 2
        assert "may only be answered from cache" in ran.output


async def test_a_node_that_is_not_there(cluster: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    ran = await verify(cluster, urls=[cluster[0].url, "127.0.0.1:1"], monkeypatch=monkeypatch)
    assert ran.exit_code == 2
    assert "127.0.0.1:1 does not answer" in ran.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--node", "http://127.0.0.1/path"), "is an address such as"),
        (("--node", "ftp://127.0.0.1"), "is an address such as"),
        (("--token", "edgecache-x"), "go together"),
        (("--scope", "x"), "go together"),
        (("--out", "/nowhere/at/all"), "No such file"),
    ],
)
def test_bad_options(words: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECACHE_TOKEN", "edgecache-x")
    ran = CliRunner().invoke(app, ["verify", *words, "--admin", "127.0.0.1:1"])
    assert ran.exit_code == 2
    assert told in ran.output
