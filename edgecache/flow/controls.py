"""What a request says about its own caching, as far as its route lets it."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from edgecache.core.entry import Scope
from edgecache.core.freshness import MAX_TTL
from edgecache.core.policy import Control, Mode, Route
from edgecache.core.units import Duration, parse_duration
from edgecache.errors import BadRequest

MODE: Final = "x-edgecache-mode"
THRESHOLD: Final = "x-edgecache-threshold"
TTL: Final = "x-edgecache-ttl"
KEY: Final = "x-edgecache-key"
HEADERS: Final = {MODE: Control.MODE, THRESHOLD: Control.THRESHOLD, TTL: Control.TTL, KEY: Control.KEY}
LONGEST_KEY: Final = 256

_MODES = ("exact", "bypass", "refresh")


class Controlled(msgspec.Struct, frozen=True):
    """The route as it is for this request. `refresh`: nothing from cache, and what comes takes the place of what is
    there. `bypass`: nothing from cache, and nothing kept. `key` tells it from other requests that ask the same.
    `ignored` are headers that the route does not accept.
    """

    route: Route
    refresh: bool = False
    bypass: bool = False
    key: str = ""
    ignored: tuple[str, ...] = ()


def controlled(route: Route, headers: Mapping[str, str], scope: Scope) -> Controlled:
    """`headers` by lower-case name.

    Raises:
        BadRequest: an accepted header holds what it may not.
    """
    said = {name: headers[name].strip() for name in HEADERS if name in headers}
    if not said:
        return Controlled(route)
    heard = {name: value for name, value in said.items() if route.accepts(HEADERS[name], scope)}
    mode = _mode(heard[MODE]) if MODE in heard else ""
    return Controlled(
        _changed(route, heard, mode),
        refresh=mode == "refresh",
        bypass=mode == "bypass",
        key=_key(heard[KEY]) if KEY in heard else "",
        ignored=tuple(name for name in said if name not in heard),
    )


def _changed(route: Route, heard: Mapping[str, str], mode: str) -> Route:
    changes: dict[str, object] = {}
    if mode == "exact" and route.mode is Mode.SEMANTIC:
        changes["mode"] = Mode.EXACT
    if TTL in heard:
        changes["ttl"] = _ttl(heard[TTL])
    if THRESHOLD in heard:
        changes["threshold"] = max(route.threshold, _threshold(heard[THRESHOLD]))
    return msgspec.structs.replace(route, **changes) if changes else route


def _mode(value: str) -> str:
    if value.lower() not in _MODES:
        raise _bad("X-Edgecache-Mode", f"one of {', '.join(_MODES)}", value)
    return value.lower()


def _ttl(value: str) -> Duration:
    try:
        ttl = parse_duration(value)
    except ValueError:
        ttl = Duration(0)
    if not 0 < ttl <= MAX_TTL:
        raise _bad("X-Edgecache-TTL", "seconds, or a duration such as 5m, of at most ten years", value)
    return ttl


def _threshold(value: str) -> float:
    try:
        threshold = float(value)
    except ValueError:
        threshold = math.nan
    if not 0 <= threshold <= 1:
        raise _bad("X-Edgecache-Threshold", "a number from 0 to 1", value)
    return threshold


def _key(value: str) -> str:
    if not 0 < len(value) <= LONGEST_KEY or not value.isprintable():
        raise _bad("X-Edgecache-Key", f"1 to {LONGEST_KEY} printable characters", value)
    return value


def _bad(name: str, wanted: str, value: str) -> BadRequest:
    return BadRequest(f"{name}: expected {wanted}, got {value[:40]!r}.", param=name)
