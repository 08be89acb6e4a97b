"""What a request for embeddings asks: each of its inputs for itself."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec

from edgecache.core.canonical import Identity, identify
from edgecache.core.entry import Scope
from edgecache.core.policy import Route
from edgecache.core.ports import Call
from edgecache.core.tags import keys
from edgecache.flow.asking import said
from edgecache.flow.tiers import Asked
from edgecache.wire.embeddings import SUFFIX, Batch, Input, asked_as


class Wants(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One request. `identities` are those of its inputs, in their order; none where nothing of it may be cached, as
    `asked.why` says.
    """

    asked: Asked
    batch: Batch
    identities: tuple[Identity, ...]
    call: Call

    @cached_property
    def places(self) -> Mapping[bytes, int]:
        """Where each key stands first; an input that is repeated is asked for once."""
        found: dict[bytes, int] = {}
        for place, identity in enumerate(self.identities):
            found.setdefault(identity.key, place)
        return found

    def inputs(self, keys: Sequence[bytes]) -> list[Input]:
        return [self.batch.inputs[self.places[key]] for key in keys]

    def name(self, key: bytes) -> tuple[Scope, bytes]:
        """Rules do not share flights: another one may ask other upstreams."""
        return self.asked.scope, key + self.asked.route.name.encode()


def settle(
    batch: Batch,
    scope: Scope,
    route: Route,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    claimed: Sequence[str] = (),
    secret: bytes,
) -> tuple[Asked, tuple[Identity, ...]]:
    """What a batch asks, and the identity of each input; none where nothing of it may be cached. `headers` by
    lower-case name, `claimed` are keys that the request names. Takes milliseconds for a large one.

    Raises:
        BadRequest: a header that says how it is to be cached cannot be understood.
    """
    asked = said(batch.request, scope, route, path=path, headers=headers, secret=secret)
    asked = msgspec.structs.replace(asked, tags=tuple(dict.fromkeys((*asked.tags, *keys(claimed)))))
    if asked.why:
        return asked, ()
    question = asked.request.question
    place, rules = path.removesuffix(SUFFIX), route.upstreams
    texts = (msgspec.structs.replace(question, text=asked_as(value)) for value in batch.inputs)
    return asked, tuple(identify(text, scope, headers, query, path=place, rules=rules, secret=secret) for text in texts)
