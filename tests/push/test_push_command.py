"""`edgecache push`: a file on every node, and each line that was refused."""

import asyncio
import gzip
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from push_calls import NEVER_FORWARDED, QUESTION, answer
from typer.testing import CliRunner, Result

from edgecache import pushing
from edgecache.cli import app
from edgecache.testing.node import Node


async def command(node: Node, *words: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("EDGECACHE_TOKEN", node.admin_token)
    arguments = ["push", *words, "--admin", f"127.0.0.1:{node.admin_port}"]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


def lines(*items: Any) -> bytes:
    return b"".join((item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in items)


def questions(count: int) -> list[Any]:
    return [answer(f"{number} it is.", question=f"What is {number}?") for number in range(count)]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_file(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    file = tmp_path / "answers.jsonl"
    content = lines(*questions(250))
    await asyncio.to_thread(file.write_bytes, gzip.compress(content) if packed else content)
    ran = await command(node, str(file), monkeypatch=monkeypatch)
    assert ran.exit_code == 0, ran.output
    assert ran.output.startswith("250 answers pushed in ")
    assert "in force on 1 node" in ran.output
    assert await node.stored() == 250
    assert (await node.chat("What is 249?", headers=NEVER_FORWARDED)).text == "249 it is."


async def test_lines_that_are_refused(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "answers.jsonl"
    wrong = [b"{", b"[]", {**answer(), "ttl": 0}, b'{"a": 1, "a": 2}', b'"' + b"x" * pushing.LONGEST + b'"']
    items = [b"", answer(), *wrong, b"  ", answer("Two.", question="Two?")]
    await asyncio.to_thread(file.write_bytes, lines(*items))
    ran = await command(node, str(file), monkeypatch=monkeypatch)
    assert ran.exit_code == 1
    told = [line.split(":")[0] for line in ran.output.splitlines() if line.startswith("line ")]
    assert told == [f"line {number}" for number in range(3, 8)]
    assert "2 answers pushed" in ran.output and "5 refused" in ran.output
    assert (await node.chat("Two?", headers=NEVER_FORWARDED)).text == "Two."


async def test_what_lines_do_not_say(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "answers.jsonl"
    bare = {"question": QUESTION, "answer": "Press the moon."}
    own = {
        "request": {"model": "o1", "messages": [{"role": "user", "content": "Own?"}]},
        "answer": "Own.",
        "tags": ["b"],
    }
    await asyncio.to_thread(file.write_bytes, lines(bare, own))
    words = ("--scope", "local", "--model", "gpt-4o", "--tag", "a", "--ttl", "90s", "--no-wait")
    ran = await command(node, str(file), *words, monkeypatch=monkeypatch)
    assert ran.exit_code == 0, ran.output
    assert "in force on" not in ran.output
    first = await node.chat(QUESTION, headers=NEVER_FORWARDED)
    second = await node.chat("Own?", model="o1", headers=NEVER_FORWARDED)
    for reply, tags in ((first, {"key:a"}), (second, {"key:a", "key:b"})):
        entry = (await node.manage("GET", f"/admin/entries/{reply.headers['X-Edgecache-Id']}")).json()
        assert entry["expires_at"] - entry["stored_at"] == pytest.approx(90)
        assert {tag for tag in entry["tags"] if tag.startswith("key:")} == tags


async def test_from_a_pipe(node: Node) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edgecache", "push", "-", "--admin", f"127.0.0.1:{node.admin_port}"),
        env={**os.environ, "EDGECACHE_TOKEN": node.admin_token},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(gzip.compress(lines(answer())))
    assert (process.returncode, told[:15]) == (0, b"1 answer pushed")
    assert (await node.chat(QUESTION, headers=NEVER_FORWARDED)).text == "Press the moon."


async def test_what_ends_it(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "answers.jsonl.gz"
    packed = gzip.compress(lines(*questions(3)))
    await asyncio.to_thread(file.write_bytes, packed[:-10])
    cut = await command(node, str(file), monkeypatch=monkeypatch)
    assert cut.exit_code == 1 and "cannot be read on" in cut.output
    assert (await command(node, str(tmp_path / "none"), monkeypatch=monkeypatch)).exit_code == 2
    assert (await command(node, str(file), "--ttl", "soon", monkeypatch=monkeypatch)).exit_code == 2


async def test_a_token_that_may_not_push(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "answers.jsonl"
    await asyncio.to_thread(file.write_bytes, lines(*questions(3)))
    monkeypatch.setenv("EDGECACHE_TOKEN", await node.token("caller"))
    words = ["push", str(file), "--admin", f"127.0.0.1:{node.admin_port}"]
    ran = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert ran.exit_code == 1
    assert "lines 1 to 3: The token 'caller' is not for pushing answers." in ran.output


class Refuser:
    """A node that takes so many calls, and then is not there any more."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def fetch(self, method: str, path: str, content: bytes = b"") -> tuple[int, bytes]:
        self.left -= 1
        if self.left < 0:
            return 503, b'{"msg": "Not pushed", "detail": "The purge log did not take it"}'
        answers = [{"item": 0, "status": "ok"} for _ in json.loads(content)["answers"]]
        return 200, json.dumps({"answers": answers}).encode()


def test_batches_are_bounded_by_count_and_size() -> None:
    long = {**answer(), "answer": "x" * (1 << 20)}
    file = io.BufferedReader(io.BytesIO(lines(*questions(150), long, long, long)))
    pusher = pushing.Pusher(Refuser(99), pushing.Defaults(), wait=False)
    assert [sent.lines for sent in pusher.push(file)] == [100, 51, 1, 1]


def test_what_is_in_place_when_the_node_goes_is_told() -> None:
    file = io.BufferedReader(io.BytesIO(lines(*questions(250))))
    sent = pushing.Pusher(Refuser(2), pushing.Defaults(), wait=True).push(file)
    assert [next(sent).stored, next(sent).stored] == [100, 100]
    with pytest.raises(pushing.Refused, match="lines 201 to 250: The purge log did not take it"):
        next(sent)
