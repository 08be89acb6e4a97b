"""The HTTP caching tests of `http-cache-tests` (github.com/http-tests/cache-tests) against a route of mode `http`.

`python -m bench cache_tests` needs node and npm; the package is fetched once, pinned. What each test comes to is
compared with `cache_tests_expected.json`; `python -m bench.cache_tests` writes that file anew.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from bench.figures import Figure, figure
from bench.node import free_port, get, node
from edgecache.weights import cache_folder

VERSION = "0.4.5"
INTEGRITY = "sha512-DjuwN9nUZXLTW+wav1LRESCZNVxl8SshwOy4z1pxuWbWt5/ay6sM9QQ1lebBaDO6P1IMBoK6mdf+PuVP/QNL8A=="
EXPECTED = Path(__file__).with_name("cache_tests_expected.json")
GOAL = 130
POLICY = '[[route]]\nname = "pages"\npath = "/*"\nmode = "http"\nstale_if_error = "1m"\n'
"""Stale answers where the origin fails: without them the tests of who forbids it count as not run."""
RUN_S = 300

Results = dict[str, dict[str, str]]
"""Kind (`required`, `optimal`, `check`) -> id -> `pass`, `fail`, or why it says nothing (`setup`, `dependency`...)."""


class _Found(msgspec.Struct):
    kind: str
    result: str
    why: str


def measure(repeats: int) -> list[Figure]:
    """How many of the required tests pass. What differs from what is expected goes to standard error."""
    folder = _package()
    runs = [_run(folder) for _ in range(repeats)]
    for number, found in enumerate(runs, 1):
        for line in differences(_by_kind(found)):
            print(f"bench cache_tests, run {number}: {line}", file=sys.stderr)
    counts = [_count(_by_kind(found)) for found in runs]
    of = len(_by_kind(runs[0])["required"])
    return [figure("cache_tests_required", counts, f"of {of}", f">= {GOAL}")]


def differences(results: Results) -> list[str]:
    """A line for each test that came out otherwise than expected."""
    expected = msgspec.json.decode(EXPECTED.read_bytes(), type=Results)
    names = {(kind, name) for some in (expected, results) for kind, tests in some.items() for name in tests}
    seen = ((kind, name, expected.get(kind, {}).get(name), results.get(kind, {}).get(name)) for kind, name in names)
    return sorted(f"{kind} {name}: {now}, expected {then}" for kind, name, then, now in seen if now != then)


def _count(results: Results) -> int:
    return sum(result == "pass" for result in results["required"].values())


def _by_kind(found: Mapping[str, _Found]) -> Results:
    kinds = sorted({one.kind for one in found.values()})
    return {
        kind: {name: one.result for name, one in sorted(found.items()) if one.kind == kind} for kind in kinds
    }  # fmt: skip


def _run(folder: Path) -> dict[str, _Found]:
    with _origin(folder) as url, node(POLICY, upstream=url) as ours:
        runner = Path(__file__).with_suffix(".mjs")
        command = ["node", "--no-warnings", str(runner), str(folder), f"http://127.0.0.1:{ours.port}"]
        done = subprocess.run(command, capture_output=True, timeout=RUN_S, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return msgspec.json.decode(done.stdout, type=dict[str, _Found])


@contextlib.contextmanager
def _origin(folder: Path) -> Iterator[str]:
    """The package's own server, which answers as each test says."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        settings = {"protocol": "http", "port": str(port), "pidfile": str(Path(home) / "pid")}
        child = subprocess.Popen(
            ["node", "--no-warnings", str(Path(__file__).with_name("cache_tests_origin.mjs")), str(folder)],
            env={**os.environ, **{f"npm_config_{name}": value for name, value in settings.items()}},
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait(10)


def _wait(port: int, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            get(port, "/index.html")
            return
        time.sleep(0.02)
    raise TimeoutError(f"no origin on port {port}")


def _package() -> Path:
    """Where it is; fetched by npm the first time. Raises FileNotFoundError without npm."""
    home = cache_folder() / f"http-cache-tests-{VERSION}"
    folder = home / "node_modules" / "http-cache-tests"
    if not (folder / "package.json").exists():
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(home)]
        subprocess.run([*command, f"http-cache-tests@{VERSION}"], check=True, stdout=subprocess.DEVNULL)
    lock = msgspec.json.decode((home / "node_modules" / ".package-lock.json").read_bytes())
    if lock["packages"]["node_modules/http-cache-tests"]["integrity"] != INTEGRITY:
        raise RuntimeError(f"{folder} is not the package this benchmark was made for")
    return folder


if __name__ == "__main__":
    found = _by_kind(_run(_package()))
    EXPECTED.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    print(f"{_count(found)} of {len(found['required'])} required tests pass")
