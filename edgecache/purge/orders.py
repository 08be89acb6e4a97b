"""What an owner can ask to be purged, as tags, with every reason why it cannot be."""

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import unquote, unquote_to_bytes

from edgecache.core.entry import Scope
from edgecache.core.tags import EVERYTHING, MAX_KEY_BYTES, MAX_KEYS_PER_PURGE, Kind, Tag, fits, keys
from edgecache.errors import BadRequest

LONGEST_URL = 1_024
"""Bytes of the longest path that stands in a tag as it is."""
_OF_DOCUMENTS = "document:"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_QUOTED_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*%3a(?:%2f|/){2}", re.IGNORECASE)


def by_keys(values: Sequence[str]) -> tuple[Tag, ...]:
    """1 to 256 surrogate keys of 1 to 1,024 bytes each."""
    if not values:
        raise BadRequest("No surrogate keys given: name 1 to 256 of them.")
    if len(values) > MAX_KEYS_PER_PURGE:
        raise BadRequest(f"{len(values)} surrogate keys given, at most {MAX_KEYS_PER_PURGE} go into one purge.")
    for value in values:
        if not fits(value):
            length = len(value.encode(errors="surrogatepass"))
            raise BadRequest(f"A surrogate key has 1 to {MAX_KEY_BYTES} bytes, this one {length}: {value[:40]!r}")
    return keys(values)


def by_id(value: str) -> tuple[Tag, ...]:
    """One entry, by the id that its answers carry."""
    if len(value) != 32 or value.strip("0123456789abcdef"):
        raise BadRequest(f"An entry's id is 32 hexadecimal digits, as in X-Edgecache-Id; this is not: {value[:40]!r}")
    return (Tag(Kind.ID, value),)


def by_path(path: str) -> tuple[Tag, ...]:
    """Every answer of a path, as it stands in a request."""
    return (url_tag(path),)


def by_url(target: str) -> tuple[Tag, ...]:
    """Every answer of a path. `target` is host and path or a URL, as it is or quoted as a whole (as Fastly's clients
    send it: then it has no slash of its own), or a path.
    """
    if not target:
        raise BadRequest("Name what to purge: host and path, or a URL.")
    whole = unquote(target) if "/" not in target or _QUOTED_SCHEME.match(target) else target
    rest = _SCHEME.sub("", whole, count=1) if _SCHEME.match(whole) else whole
    return by_path("/" + rest.partition("/")[2])


def by_name(kind: Kind, name: str) -> tuple[Tag, ...]:
    """Every answer of a route or a model."""
    if not fits(name):
        raise BadRequest(f"Name the {kind}, in 1 to {MAX_KEY_BYTES} bytes.")
    return (Tag(kind, name),)


def by_user(user: str, secret: bytes) -> tuple[Tag, ...]:
    """Every answer that was filled for this person, as their application names them."""
    if not user:
        raise BadRequest("Name the user as the requests did: in `user`, `safety_identifier` or `metadata.user_id`.")
    return (user_tag(user, secret),)


def user_tag(user: str, secret: bytes) -> Tag:
    """Who an answer was filled for: BLAKE2b keyed with the deployment's secret, so that the name is nowhere kept."""
    key = secret if len(secret) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(secret).digest()
    name = user.encode(errors="surrogatepass")
    return Tag(Kind.USER, hashlib.blake2b(name, digest_size=16, key=key, person=b"user").hexdigest())


def url_tag(path: str) -> Tag:
    """The tag of all answers of a path, however it is percent-encoded. What is not UTF-8 is all the same. Of a long one
    it is a digest.
    """
    plain = unquote_to_bytes(path.partition("?")[0].encode(errors="surrogateescape"))
    if len(plain) > LONGEST_URL:
        return Tag(Kind.URL, f"blake2b:{hashlib.blake2b(plain, digest_size=32).hexdigest()}")
    return Tag(Kind.URL, plain.decode(errors="replace"))


def document_tag(path: str) -> Tag:
    """Of the documents of a path, and what was made from them, alone: what a request may invalidate that changed the
    path. Answers to questions that were asked there do not carry it, nor can an owner name it.
    """
    return Tag(Kind.URL, _OF_DOCUMENTS + url_tag(path).value)


def everything() -> tuple[Tag, ...]:
    return (EVERYTHING,)


def intrinsic(*, scope: Scope, route: str, model: str, path: str) -> tuple[Tag, ...]:
    """The tags of every answer to a request, by our own knowledge of it; its entry's id comes to them."""
    return (EVERYTHING, Tag(Kind.SCOPE, scope), Tag(Kind.ROUTE, route), Tag(Kind.MODEL, model), url_tag(path))
