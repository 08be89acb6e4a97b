"""The rules of the house that can be read off the source: who imports whom, and where foreign libraries live."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgecache

PACKAGE = Path(edgecache.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = ("cache", "decide", "near", "purge", "storage", "embedding", "slm", "upstream", "account", "models")
LEVELS = {"errors": 0, "core": 1, "wire": 2, "settings": 2, **dict.fromkeys(ROOMS, 3)}
FLOW, EDGE, TOP = 4, 5, 6
"""Files beside the rooms that are not named here are part of the flow."""
TOP_FILES = ("app", "wiring", "cli", "commands", "__main__")
HOMES = {
    "aiohttp": {"edge", "upstream", "testing"},
    "faiss": {"cache"},
    "redis": {"storage", "testing"},
    "onnxruntime": {"embedding", "slm"},
}
SPECIAL = {"settings": {"core", "errors"}, "core": {"core", "errors"}, "errors": set(), "testing": {"core", "errors"}}
"""Rooms of which a narrower rule holds than that of the levels."""
WHOLE_NODE = PACKAGE / "testing" / "node.py"
"""The one helper of tests that starts everything, as app does."""


def room(path: Path) -> str:
    """The folder below the package, or the name of a file that stands beside the rooms."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own(name: str) -> str | None:
    """The room of ours that a full name lies in; None for foreign names."""
    parts = name.split(".")
    return parts[1] if parts[0] == "edgecache" and len(parts) > 1 else None


def level(name: str) -> int:
    if name in LEVELS:
        return LEVELS[name]
    return TOP if name in TOP_FILES else EDGE if name == "edge" else FLOW


def broken(path: Path, name: str) -> str | None:
    """Why this import breaks a rule."""
    here, there = room(path), own(name)
    if there is None:
        homes = HOMES.get(name.split(".")[0])
        return f"{name} belongs in {sorted(homes)}" if homes is not None and here not in homes else None
    if there == here or path == WHOLE_NODE:
        return None
    if here in SPECIAL:
        return None if there in SPECIAL[here] else f"{here} imports {there}"
    if there == "testing":
        return f"{here} imports helpers of tests"
    if level(there) == level(here) == LEVELS["cache"]:
        return f"room {here} imports room {there}"
    return f"{here} imports {there}, which is above it" if level(there) > level(here) else None


def test_imports_point_downwards_and_foreign_libraries_stay_in_their_rooms() -> None:
    assert len(FILES) > 20
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {why}"
        for path in FILES
        for line, name in imports(path)
        if (why := broken(path, name)) is not None
    ]
    assert found == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("core/entry.py", "edgecache.wire.sse"),
        ("wire/sse.py", "edgecache.cache.exact"),
        ("cache/exact.py", "edgecache.storage.sqlite"),
        ("cache/exact.py", "edgecache.flow"),
        ("cache/exact.py", "edgecache.testing"),
        ("flow/story.py", "edgecache.edge.proxy"),
        ("settings.py", "edgecache.wire.sse"),
        ("errors.py", "edgecache.core.entry"),
        ("testing/raw.py", "edgecache.cache.exact"),
        ("edge/proxy.py", "edgecache.app"),
        ("flow/story.py", "aiohttp.web"),
        ("storage/sqlite.py", "faiss"),
        ("cache/exact.py", "redis.asyncio"),
        ("decide/gate.py", "onnxruntime"),
    ],
)
def test_what_would_break_a_rule_is_seen(path: str, name: str) -> None:
    assert broken(PACKAGE / path, name) is not None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cache/exact.py", "edgecache.core.entry.Entry"),
        ("edge/proxy.py", "edgecache.flow.Flow"),
        ("app.py", "edgecache.storage.sqlite.Sqlite"),
        ("upstream/pool.py", "aiohttp"),
        ("cache/semantic.py", "faiss"),
        ("core/policy.py", "edgecache.errors.InvalidPolicy"),
        ("testing/node.py", "edgecache.app.App"),
    ],
)
def test_what_keeps_the_rules_is_let_through(path: str, name: str) -> None:
    assert broken(PACKAGE / path, name) is None


def test_core_imports_only_the_standard_library_and_msgspec() -> None:
    allowed = {*sys.stdlib_module_names, "msgspec", "edgecache"}
    impure = {"asyncio", "time", "random", "secrets", "threading", "socket", "os", "subprocess"}
    found = [
        f"{path.name}:{line}: {name}"
        for path in FILES
        if room(path) in ("core", "errors")
        for line, name in imports(path)
        if name.split(".")[0] not in allowed - impure
    ]
    assert found == []


PORTS = ("ports.py", "links.py")


def test_core_and_wire_never_wait() -> None:
    """Protocols in ports.py and links.py say what rooms await; nothing else there is asynchronous."""
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in FILES
        if room(path) in ("core", "wire") and path.name not in PORTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, waiting)
    ]
    assert found == []


@pytest.mark.parametrize("name", PORTS)
def test_ports_hold_no_behaviour(name: str) -> None:
    tree = ast.parse((PACKAGE / "core" / name).read_text())
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert bodies
    assert all(isinstance(statement, ast.Expr | ast.Pass) for body in bodies for statement in body)


def test_no_module_changes_what_it_defines() -> None:
    """Rule of style: no module-level mutable state. Seen are `global`, and a module's own container being changed."""
    changing = {"append", "add", "update", "setdefault", "pop", "clear", "extend", "insert", "remove", "discard"}
    found = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        mine = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and isinstance(node.value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            changed = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in changing:
                changed = node.func.value
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                changed = node.value
            if isinstance(node, ast.Global) or (isinstance(changed, ast.Name) and changed.id in mine):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found == []
