"""The command line as an operator sees it: what it prints, how it fails. Never a traceback."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from node_process import NodeProcess, Ran, run

from edgecache.testing.redis_server import RedisServer


def check(ran: Ran, code: int, *told: str) -> None:
    assert ran.code == code, ran
    for text in told:
        assert text in ran.out + ran.err, ran
    assert "Traceback" not in ran.out + ran.err, ran


async def test_purging(node: NodeProcess, upstream: Any) -> None:
    for words in (
        ("--all",),
        ("--url", "/v1/chat/completions"),
        ("--url", "https://example.com/v1/chat/completions"),
        ("--id", (await node.chat("q"))[0].headers["X-Edgecache-Id"]),
    ):
        await node.chat("q")
        assert (await node.chat("q"))[0].headers["X-Cache"] == "HIT"
        check(await node.cli("purge", *words), 0, "purged, id ", "1 of 1 nodes, ")
        assert (await node.chat("q"))[0].headers["X-Cache"] == "MISS", words
    check(await node.cli("purge", "--tag", "id", "-t", "é", "--no-wait"), 0, "purged, id ")


async def test_purging_more(node: NodeProcess) -> None:
    """By everything that needs more than a name; what is shown beforehand, and written down after."""
    for question in ("What is it?", "What is what?"):
        await node.chat(question, user="Ada Lovelace")
    for words in (
        ("--similar", "What is it?", "--radius", "0.9"),
        ("--user", "Ada Lovelace"),
        ("--route", "upstream"),
        ("--model", "gpt-4o"),
        ("--all", "--scope", "local"),
    ):
        shown = await node.cli("purge", *words, "--dry-run", "--json")
        check(shown, 0)
        found = json.loads(shown.out)
        assert found["count"] + found["uncompared"] == 2, words
        assert (await node.chat("What is it?"))[0].headers["X-Cache"] == "HIT"
    shown = await node.cli("purge", "--user", "Ada Lovelace", "--dry-run")
    check(shown, 0, "What is what?", "would purge 2 entries")
    told = json.loads((await node.cli("purge", "--user", "Ada Lovelace", "--json")).out)
    assert (told["status"], told["nodes"], told["serve_stale_routes"]) == ("ok", {"applied": 1, "blind": 0}, [])
    assert (await node.chat("What is it?"))[0].headers["X-Cache"] == "MISS"
    listed = await node.cli("audit")
    check(listed, 0, told["id"], "user:", "admin")
    assert "Ada" not in listed.out
    (line,) = json.loads((await node.cli("audit", "--id", told["id"], "--json")).out)
    assert (line["id"], line["sequence"], line["effect"]) == (told["id"], 1, "purge")
    check(await node.cli("audit", "--id", "x"), 1, "has no line 'x'")


async def test_purging_softly(node: NodeProcess) -> None:
    check(await node.cli("purge", "--tag", "a", "--soft"), 0, "purged, id ")
    check(await node.cli("audit"), 0, "key:a  soft ")
    check(await node.cli("purge", "--all", "--soft"), 1, "Everything cannot be purged softly")


async def test_a_purge_that_cannot_be(node: NodeProcess) -> None:
    for words, code, told in (
        ((), 2, "Name one of --tag, --id, --url, --similar, --user, --route, --model and --all."),
        (("--similar", "a", "--radius", "2"), 1, "Expected `float` <= 1.0"),
        (("--tag", "a", "--service", "b"), 1, "There is no service 'b'"),
        (("--id", "abc"), 1, "32 hexadecimal digits"),
        (("--tag", "x" * 1_025), 1, "1 to 1024 bytes"),
        (("--all", "--admin", "nonsense"), 1, "expected host:port"),
        (("--all", "--admin", "127.0.0.1:9"), 1, "Is `edgecache serve` running?"),
    ):
        check(await node.cli("purge", *words), code, told)


async def test_without_a_token_it_says_where_one_is(tmp_path: Path) -> None:
    data = str(tmp_path / "nothing")
    for words in (("purge", "--all"), ("token", "list"), ("policy", "reload")):
        check(await run(*words, folder=tmp_path, EDGECACHE_DATA_FOLDER=data), 1, "There is no admin token in", data)


async def test_tokens(node: NodeProcess) -> None:
    name = "the app/of a [b]team[/b] é"
    made = await node.cli("token", "create", name, "--grant", "traffic", "--grant", "purge")
    check(made, 0)
    secret = made.out.strip()
    assert secret.startswith("edgecache-")
    listed = await node.cli("token", "list")
    check(listed, 0, name, "traffic purge", "admin")
    assert secret not in listed.out
    limited = await node.cli(
        "token", "create", "docs", "--grant", "purge_select", "--tag", "docs-*", "--tenant", "acme"
    )
    check(limited, 0)
    check(await node.cli("token", "list"), 0, "purge_select", "docs-*", "acme")
    check(await node.cli("token", "create", "y", "--tag", "a"), 1, "limit purging and pushing")
    check(await node.cli("token", "create", name), 1, "There is a token named")
    check(await node.cli("token", "create", "x", "--grant", "everything"), 1, "grants")
    check(await node.cli("token", "revoke", name), 0, f"revoked {name}")
    check(await node.cli("token", "revoke", name), 1, "There is no token named")


async def test_the_policy(node: NodeProcess) -> None:
    check(await node.cli("policy", "check"), 0, "2 rules, no mistakes, digest", "smollm2-135m-instruct")
    folder = node.folder / "mine"
    folder.mkdir()
    rules = '[[route]]\nname = "a"\nmodels = ["gpt-[a-z]*", "[b]"]\n'
    (folder / "a.toml").write_text(rules)
    check(await node.cli("policy", "check", str(folder)), 0, "gpt-[a-z]* [b]", "1 rules, no mistakes")
    (folder / "b.toml").write_text('[[route]]\nmoode = "off"\nttl = "soon"\n')
    broken = await node.cli("policy", "check", str(folder))
    check(
        broken,
        1,
        "b.toml: route[1].moode: unknown key, did you mean `mode`?",
        "b.toml: route[1].ttl",
        ".name: required",
    )
    check(await node.cli("policy", "check", str(node.folder / "none")), 2, "There is no folder")
    check(await node.cli("policy", "reload"), 0, "in force: ", "2 rules")


async def test_the_doctor(node: NodeProcess) -> None:
    found = await node.cli("doctor")
    check(found, 0, "ok    policy: 2 rules", "ok    store:", "0 entries", "ok    node: {", '"ready":true')
    await node.kill()
    check(await node.cli("doctor"), 1, "FAIL  node: No edgecache answers", "ok    store:")
    check(await run("doctor", folder=node.folder, EDGECACHE_STORE_URL="mysql://x"), 1, "FAIL  store:", "redis")


async def test_the_doctor_says_that_a_server_forgets(redis_installed: None, tmp_path: Path) -> None:
    async with RedisServer(append_only=False) as server:
        found = await run("doctor", folder=tmp_path, EDGECACHE_STORE_URL=server.url)
    check(found, 1, "FAIL  store:", "keeps no append-only file")


def test_commands_that_load_no_model_start_without_the_libraries_for_it() -> None:
    heavy = "{'numpy', 'faiss', 'onnxruntime', 'tokenizers', 'huggingface_hub', 'aiohttp', 'redis'}"
    asked = f"import sys, edgecache.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout == "[]\n"


async def test_the_models(tmp_path: Path) -> None:
    check(
        await run("models", "list", folder=tmp_path), 0, "local model: none", "embedding: all-MiniLM-L6-v2 (built-in)"
    )
    check(await run("--version", folder=tmp_path), 0, "0.1.0")


async def test_a_port_in_use(node: NodeProcess, make_node: Any) -> None:
    address = node.url.removeprefix("http://")
    second: NodeProcess = make_node("second", EDGECACHE_LISTEN_TRAFFIC=address)
    ran = await run("serve", folder=second.folder, **second.settings)
    check(ran, 2, "Cannot start:", f"listen: {address}", "address already in use")


async def test_a_folder_in_use(node: NodeProcess) -> None:
    check(await run("serve", folder=node.folder, **node.settings), 1, "Cannot start:", "in use by another edgecache")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"EDGECACHE_NOD": "x", "EDGECACHE_DRAIN": "soon"}, ("EDGECACHE_NOD: no", "drain: Expected a duration")),
        ({"EDGECACHE_DATA_FOLDER": "/dev/null/x"}, ("Cannot start", "/dev/null/x")),
        ({"EDGECACHE_STORE_URL": "redis://127.0.0.1:9"}, ("Cannot start", "127.0.0.1:9")),
        ({"EDGECACHE_STORE_URL": "mysql://x"}, ("Cannot start", "redis")),
    ],
)  # fmt: skip
async def test_settings_that_cannot_be_used(tmp_path: Path, settings: dict[str, str], told: tuple[str, ...]) -> None:
    ran = await run("serve", folder=tmp_path, **{"EDGECACHE_DATA_FOLDER": str(tmp_path / "data"), **settings})
    check(ran, ran.code, *told)
    assert ran.code in (1, 2)


async def test_a_policy_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.toml").write_text("[[route]]\n")
    ran = await run("serve", folder=tmp_path, EDGECACHE_DATA_FOLDER=str(tmp_path / "data"))
    check(ran, 2, "a.toml: route[1].name: required")


async def test_tls_on_both_listeners(make_node: Any, tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    node: NodeProcess = make_node(EDGECACHE_LISTEN_TLS_CERTIFICATE=str(chain), EDGECACHE_LISTEN_TLS_KEY=str(key))
    await node.start()
    assert node.url.startswith("https://")
    assert node.admin.startswith("https://")
    check(await node.cli("purge", "--all"), 0, "purged, id ")
    check(await node.cli("doctor"), 0, "ok    node: {")
    other = trustme.CA().issue_cert("127.0.0.1")
    other.cert_chain_pems[0].write_to_path(str(tmp_path / "other.pem"))
    node.settings["EDGECACHE_LISTEN_TLS_CERTIFICATE"] = str(tmp_path / "other.pem")
    check(await node.cli("purge", "--all"), 1, "certificate verify failed")


async def test_a_certificate_that_does_not_fit_its_key(tmp_path: Path) -> None:
    authority = trustme.CA()
    one, two = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    one.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))
    two.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    tls = {"EDGECACHE_LISTEN_TLS_CERTIFICATE": "chain.pem", "EDGECACHE_LISTEN_TLS_KEY": "key.pem"}
    ran = await run("serve", folder=tmp_path, EDGECACHE_DATA_FOLDER=str(tmp_path / "data"), **tls)
    check(ran, 2, "listen.tls_certificate, listen.tls_key:")


async def test_secrets_are_not_shown(make_node: Any) -> None:
    node: NodeProcess = make_node(EDGECACHE_UPSTREAM_KEY="sk-very-secret", EDGECACHE_SECRET="also very secret indeed")
    await node.start()
    doctor = await node.cli("doctor")
    status = await node.session.get(node.admin + "/admin/status", headers={"Authorization": f"Bearer {node.token}"})
    async with status:
        text = await status.text()
    node.signal(signal.SIGTERM)
    assert await node.wait() == 0
    for shown in (doctor.out, doctor.err, text, node.log):
        assert "very-secret" not in shown
        assert "also very" not in shown
    assert oct((node.folder / "data" / "admin-token").stat().st_mode & 0o777) == oct(0o600)
