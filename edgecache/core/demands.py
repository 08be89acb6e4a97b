"""What a request demands of the answer it is given: the directives of RFC 9111 section 5.2.1."""

import msgspec


class Demands(msgspec.Struct, frozen=True, kw_only=True):
    """Ages in seconds; `max_stale` is infinite where no number was given. `no_transform` asks for the answer to this
    very request: no answer to the same question in other words.
    """

    no_cache: bool = False
    no_store: bool = False
    no_transform: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    max_stale: float | None = None
    min_fresh: float = 0


NOTHING = Demands()
