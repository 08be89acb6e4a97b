"""How long an answer may be served, from what came with it.

`CDN-Cache-Control` (RFC 9213) is asked first, then `Surrogate-Control`, then, where the route says so, `Cache-Control`
(RFC 9111). Providers send `no-cache` on every stream, so theirs is not asked otherwise.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

_FORBIDDING = ("no-store", "private", "no-cache")
MAX_TTL = 10 * 365 * 86_400

_STRING = r'"(?:[^"\\]|\\.)*+"'
_ITEM = rf"(?:{_STRING}|[^\s\",;()]++)"
_KEY = r"[a-z*][a-z0-9_.*-]*+"
_PARAMETERS = rf"(?:; *{_KEY}(?:={_ITEM})?)*+"
_MEMBER = rf"{_KEY}(?:=(?:{_ITEM}|\((?: *+{_ITEM}{_PARAMETERS})*+ *\)))?{_PARAMETERS}"
_DICTIONARY = re.compile(rf"[ \t]*{_MEMBER}(?:[ \t]*,[ \t]*{_MEMBER})*+[ \t]*")
_PARTS = re.compile(r'(?:[^",]++|"(?:[^"\\]|\\.)*+"?)++')
_BEFORE_PARAMETERS = re.compile(rf'(?:[^";]++|{_STRING})*+')


class Lifetime(msgspec.Struct, frozen=True):
    """`ttl` in seconds; `forbidden` says who forbade storing, None where nobody did."""

    ttl: float
    forbidden: str | None = None


def lifetime(headers: Mapping[str, str], *, default: float, provider_cache_control: bool) -> Lifetime:
    """`headers` are looked up by lower-case name."""
    readers: dict[str, Callable[[str], dict[str, str]]] = {
        "cdn-cache-control": _dictionary,
        "surrogate-control": _surrogate_control,
    }
    if provider_cache_control:
        readers["cache-control"] = parse_directives
    for name, read in readers.items():
        if directives := read(headers.get(name, "")):
            return _lifetime(name, headers[name], directives, default)
    return Lifetime(default)


def _lifetime(name: str, value: str, directives: Mapping[str, str], default: float) -> Lifetime:
    for directive in _FORBIDDING:
        if directive in directives:
            return Lifetime(0, f"{name}: {directive}")
    age = directives.get("s-maxage", directives.get("max-age"))
    if age is None:
        return Lifetime(default)
    # RFC 9111 section 4.2.1: an invalid max-age is best taken as stale
    ttl = float(min(int(age), MAX_TTL)) if age.isascii() and age.isdigit() and len(age) < 20 else 0.0
    return Lifetime(ttl) if ttl else Lifetime(0, f"{name}: {value[:80]}")


def parse_directives(value: str) -> dict[str, str]:
    """RFC 9111 section 5.2: names in lower case, quotes taken off; the first of a repeated directive counts."""
    found: dict[str, str] = {}
    for part in _PARTS.findall(value):
        name, _, argument = part.strip().partition("=")
        if name:
            found.setdefault(name.strip().lower(), argument.strip().strip('"'))
    return found


def _dictionary(value: str) -> dict[str, str]:
    """RFC 9213 section 2.1: a Structured Fields dictionary (RFC 9651); one that is not is as if it were not there."""
    found: dict[str, str] = {}
    for part in _PARTS.findall(value) if _DICTIONARY.fullmatch(value) else ():
        name, _, argument = _before_parameters(part).partition("=")
        found[name] = argument.strip('"')
    return {name: argument for name, argument in found.items() if argument != "?0"}


def _surrogate_control(value: str) -> dict[str, str]:
    """Edge Architecture (W3C note) section 2.3: `max-age=fresh+stale`; what names a surrogate is for that one."""
    ours = [part for part in _PARTS.findall(value) if _before_parameters(part) == part.strip()]
    return {name: argument.partition("+")[0] for name, argument in parse_directives(",".join(ours)).items()}


def _before_parameters(part: str) -> str:
    found = _BEFORE_PARAMETERS.match(part)
    return found[0].strip() if found else ""
