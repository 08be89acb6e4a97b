"""What the Dockerfile runs, run from a built wheel in a clean environment, and the node that comes out of it."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dockerfile
import pytest

ROOT = Path(__file__).parents[2]
DEADLINE = 120
"""Seconds in which a process outside our control has to get somewhere."""


class Image:
    """The stages as they were built, and how a container would run commands of them."""

    def __init__(self, root: Path) -> None:
        arguments, stages = dockerfile.read(ROOT / "Dockerfile")
        self.root = root
        self.last = stages[-1]
        self.build = dockerfile.Build(stages, arguments, ROOT, root, sys.executable)
        self._stages = {stage.name: stage for stage in stages}

    def make(self, name: str) -> None:
        self.build.run(self._stages[name])

    def environment(self) -> dict[str, str]:
        """The image's variables, on free ports of this machine, and nothing of this process's own."""
        moved = {name: self.build.place(value) for name, value in dockerfile.environment(self.last).items()}
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            **moved,
            "PATH": f"{self.root}/opt/edgecache/bin:/usr/bin:/bin",
            "EDGECACHE_LISTEN_TRAFFIC": "127.0.0.1:0",
            "EDGECACHE_LISTEN_ADMIN": "127.0.0.1:0",
        }

    def command(self, *words: str) -> str:
        """Its output; fails with what it said."""
        done = subprocess.run(
            [str(self.root / "opt/edgecache/bin/edgecache"), *words],
            env=self.environment(),
            cwd=self.root / "data",
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    built = Image(tmp_path_factory.mktemp("image"))
    built.make("wheel")
    return built


@pytest.fixture(scope="module")
def installed(image: Image) -> Image:
    """With everything that the last stage copies."""
    image.make("models-inside")
    image.build.run(image.last)
    return image


def test_the_wheel_carries_what_a_node_reads(image: Image) -> None:
    (wheel,) = (image.root / "wheels").glob("edgecache-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"edgecache/data/default.toml", "edgecache/py.typed"} <= names
    in_the_tree = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "edgecache").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert in_the_tree <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docker/"))]
    metadata = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "# edgecache" in metadata  # the README is the package's description


def test_the_commands_of_the_image(installed: Image) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", installed.command("--version"))
    assert "no mistakes" in installed.command("policy", "check")


def test_models_in_the_image_are_not_made_again(installed: Image) -> None:
    """A layer cut the times of their files to whole seconds."""
    before = sorted((installed.root / "models").iterdir())
    prepared = installed.command("models", "prepare").split()
    assert {Path(path) for path in prepared} <= set(before)
    assert sorted((installed.root / "models").iterdir()) == before


class Container:
    """The image's command as a process."""

    def __init__(self, image: Image, log: Path) -> None:
        words = dockerfile.exec_form(image.last, "ENTRYPOINT") + dockerfile.exec_form(image.last, "CMD")
        self._image = image
        self._log = log
        command = [str(image.root / "opt/edgecache/bin" / words[0]), *words[1:]]
        with log.open("w") as stderr:
            self.process = subprocess.Popen(command, env=image.environment(), cwd=image.root / "data", stderr=stderr)

    def ports(self) -> tuple[int, int]:
        """Of traffic and admin, from the log."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until and self.process.poll() is None:
            if found := re.search(r"on <Listener \S+:(\d+)>, admin on <Listener \S+:(\d+)>", self._log.read_text()):
                return int(found[1]), int(found[2])
            time.sleep(0.1)
        raise AssertionError(self._log.read_text())

    def logged(self) -> list[str]:
        """The messages; the log is JSON, one object a line."""
        return [json.loads(line)["message"] for line in self._log.read_text().splitlines() if line]

    def health(self, admin: int) -> subprocess.CompletedProcess[str]:
        """The image's HEALTHCHECK."""
        words = [self._image.build.place(word) for word in dockerfile.exec_form(self._image.last, "HEALTHCHECK")]
        environment = {**self._image.environment(), "EDGECACHE_LISTEN_ADMIN": f"0.0.0.0:{admin}"}
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=DEADLINE)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(DEADLINE)


@pytest.fixture(scope="module")
def container(installed: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    running = Container(installed, tmp_path_factory.mktemp("container") / "log")
    try:
        yield running
    finally:
        running.stop()


def wait_healthy(container: Container, admin: int) -> None:
    until = time.monotonic() + DEADLINE
    while (checked := container.health(admin)).returncode != 0:
        assert time.monotonic() < until, checked.stderr
        time.sleep(0.1)


def asked(traffic: int, question: str) -> tuple[int, Any]:
    """Status and answer of the local model, for somebody with some credential."""
    body = {"model": "local", "messages": [{"role": "user", "content": question}]}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", traffic, timeout=DEADLINE)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": "Bearer anybody"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_a_container_answers_is_healthy_and_stops_when_told(container: Container) -> None:
    traffic, admin = container.ports()
    wait_healthy(container, admin)
    status, answer = asked(traffic, "What is the capital of France?")
    assert status == 200, answer
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert container.stop() == 0
    assert container.health(admin).returncode == 1
    assert "stopping; streams have 30 s" in container.logged()
