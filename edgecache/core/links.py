"""WebSockets of the providers behind this node: ports of what is upgraded, and of who upgrades."""

from typing import Protocol

import msgspec

from edgecache.core.ports import Call, Room


class Link(Protocol):
    """One end of an upgraded connection, as bytes."""

    async def read(self) -> bytes:
        """What came next; b"" when the peer has gone."""

    def write(self, content: bytes) -> None:
        """To be sent; dropped where the peer has gone."""

    async def drain(self) -> None:
        """Returns when there is room for more."""

    def close(self) -> None:
        """After what was written. Safe twice."""

    def abort(self) -> None:
        """At once."""


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream's answer to a WebSocket handshake: `link` where it took it (status 101), else a `body`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    link: Link | None = None


class Upgrades(Room, Protocol):
    """WebSockets of the providers behind this node."""

    async def connect(self, call: Call) -> Handshake:
        """The first upstream's answer that can be reached. Its link must be closed.

        Raises:
            NoUpstream, UpstreamUnreachable, UpstreamBroken, UpstreamTimeout
        """
