"""What an operator would check by hand, checked."""

import asyncio
from pathlib import Path

import msgspec

from edgecache.client import AdminClient, Refused
from edgecache.core.policy import parse_policy
from edgecache.errors import EdgecacheError, InvalidSettings
from edgecache.policy_book import read_policies
from edgecache.settings import Settings, address, is_loopback


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    what: str
    ok: bool
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Nothing here changes anything."""
    running = await asyncio.to_thread(_running, settings)
    return [
        _policy(settings),
        _listen(settings),
        await _store(settings),
        _models(settings),
        _upstreams(settings),
        running,
    ]


def _policy(settings: Settings) -> Finding:
    try:
        policy = parse_policy(read_policies(Path(settings.policies)), tuple(u.name for u in settings.upstream))
    except EdgecacheError as error:
        return Finding("policy", False, str(error))
    return Finding("policy", True, f"{len(policy.routes)} rules, digest {policy.digest}")


def _listen(settings: Settings) -> Finding:
    host, _ = address(settings.listen.traffic)
    admin, _ = address(settings.listen.admin)
    if not settings.listen.tls_certificate and not (is_loopback(host) and is_loopback(admin)):
        return Finding("listen", True, "beyond loopback without TLS: put a TLS proxy in front, or set listen.tls_*")
    return Finding("listen", True, f"traffic {settings.listen.traffic}, admin {settings.listen.admin}")


async def _store(settings: Settings) -> Finding:
    from edgecache.storage.redis import RedisStorage
    from edgecache.storage.sqlite import SqliteStorage

    path = settings.folder / "edgecache.db"
    if not settings.store.url and not path.exists():
        return Finding("store", True, f"none yet; it will be {path}")
    try:
        storage = (
            RedisStorage(settings.store.url, settings.store.prefix)
            if settings.store.url
            else SqliteStorage(path, read_only=True)
        )
    except InvalidSettings as error:
        return Finding("store", False, str(error))
    try:
        await storage.open()
        warnings = storage.warnings if isinstance(storage, RedisStorage) else ()
        said = "".join(f"; {warning}" for warning in warnings)
        return Finding("store", not warnings, f"{storage!r}, {await storage.store.count()} entries{said}")
    except EdgecacheError as error:
        return Finding("store", False, str(error))
    finally:
        await storage.close()


def _models(settings: Settings) -> Finding:
    from edgecache.weights import cache_folder

    cache = cache_folder()
    kept = sorted(path.name for path in cache.iterdir() if path.is_dir()) if cache.is_dir() else []
    return Finding("models", True, f"{', '.join(kept) or 'none yet, the first start fetches them'} in {cache}")


def _upstreams(settings: Settings) -> Finding:
    from edgecache.parts import target_of  # with the libraries of a whole node, which other commands start without

    problems: list[str] = []
    for upstream in settings.upstream:
        try:
            target_of(upstream)
        except InvalidSettings as error:
            problems += error.problems
    if problems:
        return Finding("upstreams", False, "; ".join(problems))
    named = [f"{u.name} {u.url} ({'own key' if u.key else 'callers own key'})" for u in settings.upstream]
    return Finding("upstreams", True, "; ".join(named) or "none: only the local model answers")


def _running(settings: Settings) -> Finding:
    client = AdminClient(*address(settings.listen.admin), token="", certificate=settings.listen.tls_certificate)
    try:
        status, content = client.fetch("GET", "/readyz")
    except Refused as error:
        return Finding("node", False, str(error))
    return Finding("node", status == 200, content.decode(errors="replace"))
