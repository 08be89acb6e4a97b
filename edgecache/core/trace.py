"""What happened to a request, as its answer tells it."""

import msgspec

from edgecache.core.entry import Source


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """`id` names the entry an answer came from or would be stored under. For a hit `age` and `ttl` are
    whole seconds, `ttl` below 0 for a stale one, which `served_stale` says of one that was served because asking anew
    failed; else `fwd` says why it was forwarded (RFC 9211 section 2.2) and `fwd_status` with what result.
    `stored` is None where it could not be known yet. `detail` is for people;
    `ignored` are headers of the request that its route does not accept.
    """

    route: str
    id: str | None = None
    source: Source | None = None
    model: str = ""
    hit: bool = False
    age: int = 0
    ttl: int = 0
    fwd: str = ""
    fwd_status: int = 0
    stored: bool | None = None
    collapsed: bool = False
    detail: str = ""
    served_stale: bool = False
    ignored: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For metrics: exact, semantic, stale, collapsed, local, miss, bypass or error."""
        if self.hit or self.served_stale:
            return "semantic" if self.detail.startswith("semantic") else "stale" if self.ttl < 0 else "exact"
        if self.fwd == "bypass":
            return "bypass"
        if self.fwd_status >= 400:
            return "error"
        return "collapsed" if self.collapsed else "local" if self.source is Source.LOCAL else "miss"
