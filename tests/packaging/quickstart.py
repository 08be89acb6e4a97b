"""The README's quick start: its commands with the output shown under each, and what is stable in such output.

python tests/packaging/quickstart.py      runs them against `make serve` and prints what really comes out
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).parents[2] / "README.md"
HEADING = "## Quick start"
NOT_RUN = ("git ", "cd ", "make ")
"""Beginnings of commands that make the node which the others ask."""


class Shown(NamedTuple):
    command: str
    output: tuple[str, ...]


def shown() -> list[Shown]:
    """Every `$ command` of the section's console blocks. A line that begins with `> ` goes on with the command."""
    section = README.read_text().split(HEADING, 1)[1].split("\n## ", 1)[0]
    found: list[Shown] = []
    for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *rest = part.rstrip("\n").split("\n")
            more = [line for line in rest if line.startswith("> ") or line == ">"]
            command = "\n".join([first, *(line[2:] for line in more)])
            found.append(Shown(command, tuple(rest[len(more) :])))
    return found


def to_run() -> list[Shown]:
    """Those that ask a running node."""
    return [step for step in shown() if not step.command.startswith(NOT_RUN)]


def outputs(commands: list[str], environment: dict[str, str] | None = None) -> list[list[str]]:
    """What each prints, in one shell, one after the other."""
    mark = "=====next====="
    script = f"\necho; echo {mark}\n".join(commands)
    done = subprocess.run(
        ["bash", "-e"], input=script, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return [part.replace("\r", "").strip("\n").split("\n") for part in done.stdout.split(mark + "\n")]


UNSTABLE = (
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"^Date: .*", "Date"),
    (r"^X-Served-By: .*", "X-Served-By"),
    (r"^(Age|Content-Length): \d+", r"\1"),
    (r"ttl=\d+", "ttl"),
    (r'"created":\d+', '"created"'),
    (r"^\d+\.\d+ s$", "seconds"),
    (r"^1 of 1 nodes, \d+ ms$", "nodes, milliseconds"),
)


def stable(line: str) -> str:
    """Without ids, times and names of machines."""
    for pattern, name in UNSTABLE:
        line = re.sub(pattern, name, line)
    return line.rstrip()


def agrees(real: list[str], written: tuple[str, ...]) -> bool:
    """Whether the output is what is written; a line `...` there stands for any lines."""
    pattern = "\n".join("(?:.*\n)*?.*" if line == "..." else re.escape(stable(line)) for line in written)
    return re.fullmatch(pattern, "\n".join(map(stable, real))) is not None


if __name__ == "__main__":
    steps = to_run()
    for step, lines in zip(steps, outputs([step.command for step in steps]), strict=True):
        sys.stdout.write("\n".join([f"$ {step.command}", *lines, ""]))
