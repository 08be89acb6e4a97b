"""What RFC 9111 needs to know of a stored response, besides its header fields and its bytes."""

import msgspec

Names = tuple[str, ...]
"""Lower-case names of request header fields, sorted, each once."""
Nominated = tuple[tuple[str, bytes | None], ...]
"""Request header fields by name, with their values, normalised; None for one that the request did not have. They go
into keys, which are keyed digests, and are nowhere kept: they may be credentials.
"""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """With `names` it is no response but a sign post: the fields of requests that responses of this URL vary by (RFC
    9111 section 4.1), and that its requests are to be told apart by.

    Its entry's `stored_at` is the response's time less its corrected initial age (section 4.2.3), so that the time
    since then is its current age; the `ttl` is the freshness lifetime.
    """

    status: int = 200
    names: Names = ()
