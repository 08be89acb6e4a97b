"""What RFC 9111 needs to know of a stored response, besides its header fields and its bytes."""

import msgspec

Names = tuple[str, ...]
"""Lower-case names of request header fields, sorted."""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times are Unix time, ages and lifetimes seconds.

    `asked_at` and `answered_at` are the request's and the response's time; `initial_age` is the corrected initial age
    (RFC 9111 section 4.2.3), `lifetime` the freshness lifetime (section 4.2.1), 0 where every use is to be validated.
    `nominated` are the fields that Vary named, with the values of the request that brought this (section 4.1); None
    for a field that it did not have. `variants`, where there are any, make this no response but a sign post: the sets
    of names that responses of this URL vary by, the newest first.
    """

    status: int = 200
    asked_at: float = 0
    answered_at: float = 0
    initial_age: float = 0
    lifetime: float = 0
    no_cache: bool = False
    nominated: tuple[tuple[str, str | None], ...] = ()
    variants: tuple[Names, ...] = ()
