"""One provider as the settings name it."""

import re
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

VERSION_PREFIX: Final = "/v1"
NOT_IN_A_URL: Final = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
"""What would end a request line early, or is not UTF-8 (lone surrogates)."""

KeyStyle = Literal["bearer", "x-api-key", "api-key"]
ANTHROPIC: Final = ("anthropic.messages",)
"""What a provider speaks whose keys go as `x-api-key`."""


class Timers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits in seconds.

    `connect`: name, TCP, proxy and TLS, and the wait for a free connection. `first_byte`: from then on to the end of
    the head (for a streamed request body, from its end on). `between_chunks`: of the answer's body; time in which
    the caller does not read does not count. `total`: from the start of the request, with all that was asked before, to
    the end of the body.
    """

    connect: float = 10.0
    first_byte: float = 600.0
    between_chunks: float = 300.0
    total: float = 1_800.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"timer {name} must be more than 0 seconds")


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider that can be asked.

    `api_key` replaces the caller's credentials in calls that ask for it, sent as `key_style` says (None: as a provider
    of its dialects wants it); else those go on, to targets of the same `realm` only. Of several targets those of the
    lowest `order` come first, chosen by `weight` within an order. `ca_file` (PEM) is trusted besides the system's
    authorities. `connections` bounds the open ones, 0 for no bound; an idle one is kept `keepalive` seconds, which
    should be less than the provider keeps it. `models` are its names for the models that are asked for, `speaks` the
    dialects it understands, () for whatever it is sent. Not more than `concurrency` requests are under way there, 0 for
    no limit; one more waits up to `wait` seconds. It is asked last for `cooldown` seconds when it could not be reached,
    and while `health`, a path asked every `health_interval` seconds, does not answer well.
    """

    name: str
    base_url: str
    api_key: str | None = None
    key_style: KeyStyle | None = None
    order: int = 0
    weight: float = 1.0
    timers: Timers = Timers()
    ca_file: str | None = None
    connections: int = 0
    keepalive: float = 4.0
    models: dict[str, str] = {}
    speaks: tuple[str, ...] = ()
    concurrency: int = 0
    wait: float = 1.0
    cooldown: float = 5.0
    health: str = ""
    health_interval: float = 10.0
    realm: str = ""

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ValueError(problem)

    def __repr__(self) -> str:
        key = "its own key" if self.api_key else "the caller's key"
        return f"<Target {self.name}: {self.base_url}, {key}, order {self.order}, weight {self.weight:g}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """What `rich` shows: msgspec's own would show the key."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "api_key"]

    @property
    def secure(self) -> bool:
        """Whether it is asked over TLS."""
        return urlsplit(self.base_url).scheme == "https"

    @property
    def style(self) -> KeyStyle:
        """How its own key goes out."""
        return self.key_style or ("x-api-key" if self.speaks == ANTHROPIC else "bearer")

    @property
    def trust(self) -> str:
        """Callers' credentials that one target of this trust was shown may be shown to the others of it."""
        url = urlsplit(self.base_url)
        return self.realm or f"{url.scheme}://{url.hostname}:{url.port or (443 if self.secure else 80)}"

    def path_for(self, path: str) -> str:
        """The path to ask for: `path` below the base, with `/v1` only once. Nothing in it is encoded or decoded."""
        base = urlsplit(self.base_url).path.rstrip("/")
        if base.endswith(VERSION_PREFIX) and (path == VERSION_PREFIX or path.startswith(VERSION_PREFIX + "/")):
            base = base.removesuffix(VERSION_PREFIX)
        return base + path


def _problem(target: Target) -> str | None:
    """Why a target cannot be used. Never shows the key, nor credentials in a URL."""
    if not target.name:
        return "an upstream needs a name"
    positive = ("weight", "keepalive", "cooldown", "health_interval")
    if wrong := [name for name in positive if not getattr(target, name) > 0]:
        return f"upstream {target.name}: {', '.join(wrong)} must be more than 0"
    if min(target.concurrency, target.connections, target.wait) < 0:
        return f"upstream {target.name}: concurrency, connections and wait must not be less than 0"
    if target.health and not target.health.startswith("/"):
        return f"upstream {target.name}: health must be a path that begins with /"
    if target.api_key is not None and not (target.api_key.isascii() and target.api_key.isprintable()):
        return f"upstream {target.name}: api_key must be printable ASCII"
    return _url_problem(target)


def _url_problem(target: Target) -> str | None:
    try:
        url = urlsplit(target.base_url)
        host, _ = url.hostname, url.port
    except ValueError:
        return f"upstream {target.name}: base_url is not a URL"
    if url.username is not None or url.password is not None:
        return f"upstream {target.name}: base_url must not hold credentials; use api_key"
    if url.scheme not in ("http", "https") or not host or url.query or url.fragment:
        return f"upstream {target.name}: base_url must look like https://api.example.com or http://host:port/prefix"
    if NOT_IN_A_URL.search(target.base_url):
        return f"upstream {target.name}: base_url must not hold blanks or control characters"
    return None
