"""What the settings describe, made: the storage, the upstreams, the administrator's token."""

import logging
import os
import secrets
import time
from pathlib import Path

from edgecache.account.tokens import PREFIX
from edgecache.errors import InvalidSettings
from edgecache.settings import Settings, UpstreamSettings
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.upstream.target import Target, Timers


def monotonic() -> float:
    """Seconds, for leases. Runs on while the machine sleeps, where the system has such a clock: a node that was asleep
    has missed purges.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


TOKEN_FILE = "admin-token"

_log = logging.getLogger("edgecache")


def storage_of(settings: Settings, node: str) -> SqliteStorage | RedisStorage:
    if settings.store.url:
        return RedisStorage(
            settings.store.url, settings.store.prefix, node=node, lease=float(settings.store.lease), monotonic=monotonic
        )
    return SqliteStorage(settings.folder / "edgecache.db")


def target_of(upstream: UpstreamSettings) -> Target:
    """Raises InvalidSettings for what cannot be one."""
    try:
        return _target(upstream)
    except ValueError as error:
        raise InvalidSettings([str(error)]) from None


def _target(upstream: UpstreamSettings) -> Target:
    return Target(
        name=upstream.name,
        base_url=upstream.url,
        api_key=upstream.key or None,
        key_style=upstream.key_style or None,
        order=upstream.order,
        weight=upstream.weight,
        ca_file=upstream.ca_file or None,
        timers=Timers(
            connect=upstream.connect,
            first_byte=upstream.first_byte,
            between_chunks=upstream.between_chunks,
            total=upstream.total,
        ),
        keepalive=upstream.keepalive,
        models=upstream.models,
        speaks=upstream.speaks,
        concurrency=upstream.concurrency,
        wait=upstream.wait,
        cooldown=upstream.cooldown,
        health=upstream.health,
        health_interval=upstream.health_interval,
        realm=upstream.realm,
    )


def admin_token(folder: Path) -> str:
    """Made at the first start, printed once, kept in a file that only its owner reads. The file takes its name when
    it is whole, so that whatever ends the start leaves either none or a good one.
    """
    path = folder / TOKEN_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return path.read_text().strip()
        token = PREFIX + secrets.token_hex(32)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
        part.rename(path)
    except OSError as error:
        raise InvalidSettings([f"data_folder: {error.filename}: {error.strerror}"]) from None
    _log.warning("admin token, shown this once and kept in %s: %s", path, token)
    return token
