"""`edgecache purge` beside a node whose answers are scripted: what it waits for, what it asks, what it tells."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgecache.cli import app
from edgecache.commands import standing

ID = "0" * 31 + "a"
FOUND = {"count": 1_234, "examples": [], "uncompared": 0, "complete": True}


class Scripted(ThreadingHTTPServer):
    """Answers from a queue for each path, the last one again and again. `asked` is what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, deque[Any]] = {}
        self.asked: list[tuple[str, Any, dict[str, str]]] = []

    def script(self, path: str, *answers: Any) -> None:
        self.answers[path] = deque(answers)


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, json.loads(body) if body else None, headers))
        queue = self.server.answers[self.path]
        content = json.dumps(queue.popleft() if len(queue) > 1 else queue[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def node() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def stands(applied: list[str], waiting: list[str], blind: list[str], done: bool, routes: list[str]) -> Any:
    return {
        "id": ID,
        "sequence": 1,
        "applied": applied,
        "waiting": waiting,
        "blind": blind,
        "done": done,
        "serve_stale_routes": routes,
    }


def run(node: Scripted, *words: str) -> Any:
    environment = {"EDGECACHE_TOKEN": "edgecache-x"}
    return CliRunner().invoke(app, [*words, "--admin", f"127.0.0.1:{node.server_port}"], env=environment)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of a test."""
    monkeypatch.chdir(tmp_path)


def test_it_waits_for_all_nodes(node: Scripted) -> None:
    node.script("/service/edgecache/purge", {"docs": ID})
    node.script(
        f"/purge/progress/{ID}",
        stands([], ["a", "b", "c"], [], False, []),
        stands(["a", "b"], ["c"], [], False, []),
        stands(["a", "b", "c"], [], [], True, []),
    )
    ran = run(node, "purge", "--tag", "docs")
    assert ran.exit_code == 0, ran.output
    assert f"purged, id {ID}\n3 of 3 nodes, " in ran.stdout
    assert ran.stdout.endswith(" ms\n")
    assert [path for path, *_ in node.asked] == ["/service/edgecache/purge", *[f"/purge/progress/{ID}"] * 3]


def test_it_does_not_wait_where_it_need_not(node: Scripted) -> None:
    node.script("/service/edgecache/purge", {"docs": ID})
    ran = run(node, "purge", "--tag", "docs", "--no-wait")
    assert ran.stdout == f"purged, id {ID}\n"
    assert len(node.asked) == 1


@pytest.mark.parametrize(
    ("routes", "told"),
    [
        ([], "cut off: c: nothing is served from cache there\n"),
        (["docs", "faq"], "there, but by the rules docs, faq, which chose to serve what may be stale\n"),
    ],
)
def test_nodes_that_are_cut_off_are_named(node: Scripted, routes: list[str], told: str) -> None:
    node.script("/service/edgecache/purge", {"docs": ID})
    node.script(f"/purge/progress/{ID}", stands(["a", "b"], [], ["c"], True, routes))
    ran = run(node, "purge", "--tag", "docs")
    assert ran.exit_code == 0
    assert "2 of 3 nodes, " in ran.stdout
    assert ran.stdout.endswith(told)
    shown = json.loads(run(node, "purge", "--tag", "docs", "--json").stdout)
    assert shown.pop("ms") > 0
    assert shown == {"status": "ok", "id": ID, "nodes": {"applied": 2, "blind": 1}, "serve_stale_routes": routes}


def test_a_node_that_never_answers_is_not_waited_for_for_ever(node: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "PATIENCE", 0.0)
    node.script("/service/edgecache/purge", {"docs": ID})
    node.script(f"/purge/progress/{ID}", stands(["a"], ["b"], [], False, []))
    ran = run(node, "purge", "--tag", "docs")
    assert ran.exit_code == 1
    assert f"purged, id {ID}" in ran.stdout
    assert "waiting for b" in ran.output


def test_a_key_that_is_called_id(node: Scripted) -> None:
    node.script("/service/edgecache/purge", {"id": ID, "nodes": ID})
    assert run(node, "purge", "-t", "id", "-t", "nodes", "--no-wait").stdout == f"purged, id {ID}\n"


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (("--tag", "a", "-t", "b"), "/service/edgecache/purge", {"surrogate_keys": ["a", "b"]}),
        (("--tag", "a", "--service", "s/1"), "/service/s%2F1/purge", {"surrogate_keys": ["a"]}),
        (("--id", "abc"), "/purge/id/abc", None),
        (("--url", "/a?b"), "/purge/%2Fa%3Fb", None),
        (("--similar", "a", "--radius", "0"), "/purge/similar", {"text": "a", "radius": 0, "scope": ""}),
        (
            ("--similar", "a", "--radius", "1", "--scope", "s"),
            "/purge/similar",
            {"text": "a", "radius": 1, "scope": "s"},
        ),
        (("--user", "ada"), "/purge/user", {"user": "ada"}),
        (("--route", "a/b"), "/purge/route/a%2Fb", None),
        (("--model", "gpt-4o"), "/purge/model/gpt-4o", None),
        (("--all",), "/service/edgecache/purge_all", None),
        (("--all", "--service", "s"), "/service/s/purge_all", None),
        (("--all", "--scope", "s"), "/purge/scope/s", None),
    ],
)
def test_what_each_option_asks(node: Scripted, words: tuple[str, ...], path: str, body: Any) -> None:
    node.script(path, {"status": "ok", "id": ID, "a": ID})
    node.script(path + "?dry_run=1", {"status": "ok", "dry_run": True, **FOUND})
    assert run(node, "purge", *words, "--no-wait").exit_code == 0
    assert run(node, "purge", *words, "--no-wait", "--soft").exit_code == 0
    assert run(node, "purge", *words, "--dry-run").stdout == "would purge 1,234 entries\n"
    assert [(at, what) for at, what, _ in node.asked] == [(path, body), (path, body), (path + "?dry_run=1", body)]
    assert ["fastly-soft-purge" in headers for *_, headers in node.asked] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Name one of --tag,"),
        (("--all", "--tag", "a"), "Name one of --tag,"),
        (("--route", "a", "--model", "b"), "Name one of --tag,"),
        (("--url", "v1/chat/completions"), "begins with /"),
        (("--similar", "a"), "--similar and --radius go together."),
        (("--all", "--radius", "0.1"), "--similar and --radius go together."),
        (("--tag", "a", "--scope", "b"), "--scope goes with"),
        (("--url", "/a", "--service", "b"), "--service goes with"),
        (("--all", "--scope", "a", "--service", "b"), "--service goes with"),
    ],
)
def test_words_that_do_not_go_together(node: Scripted, words: tuple[str, ...], told: str) -> None:
    ran = run(node, "purge", *words)
    assert ran.exit_code == 2
    assert told in ran.stderr
    assert node.asked == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, "would purge 1,234 entries\n"),
        ({"count": 1}, "would purge 1 entry\n"),
        ({"complete": False}, "would purge at least 1,234 entries\n"),
        ({"uncompared": 7}, "would purge 1,234 entries, and maybe 7 that are not embedded yet\n"),
    ],
)
def test_what_a_preview_tells(node: Scripted, found: Any, told: str) -> None:
    node.script("/service/edgecache/purge_all?dry_run=1", {**FOUND, **found})
    assert run(node, "purge", "--all", "--dry-run").stdout == told


def test_examples_of_a_preview(node: Scripted) -> None:
    tags = ["all:", "key:docs", "scope:local", "key:a b"]
    example = {"id": ID, "question": "What\n is [b]it[/b]?", "tags": tags}
    node.script("/service/edgecache/purge_all?dry_run=1", {**FOUND, "examples": [example]})
    ran = run(node, "purge", "--all", "--dry-run")
    assert f" {ID}  What is [b]it[/b]?  docs a b " in ran.stdout


@pytest.mark.parametrize(("typed", "purges"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_everything_is_asked_for_twice_on_a_terminal(node: Scripted, typed: str, purges: bool, tmp_path: Path) -> None:
    node.script("/service/edgecache/purge_all?dry_run=1", FOUND)
    node.script("/service/edgecache/purge_all", {"status": "ok", "id": ID})
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "edgecache",
                "purge",
                "--all",
                "--no-wait",
                "--admin",
                f"127.0.0.1:{node.server_port}",
            ],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "EDGECACHE_TOKEN": "edgecache-x"},
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Purge everything: 1,234 entries? [y/N]" in ran.stderr
    assert [path for path, *_ in node.asked][1:] == ["/service/edgecache/purge_all"] * purges
    assert ran.returncode == (0 if purges else 1)
    assert ("Nothing was purged." in ran.stderr) is not purges


def test_everything_is_not_asked_for_twice_with_yes_or_in_a_script(node: Scripted) -> None:
    node.script("/service/edgecache/purge_all", {"status": "ok", "id": ID})
    for words in (("--yes",), ()):
        assert run(node, "purge", "--all", "--no-wait", *words).exit_code == 0
    assert [path for path, *_ in node.asked] == ["/service/edgecache/purge_all"] * 2
