"""A Dockerfile read and its stages run without Docker: every RUN in a shell, with absolute paths moved below a folder.

Only what the project's own file uses: ARG before FROM, COPY of files and from stages, ENV, RUN, WORKDIR. What needs an
engine (base image, user, ownership, layers) is not shown by it, except that layers keep times in whole seconds. What
pip fetched before is not fetched again.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

OWN = ("/opt/edgecache", "/source", "/wheels", "/models", "/empty", "/prepared", "/data", "/policies")
"""Absolute paths that the file makes; all others are the base image's."""


class Step(NamedTuple):
    keyword: str
    rest: str


class Stage(NamedTuple):
    name: str
    base: str
    steps: tuple[Step, ...]


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The defaults of the ARGs before the first FROM, and the stages."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "ARG":
            name, _, default = rest.partition("=")
            arguments[name] = default
        elif keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(name, base, ()))
        else:
            stages[-1] = stages[-1]._replace(steps=(*stages[-1].steps, Step(keyword, rest.strip())))
    return arguments, stages


def environment(stage: Stage) -> dict[str, str]:
    """What its ENV steps set."""
    pairs = [word for step in stage.steps if step.keyword == "ENV" for word in shlex.split(step.rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def exec_form(stage: Stage, keyword: str) -> list[str]:
    """The JSON array of ENTRYPOINT, CMD or HEALTHCHECK."""
    rest = next(step.rest for step in stage.steps if step.keyword == keyword)
    words: list[str] = json.loads(rest[rest.index("[") :])
    return words


class Build:
    """Runs stages below `root`. All of them share it, so that COPY --from has nothing to do, except to
    cut times to whole seconds, as a layer does.
    """

    def __init__(self, stages: list[Stage], arguments: dict[str, str], context: Path, root: Path, python: str) -> None:
        self._stages = {stage.name: stage for stage in stages}
        self._arguments = arguments
        self._context = context
        self._root = root
        self._python = python

    def place(self, text: str) -> str:
        """With the paths that the file makes moved below the root."""
        own = "|".join(map(re.escape, OWN))
        return re.sub(rf"(?<![\w./-])({own})(?![\w-])", lambda found: f"{self._root}{found[1]}", text)

    def run(self, stage: Stage) -> None:
        """The stages it is made of first."""
        base = self._stages.get(self._filled(stage.base))
        if base is not None:
            self.run(base)
        folder = self._root
        for step in stage.steps:
            if step.keyword == "WORKDIR":
                folder = Path(self.place(step.rest))
                folder.mkdir(parents=True, exist_ok=True)
            elif step.keyword == "COPY":
                self._copy(shlex.split(step.rest), folder)
            elif step.keyword == "RUN":
                self._shell(step.rest, environment(stage), folder)

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: self._arguments[found[1]], text)

    def _copy(self, words: list[str], folder: Path) -> None:
        options = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        if "from" in options:
            self._copy_layer(Path(self.place(sources[0])), Path(self.place(target)))
            return
        for source in sources:
            self._copy_context(self._context / source, folder, self.place(target))

    def _copy_layer(self, source: Path, target: Path) -> None:
        if source != target:
            shutil.copytree(source, target)
        for path in target.rglob("*"):
            if path.is_file() and not path.is_symlink():
                seconds = int(path.stat().st_mtime)
                os.utime(path, (seconds, seconds))

    def _copy_context(self, source: Path, folder: Path, target: str) -> None:
        if source.is_dir():
            shutil.copytree(source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / target)

    def _shell(self, command: str, variables: dict[str, str], folder: Path) -> None:
        moved = re.sub(r"(?<![\w/.-])python(?= )", self._python, self.place(command))
        settings = {name: self.place(value) for name, value in variables.items() if name != "PIP_NO_CACHE_DIR"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGECACHE_", "VIRTUAL_"))}
        done = subprocess.run(
            ["sh", "-ec", moved], cwd=folder, env={**kept, **settings}, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{moved}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
