"""Settings: `edgecache.toml`, then `EDGECACHE_*`, read once and frozen. All problems are reported at once."""

import difflib
import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import platformdirs

from edgecache.core.units import Duration, Size, read_table
from edgecache.errors import InvalidSettings

FILE = "edgecache.toml"
PREFIX = "EDGECACHE_"
NOT_SETTINGS = ("EDGECACHE_DATA", "EDGECACHE_MODELS", "EDGECACHE_MODEL_WHEELS", "EDGECACHE_CONFIG", "EDGECACHE_TOKEN")
"""Variables of this name space that others read: tests, the model cache, the command line."""
_SHORTHAND = ("EDGECACHE_UPSTREAM", "EDGECACHE_UPSTREAM_KEY")

_LASTING = ("connect", "first_byte", "between_chunks", "total", "keepalive", "cooldown", "health_interval")
"""Durations of an upstream that cannot be 0."""

_KUBERNETES = re.compile(r"EDGECACHE_(SERVICE_(HOST|PORT(_.*)?)|PORT_\d+_.*|PORT)")
"""What Kubernetes gives every pod beside a Service that is called edgecache."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Spoken = Literal["openai.chat", "openai.responses", "openai.completions", "openai.embeddings", "anthropic.messages"]


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses as host:port; port 0 takes a free one. Certificate and key (PEM files) turn TLS on, on both."""

    traffic: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:8081"
    tls_certificate: str = ""
    tls_key: str = ""


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`url` empty: the embedded store in the data folder; else Redis, one server, Sentinel or a Cluster. `lease`
    is for how long a node that hears nothing of the purge log goes on serving from cache; 0: 2 s, 5 s with replicas.
    """

    url: str = ""
    prefix: str = "edgecache"
    lease: Duration = Duration(0)

    def __repr__(self) -> str:
        return f"<StoreSettings {_without_password(self.url) or 'embedded'} {self.prefix}>"


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One provider. `key` replaces the callers' credential, who then need a token of ours. Lower `order` is asked
    first, `weight` divides the traffic within one order. The four timers are in seconds. The rest is in
    docs/upstream.md.
    """

    name: str
    url: str
    key: str = ""
    key_style: Literal["", "bearer", "x-api-key", "api-key"] = ""
    order: int = 0
    weight: Positive = 1
    connect: Duration = Duration(10)
    first_byte: Duration = Duration(300)
    between_chunks: Duration = Duration(120)
    total: Duration = Duration(1_800)
    keepalive: Duration = Duration(4)
    ca_file: str = ""
    models: dict[str, str] = {}
    speaks: tuple[Spoken, ...] = ()
    concurrency: Count = 0
    wait: Duration = Duration(1)
    cooldown: Duration = Duration(5)
    health: str = ""
    health_interval: Duration = Duration(10)
    realm: str = ""

    def __repr__(self) -> str:
        return f"<UpstreamSettings {self.name} {_without_password(self.url)}{' with a key' if self.key else ''}>"


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The model on this node: a built-in name, a GGUF file or folder, or `hf:owner/name`; empty for none."""

    model: str = "smollm2-135m-instruct"
    rows: Positive = 8
    context: Positive = 2_048
    queue: Positive = 32
    threads: Positive = 2


class EmbeddingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`model` names one for the backend `sentence-transformers`; the built-in backend has its own."""

    backend: Literal["built-in", "sentence-transformers"] = "built-in"
    model: str = ""
    threads: Positive = 1


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is the largest request that is read whole, `bodies` what all such may hold at once; `memory` what answers
    held in memory may cost, `index` what the vectors of their questions may. A caller has `head` to send the head of
    a request, and may pause for `body_idle` in its body and for `write_idle` in taking what is sent. At most
    `websockets` are open, whose messages have at most `websocket_message` bytes and pause for `websocket_idle`.
    """

    body: Size = Size(64 << 20)
    bodies: Size = Size(512 << 20)
    memory: Size = Size(256 << 20)
    index: Size = Size(512 << 20)
    head: Duration = Duration(30)
    body_idle: Duration = Duration(60)
    write_idle: Duration = Duration(60)
    websockets: Positive = 1_024
    websocket_message: Size = Size(64 << 20)
    websocket_idle: Duration = Duration(600)


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    format: Literal["human", "json"] = "human"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an operator can set. `node` names this one in `X-Served-By`; `drain` is how long SIGTERM waits for
    streams; `service` is its id for Fastly's clients, `services` are further ids, each for one scope;
    `anonymous_scope` admits callers without a credential (on loopback they are `local`); `secret` keys all
    digests, and where empty one is made and kept in the store.
    """

    node: str = ""
    data_folder: str = ""
    policies: str = "policies"
    anonymous_scope: str = ""
    service: str = "edgecache"
    services: dict[str, str] = {}
    secret: str = ""
    drain: Duration = Duration(30)
    listen: Listen = Listen()
    store: StoreSettings = StoreSettings()
    local: LocalSettings = LocalSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    upstream: tuple[UpstreamSettings, ...] = ()

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "secret")
        return f"<Settings {' '.join(shown)}>"

    @property
    def folder(self) -> Path:
        return Path(self.data_folder or platformdirs.user_data_dir("edgecache"))

    @property
    def anonymous(self) -> str:
        """The scope of callers without a credential; empty where they are refused."""
        host, _ = address(self.listen.traffic)
        return self.anonymous_scope or ("local" if is_loopback(host) else "")

    @property
    def node_name(self) -> str:
        return self.node or socket.gethostname()


def _without_password(url: str) -> str:
    """Scheme, hosts and path. A password may stand before an `@` or in the query, and hold any of `@?#/` itself."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    shown, *query = re.split("[?#]", rest, maxsplit=1)
    _, at, after = shown.rpartition("@")
    if not at and query and "@" in query[0]:
        return f"{scheme}://..."  # which of both is the host cannot be told
    return f"{scheme}://{'...@' if at else ''}{after}" if scheme else after


def address(text: str) -> tuple[str, int]:
    """`host:port`, `[::1]:port`; raises ValueError."""
    parts = urlsplit(f"//{text}")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"expected host:port, got {text!r}")
    return parts.hostname, parts.port


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Raises InvalidSettings with every problem, each with its key."""
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    table = _file(path, problems)
    _shorthand(table, environment, problems)
    _overlay(table, environment, problems)
    upstreams = table.pop("upstream", [])
    settings = read_table(table, Settings, "settings", problems)
    targets = _upstreams(upstreams, problems)
    _check(table, problems)
    if problems or settings is None:
        raise InvalidSettings([problem.removeprefix("settings.") for problem in problems])
    return msgspec.structs.replace(settings, upstream=targets)


def _file(path: Path | None, problems: list[str]) -> dict[str, Any]:
    chosen = path or Path(FILE)
    if path is None and not chosen.exists():
        return {}
    try:
        return tomllib.loads(chosen.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{chosen}: {error}")
        return {}


def _shorthand(table: dict[str, Any], environment: Mapping[str, str], problems: list[str]) -> None:
    """One provider in one line: `upstream = "https://..."`, or EDGECACHE_UPSTREAM with or without a key; empty for
    none.
    """
    url = environment.get("EDGECACHE_UPSTREAM", table.get("upstream"))
    key = environment.get("EDGECACHE_UPSTREAM_KEY", "")
    if isinstance(url, str):
        table["upstream"] = [{"name": "upstream", "url": url, "key": key}] if url else []
    elif key:
        problems.append(
            "EDGECACHE_UPSTREAM_KEY: goes with EDGECACHE_UPSTREAM; in a file, each [[upstream]] has its key"
        )


def _overlay(table: dict[str, Any], environment: Mapping[str, str], problems: list[str]) -> None:
    """EDGECACHE_NODE, EDGECACHE_LISTEN_TRAFFIC, ...: the path of a key, joined by `_`."""
    places = _variables()
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in (*NOT_SETTINGS, *_SHORTHAND) or _KUBERNETES.fullmatch(name):
            continue
        if name not in places:
            near = difflib.get_close_matches(name, places, n=1)
            problems.append(f"{name}: no setting has this variable" + (f", did you mean {near[0]}?" if near else ""))
            continue
        section, key, numeric = places[name]
        value = environment[name]
        target = table.setdefault(section, {}) if section else table
        if isinstance(target, dict):  # anything else is reported when the file is read
            target[key] = int(value) if numeric and value.isdecimal() else value


def _variables() -> dict[str, tuple[str, str, bool]]:
    found = {}
    for field in msgspec.structs.fields(Settings):
        kind = field.type
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            for inner in msgspec.structs.fields(kind):
                name = f"{PREFIX}{field.name}_{inner.name}".upper()
                found[name] = (field.name, inner.name, inner.type == Positive)
        elif field.name not in ("upstream", "services"):
            found[f"{PREFIX}{field.name}".upper()] = ("", field.name, False)
    return found


def _upstreams(tables: Any, problems: list[str]) -> tuple[UpstreamSettings, ...]:
    if not isinstance(tables, list):
        problems.append("upstream: write [[upstream]], or one URL")
        return ()
    read = [read_table(item, UpstreamSettings, f"upstream[{n}]", problems) for n, item in enumerate(tables, 1)]
    targets = tuple(target for target in read if target is not None)
    names = [target.name for target in targets]
    problems.extend(f"upstream: `{name}` stands twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for target in targets:
        _check_upstream(target, problems)
    return targets


def _check_upstream(target: UpstreamSettings, problems: list[str]) -> None:
    try:
        parts = urlsplit(target.url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        url = _without_password(target.url)
        problems.append(f"upstream `{target.name}`.url: expected http(s)://host, got {url!r}")
    if target.ca_file and not Path(target.ca_file).is_file():
        problems.append(f"upstream `{target.name}`.ca_file: there is no file {target.ca_file}")
    for name in _LASTING:
        if not getattr(target, name) > 0:
            problems.append(f"upstream `{target.name}`.{name}: must be more than 0")
    if target.health and not target.health.startswith("/"):
        problems.append(f"upstream `{target.name}`.health: expected a path that begins with /, got {target.health!r}")


def _check(table: Mapping[str, Any], problems: list[str]) -> None:
    """What the types do not say, of whatever was written, so that it is told with everything else that is wrong."""
    listen = table.get("listen")
    if isinstance(listen, dict):
        _check_listen({key: value for key, value in listen.items() if isinstance(value, str)}, problems)
    secret, policies = table.get("secret"), table.get("policies")
    if isinstance(secret, str) and 0 < len(secret) < 16:
        problems.append("secret: at least 16 characters")
    if isinstance(policies, str) and not Path(policies).is_dir():
        problems.append(f"policies: there is no folder {policies!r}")


def _check_listen(listen: Mapping[str, str], problems: list[str]) -> None:
    for key in ("traffic", "admin"):
        try:
            address(listen.get(key, getattr(Listen(), key)))
        except ValueError as error:
            problems.append(f"listen.{key}: {error}")
    if bool(listen.get("tls_certificate")) != bool(listen.get("tls_key")):
        problems.append("listen: tls_certificate and tls_key are given together, or neither")
    for key in ("tls_certificate", "tls_key"):
        path = listen.get(key)
        if path and not Path(path).is_file():
            problems.append(f"listen.{key}: there is no file {path}")
