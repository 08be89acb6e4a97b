"""The owner's rules: which requests may be answered from cache, how, and by whom. See docs/policy.md."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated

import msgspec

from edgecache.core.entry import Scope, Source
from edgecache.core.limits import Limit, read_limits
from edgecache.core.patterns import Patterns
from edgecache.core.patterns import compiled as _pattern
from edgecache.core.prices import Prices, read_prices
from edgecache.core.tags import MAX_KEY_BYTES, fits
from edgecache.core.units import Duration, Size, read_table
from edgecache.errors import InvalidPolicy


class Mode(StrEnum):
    """How a route uses the cache. HTTP is for pages and documents (RFC 9111), the others for answers."""

    OFF = "off"
    EXACT = "exact"
    SEMANTIC = "semantic"
    HTTP = "http"


class WhenBlind(StrEnum):
    """What a node that may have missed purges does: nothing from cache, or what it has, and says so."""

    BYPASS = "bypass"
    SERVE_STALE = "serve-stale"


class Invalidate(StrEnum):
    """Whose stored documents go when a request has changed one (RFC 9111 section 4.4): those of the caller's own scope,
    everybody's, or nobody's.
    """

    SCOPE = "scope"
    ALL = "all"
    OFF = "off"


class Control(StrEnum):
    """What a request may say about its own caching. MODE: exact only, not at all, or anew; THRESHOLD: a higher one."""

    MODE = "mode"
    THRESHOLD = "threshold"
    TTL = "ttl"
    KEY = "key"


SPOKEN = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/openai/deployments/*/chat/completions",
    "/openai/deployments/*/completions",
    "/openai/deployments/*/embeddings",
    "/openai/responses",
    "/openai/v1/chat/completions",
    "/openai/v1/embeddings",
    "/openai/v1/responses",
)
"""Where the dialects are spoken that are read here, and what belongs to them; at OpenAI, Anthropic and Azure."""


class Tier(StrEnum):
    """Who is asked when the cache has no answer."""

    LOCAL = "local"
    UPSTREAM = "upstream"


class Route(msgspec.Struct, frozen=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """One rule. `path`, `models` and `scopes` choose it: shell patterns, `*` is anything.

    `ttl` is how long an answer is served, in seconds; `tags` are surrogate keys of every answer; `request_tags` lets
    a request's `Surrogate-Key` add some. `tiers` are asked in order. `sources` are whose stored answers may be served;
    by default those of the route's tiers, and what was pushed. `finish` lets a fill go on that nobody waits for
    any more. `provider_cache_control` obeys a provider's `Cache-Control`. Answers over `max_answer` are not stored.
    For so long after its `ttl` an answer may be served while it is asked for anew, or when that fails (RFC 5861).
    `request_directives` obeys a request's `Cache-Control`. `when_blind` is for a node that is cut off from the log.
    `controls` are what a request's own headers may say, if its scope is one of `controls_from`. `model` is what the
    request is sent for instead of what it names. `agents` is how requests are found whose history holds results of
    tools; those over `max_temperature` are not answered from cache. Stored streams are replayed at `pace` tokens a
    second (0: at once); while a client waits for a stream it gets a comment every `ping` seconds (0: none). After
    `hedge` seconds without an answer (0: never) another upstream is asked too.
    `invalidate` and `forward_headers` are for documents; the latter are fields of a request that its origin is told of
    although nothing says that responses vary by them, and that are therefore part of the key.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    path: str | Patterns = SPOKEN
    models: Patterns = ("*",)
    scopes: Patterns = ("*",)
    mode: Mode = Mode.EXACT
    threshold: Annotated[float, msgspec.Meta(ge=0.5, le=1)] = 0.95
    ttl: Duration = Duration(3_600)
    tags: tuple[str, ...] = ()
    request_tags: bool = False
    tiers: Annotated[tuple[Tier, ...], msgspec.Meta(min_length=1)] = (Tier.UPSTREAM,)
    upstreams: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    finish: bool = False
    provider_cache_control: bool = False
    stale_while_revalidate: Duration = Duration(0)
    stale_if_error: Duration = Duration(0)
    request_directives: bool = True
    when_blind: WhenBlind = WhenBlind.BYPASS
    max_answer: Size = Size(4 << 20)
    controls: tuple[Control, ...] = (Control.MODE, Control.THRESHOLD)
    controls_from: Patterns = ("*",)
    model: str = ""
    agents: Mode = Mode.EXACT
    max_temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    pace: Annotated[float, msgspec.Meta(ge=0)] = 0
    ping: Duration = Duration(15)
    hedge: Duration = Duration(0)
    invalidate: Invalidate = Invalidate.SCOPE
    forward_headers: tuple[str, ...] = ()

    def matches(self, path: str, model: str, scope: Scope) -> bool:
        return bool(self._path.match(path) and self._models.match(model) and self._scopes.match(scope))

    def serves(self, source: Source) -> bool:
        """Whether a stored answer of this source may be served here."""
        return source in (self.sources or self._own_sources)

    def accepts(self, control: Control, scope: Scope) -> bool:
        """Whether a request of this scope may say so itself."""
        return control in self.controls and bool(self._controls_from.match(scope))

    @cached_property
    def told(self) -> tuple[str, ...]:
        """`forward_headers` in lower case, sorted, each once."""
        return tuple(sorted({name.lower() for name in self.forward_headers}))

    @cached_property
    def _own_sources(self) -> frozenset[Source]:
        """A small model's answer must not hide the large one's, so a route without the local tier refuses it."""
        return frozenset({Source.PUSHED, *(Source(tier.value) for tier in self.tiers)})

    @cached_property
    def _path(self) -> re.Pattern[str]:
        return _pattern((self.path,) if isinstance(self.path, str) else self.path)

    @cached_property
    def _controls_from(self) -> re.Pattern[str]:
        return _pattern(self.controls_from)

    @cached_property
    def _models(self) -> re.Pattern[str]:
        return _pattern(self.models)

    @cached_property
    def _scopes(self) -> re.Pattern[str]:
        return _pattern(self.scopes)


class Policy(msgspec.Struct, frozen=True):
    """All rules in force, prices and limits. The first route that matches decides; `digest` names this set of rules."""

    routes: tuple[Route, ...]
    digest: str
    prices: Prices = Prices()
    limits: tuple[Limit, ...] = ()

    def choose(self, path: str, model: str, scope: Scope) -> Route | None:
        """None for a path no rule names: it is passed through."""
        return next((route for route in self.routes if route.matches(path, model, scope)), None)

    def names_path(self, path: str) -> bool:
        return any(route._path.match(path) for route in self.routes)


def parse_policy(files: Mapping[str, bytes], upstreams: tuple[str, ...] | None = None) -> Policy:
    """Rules from TOML files, in order of the files' names. `upstreams` are the configured ones, where known.

    Raises:
        InvalidPolicy: with every problem, each as `file: key: what is wrong`.
    """
    problems: list[str] = []
    written = {name: _read(name, files[name], problems) for name in sorted(files)}
    tables = _tables(written, "route", problems)
    routes = [_route(table, where, problems) for where, table in tables.items()]
    _check_names(tables, upstreams, problems)
    currencies = {
        f"{name}: currency": content["currency"] for name, content in written.items() if "currency" in content
    }
    prices = read_prices(_tables(written, "price", problems), currencies, problems)
    names = [str(table["name"]) for table in tables.values() if isinstance(table, Mapping) and "name" in table]
    limits = read_limits(_tables(written, "limit", problems), names, problems)
    if problems:
        raise InvalidPolicy(problems)
    digest = hashlib.sha256(b"\0".join(name.encode() + b"\0" + files[name] for name in sorted(files))).hexdigest()
    return Policy(tuple(route for route in routes if route is not None), digest[:16], prices, limits)


def _read(name: str, content: bytes, problems: list[str]) -> Mapping[str, object]:
    """One file as it is written."""
    try:
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # tomllib also lets plain ValueErrors of int() through
        problems.append(f"{name}: not TOML: {error}")
        return {}
    problems.extend(
        f"{name}: {key}: unknown key, rules are written as [[route]]; there are [[price]], [[limit]] and currency too"
        for key in table
        if key not in ("route", "price", "limit", "currency")
    )
    return table


def _tables(written: Mapping[str, Mapping[str, object]], kind: str, problems: list[str]) -> dict[str, object]:
    """The tables of one kind in all files, by place."""
    found: dict[str, object] = {}
    for name, content in written.items():
        tables = content.get(kind, [])
        if isinstance(tables, list):
            found |= {f"{name}: {kind}[{number}]": item for number, item in enumerate(tables, 1)}
        else:
            problems.append(f"{name}: {kind}: write [[{kind}]], with two brackets")
    return found


def _route(table: object, where: str, problems: list[str]) -> Route | None:
    route = read_table(table, Route, where, problems)
    problems.extend(
        f"{where}.tags: `{tag[:40]}` is not one surrogate key (no spaces or commas, at most {MAX_KEY_BYTES} bytes)"
        for tag in _strings(table, "tags")
        if re.search(r"[\s,]", tag) or not fits(tag)
    )
    problems.extend(f"{where}.path: `{p}` must begin with /" for p in _paths(table) if not p.startswith("/"))
    return route


def _check_names(tables: Mapping[str, object], upstreams: tuple[str, ...] | None, problems: list[str]) -> None:
    seen: dict[str, str] = {}
    for where, table in tables.items():
        name = table.get("name") if isinstance(table, Mapping) else None
        if isinstance(name, str) and seen.setdefault(name, where) != where:
            problems.append(f"{where}.name: `{name}` is also the name of {seen[name]}")
        unknown = [name for name in _strings(table, "upstreams") if upstreams is not None and name not in upstreams]
        problems.extend(f"{where}.upstreams: there is no upstream `{name}`" for name in unknown)


def _paths(table: object) -> list[str]:
    """One pattern, or a list of them."""
    path = table.get("path") if isinstance(table, Mapping) else None
    return [path] if isinstance(path, str) else _strings(table, "path")


def _strings(table: object, key: str) -> list[str]:
    """The strings of a list in a table that may be wrong elsewhere."""
    listed = table.get(key) if isinstance(table, Mapping) else None
    return [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
