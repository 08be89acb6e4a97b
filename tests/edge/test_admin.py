"""The admin listener: what is open and what is guarded, tokens from birth to end, one entry explained, readiness."""

from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgecache.edge.metrics import BUCKETS, Metrics
from edgecache.testing.node import Node, Reply
from edgecache.testing.scripted_upstream import ScriptedUpstream

GUARDED = [
    ("GET", "/admin/status"),
    ("GET", "/admin/policy"),
    ("POST", "/admin/policy/reload"),
    ("GET", "/admin/tokens"),
    ("POST", "/admin/tokens"),
    ("DELETE", "/admin/tokens/x"),
    ("GET", "/admin/audit"),
    ("GET", "/admin/audit/" + "0" * 32),
    ("GET", "/admin/entries/" + "0" * 32),
    ("GET", "/anything"),
    ("POST", "/healthz"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_guarded(node: Node, method: str, path: str) -> None:
    purger = await node.token("purger", grants=["purge", "traffic"])
    before = (await node.statistics())["ledger"], (await node.manage("GET", "/admin/tokens")).json()
    for status, headers in (
        (401, {}),
        (401, {"Authorization": "Bearer wrong"}),
        (401, {"Authorization": "Bearer "}),
        (403, {"Authorization": f"Bearer {purger}"}),
    ):
        reply = await node.ask(method, path, b"{}", headers=headers, admin=True)
        assert reply.status == status, reply
        assert reply.error["message"]
    assert ((await node.statistics())["ledger"], (await node.manage("GET", "/admin/tokens")).json()) == before


async def test_nothing_of_it_is_on_the_traffic_listener(node: Node) -> None:
    for path in ("/admin/tokens", "/metrics", "/readyz", "/healthz"):
        reply = await node.ask("GET", path, headers={"Authorization": "Bearer sk-own"})
        assert reply.status == 404
        assert "Invalid URL" in reply.error["message"]  # what the upstream says


async def opened(node: Node, path: str) -> Reply:
    return await node.ask("GET", path, admin=True)


async def test_health_and_readiness(node: Node) -> None:
    assert (await opened(node, "/healthz")).json() == {"status": "ok"}
    ready = await opened(node, "/readyz")
    assert ready.status == 200
    found = ready.json()
    assert found["ready"] is True
    assert found["log"].items() >= {"applied": 0, "blind": False}.items()
    assert found["log"]["identity"]
    assert found["log"]["node"].startswith("node-under-test")
    assert found["local_model"] == "off"
    assert set(found["index"]) == {"state", "seen", "total"}
    assert found["embedding"]
    assert found["policy"] == (await node.manage("GET", "/admin/policy")).json()["digest"]


async def test_a_token_from_birth_to_end(node: Node) -> None:
    name = "app of the/team?"
    secret = await node.token(name, scope="team", grants=["traffic"])
    asked = {"Authorization": f"Bearer {secret}"}
    assert (await node.chat("hello", headers=asked)).status == 200
    listed = (await node.manage("GET", "/admin/tokens")).body.decode()
    assert name in listed
    assert secret not in listed
    again = await node.manage("POST", "/admin/tokens", {"name": name, "scope": "team", "grants": ["traffic"]})
    assert again.status == 400
    assert "There is a token named" in again.error["message"]
    revoked = await node.manage("DELETE", "/admin/tokens/app%20of%20the%2Fteam%3F")
    assert revoked.json() == {"revoked": name}
    refused = await node.chat("hello", headers=asked)
    assert refused.status == 401
    assert refused.error["code"] == "invalid_api_key"
    assert (await node.manage("DELETE", "/admin/tokens/app")).status == 404


async def test_limits_are_listed(node: Node) -> None:
    wanted = {"name": "ops", "scope": "s", "grants": ["purge_select"], "tags": ["docs-*"], "tenants": ["acme"]}
    assert (await node.manage("POST", "/admin/tokens", wanted)).status == 201
    listed = (await node.manage("GET", "/admin/tokens")).json()["tokens"]
    found = next(token for token in listed if token["name"] == "ops")
    assert {name: found[name] for name in wanted} == wanted
    assert found["created"] > 0
    assert set(found) == {*wanted, "created"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"name":"a"}',
        b'{"name":"a","scope":"s","grants":["fly"]}',
        b'{"name":"a","scope":"s","grants":[]}',
        b'{"name":"","scope":"s","grants":["traffic"]}',
        b'{"name":"a","scope":"s","grants":["traffic"],"admin":true}',
        b'{"name":"a","scope":"s","grants":["purge"],"tags":"docs"}',
        b'{"name":"a","scope":"s","grants":["purge"],"tenants":[""]}',
        b'{"name":"a","scope":"s","grants":["purge_all"],"tags":["docs"]}',
        b'{"name":"a","scope":"s","grants":["traffic"],"tenants":["acme"]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
async def test_a_token_that_cannot_be(node: Node, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {node.admin_token}"}
    reply = await node.ask("POST", "/admin/tokens", body, headers=headers, admin=True)
    assert reply.status == 400, reply
    assert reply.error["message"]


async def test_one_entry_explained_without_its_text(node: Node, upstream: ScriptedUpstream) -> None:
    answer = await node.chat("What is the capital?", headers={"Surrogate-Key": "atlas"})
    path = "/admin/entries/" + answer.headers["X-Edgecache-Id"]
    found = (await node.manage("GET", path)).json()
    assert found["question"] == "What is the capital?"
    assert (found["source"], found["framing"], found["model"]) == ("upstream", "json", "gpt-4o")
    assert {"key:atlas", "all:", "url:/v1/chat/completions"} < set(found["tags"])
    assert found["purged_by"] is None
    assert found["expires_at"] > found["stored_at"]
    assert answer.text not in msgspec.json.encode(found).decode()
    for missing in ("0" * 32, "xyz", "", "%00"):
        assert (await node.manage("GET", f"/admin/entries/{missing}")).status == 404


async def test_a_reload_by_call(node: Node, tmp_path: Any) -> None:
    before = (await node.manage("GET", "/admin/policy")).json()
    assert before["routes"][0]["ttl"] == 3_600
    assert before["routes"][0]["max_answer"] == 4 << 20
    (tmp_path / "policies" / "policy.toml").write_text('[[route]]\nname = "x"\nmode = "telepathic"\n')
    broken = await node.manage("POST", "/admin/policy/reload")
    assert broken.status == 422
    assert broken.json()["in_force"] == before["digest"]
    assert "policy.toml: route[1].mode" in broken.json()["problems"][0]
    assert (await node.manage("GET", "/admin/policy")).json() == before
    (tmp_path / "policies" / "policy.toml").write_text('[[route]]\nname = "x"\nmode = "off"\n')
    assert (await node.manage("POST", "/admin/policy/reload")).json()["reloaded"] is True
    assert (await node.chat("q")).headers["X-Cache"] == "BYPASS"


async def test_metrics_are_what_prometheus_reads(node: Node) -> None:
    await node.chat("What is the capital?")
    await node.chat("What is the capital?")
    reply = await opened(node, "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    counted = {s.labels["outcome"]: s.value for s in found["edgecache_requests"].samples if s.name.endswith("_total")}
    assert counted == {"miss": 1, "exact": 1}
    assert found["edgecache_exact_items"].samples[0].value == 1
    assert found["edgecache_purges_applied"].type == "gauge"


def test_histograms_add_up_whatever_the_labels_are() -> None:
    metrics = Metrics()
    route = 'a "quoted"\nroute\\'
    for seconds in (0.0, 0.0005, 0.3, 1_000.0):
        metrics.tally(route, "miss").add(seconds)
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    samples = families["edgecache_request_seconds"].samples
    assert all(sample.labels["route"] == route for sample in samples)
    buckets = [sample.value for sample in samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert (len(buckets), buckets[0], buckets[-1]) == (len(BUCKETS) + 1, 2, 4)
    assert {s.name.rpartition("_")[2]: s.value for s in samples if "bucket" not in s.name} == {
        "count": 4,
        "sum": 1_000.3005,
    }
    assert repr(metrics) == "<Metrics 1 tallies, 0 gauges>"
