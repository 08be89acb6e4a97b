"""The README's quick start does what it shows, and what else the README names is there."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import quickstart
from quickstart import Shown, agrees, outputs, shown, to_run

from edgecache.models import default_cache

ROOT = Path(__file__).parents[2]
DEADLINE = 120
"""Seconds in which a process outside our control has to get somewhere."""


class Node:
    """`edgecache serve` as a newcomer starts it, on free ports and with a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGECACHE_", "OPENAI_"))}
        self.environment = {
            **kept,
            "EDGECACHE_MODELS": str(default_cache(os.environ)),
            "EDGECACHE_DATA_FOLDER": str(folder / "data"),
            "EDGECACHE_LISTEN_TRAFFIC": "127.0.0.1:0",
            "EDGECACHE_LISTEN_ADMIN": "127.0.0.1:0",
        }
        self._log = folder / "log"
        command = [sys.executable, "-m", "edgecache", "serve"]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=self.environment, stderr=log)

    def wait_logged(self, pattern: str) -> re.Match[str]:
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until and self.process.poll() is None:
            if found := re.search(pattern, self._log.read_text()):
                return found
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    running = Node(tmp_path_factory.mktemp("quickstart"))
    try:
        running.wait_logged(r"the local model \S+ is ready")
        yield running
    finally:
        running.stop()


def test_the_quick_start_prints_what_it_shows(node: Node) -> None:
    ports = node.wait_logged(r"serving on <Listener 127\.0\.0\.1:(\d+)>, admin on <Listener 127\.0\.0\.1:(\d+)>")
    environment = {**node.environment, "EDGECACHE_LISTEN_ADMIN": f"127.0.0.1:{ports[2]}"}
    steps = to_run()
    commands = [moved(step.command, ports[1]) for step in steps]
    for step, real in zip(steps, outputs(commands, environment), strict=True):
        assert agrees(real, step.output or ("",)), "\n".join([step.command, "printed", *real])


def moved(command: str, port: str) -> str:
    """To this node and to the environment of the tests, where everything is installed already."""
    if command.startswith(".venv/bin/python -m pip install"):
        return ":"
    here = {".venv/bin/edgecache": f"{sys.executable} -m edgecache", ".venv/bin/python": sys.executable}
    command = re.sub(r"\.venv/bin/(edgecache|python)\b", lambda found: here[found[0]], command)
    return command.replace("127.0.0.1:8080", f"127.0.0.1:{port}")


def test_the_quick_start_is_in_the_order_of_its_story() -> None:
    told = [re.search(r"\b(MISS|HIT)\b|purged", "\n".join(step.output)) for step in to_run()]
    assert [found[0] for found in told if found] == ["MISS", "HIT", "HIT", "purged", "MISS"]
    assert any("from openai import OpenAI" in step.command for step in to_run())


def test_another_output_would_be_noticed() -> None:
    written = ("X-Cache: HIT", "Age: 0", "...", "end")
    assert agrees(["X-Cache: HIT", "Age: 7", "", "end"], written)
    assert not agrees(["X-Cache: MISS", "Age: 7", "", "end"], written)
    assert not agrees(["X-Cache: HIT", "Age: 7", "", "end", "more"], written)


def test_make_has_every_target_the_readme_names() -> None:
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", quickstart.README.read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"serve", "test"} <= named <= targets
    assert Shown("make serve", shown()[2].output) == shown()[2]


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("policies/*.md")]))
def test_every_file_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target
