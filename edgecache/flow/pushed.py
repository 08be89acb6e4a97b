"""What is to be stored of answers that an owner pushes, or why it cannot be. Pure: it runs in a worker thread."""

from collections.abc import Callable, Sequence

import msgspec

from edgecache.core.canonical import Identity
from edgecache.core.entry import MAX_TAGS, Scope, Source
from edgecache.core.policy import Mode, Policy
from edgecache.core.tags import Kind, Tag, keys
from edgecache.decide import embeddable
from edgecache.errors import BadRequest, Forbidden, RequestError
from edgecache.flow.asking import settle
from edgecache.flow.tiers import Asked
from edgecache.wire import pushed as wire
from edgecache.wire.bodies import decode
from edgecache.wire.chat import CHAT
from edgecache.wire.dialect import Summary


class Rights(msgspec.Struct, frozen=True):
    """Of the one who pushes. `scope` is whose answers they are if nothing else is said; `scope_of` is what a tenant's
    name means; `may_push` and `may_tag` say whether it may push into a scope, and answers with a key. With `limited`
    every answer needs a key that may be touched.
    """

    who: str
    scope: Scope
    scope_of: Callable[[str], Scope]
    may_push: Callable[[Scope], bool]
    may_tag: Callable[[str], bool]
    limited: bool


class Ready(msgspec.Struct, frozen=True):
    """One answer that can be stored. `at` is its place in the call, `name` what its owner calls it; `near` is whether
    it may be found in other words.
    """

    at: int
    name: str | int | None
    asked: Asked
    identity: Identity
    tags: tuple[Tag, ...]
    ttl: float
    body: bytes
    near: bool

    @property
    def id(self) -> str:
        return self.identity.key.hex()


class Bad(msgspec.Struct, frozen=True):
    """One answer that cannot."""

    at: int
    name: str | int | None
    error: RequestError


def items(content: bytes) -> Sequence[object]:
    """The answers of one call: an object, or `{"answers": [...]}`.

    Raises:
        BadRequest: it is something else, or has none, or more than `wire.MOST`.
    """
    document, problem = decode(content)
    if problem is not None:
        raise BadRequest(f"The JSON cannot be used: {problem}.")
    if not isinstance(document, dict):
        raise BadRequest('Send one answer as an object, or {"answers": [...]}.')
    if "answers" not in document:
        return [document]
    found = document["answers"]
    if len(document) > 1 or not isinstance(found, list) or not 0 < len(found) <= wire.MOST:
        raise BadRequest(f'{{"answers": [...]}} has 1 to {wire.MOST} answers, and nothing beside them.')
    return found


class Reader:
    """`secret` is the deployment's; `now` is Unix time in seconds, `new_id` makes 32 hexadecimal digits."""

    def __init__(self, policy: Policy, rights: Rights, *, secret: bytes, now: float, new_id: Callable[[], str]) -> None:
        self._policy = policy
        self._rights = rights
        self._secret = secret
        self._now = now
        self._new_id = new_id

    def __repr__(self) -> str:
        return f"<Reader {self._policy.digest} for {self._rights.who!r}>"

    def read(self, found: Sequence[object]) -> list[Ready | Bad]:
        """All of them, in their order."""
        return [self._one(at, item) for at, item in enumerate(found)]

    def _one(self, at: int, item: object) -> Ready | Bad:
        name = item.get("id") if isinstance(item, dict) else None
        name = name if isinstance(name, str | int) else None
        try:
            return self._ready(at, name, wire.read(item))
        except RequestError as error:
            return Bad(at, name, error)

    def _ready(self, at: int, name: str | int | None, pushed: wire.Pushed) -> Ready:
        scope = self._scope(pushed)
        asked = self._asked(pushed, scope)
        identity, route = asked.identity, asked.route
        if identity is None:
            why = asked.request.question.uncacheable or f"the rule {route.name!r} has mode {route.mode}"
            raise BadRequest(f"Such a request is not answered from cache: {why}.")
        body, summary = self._answer(pushed, asked)
        own = (*asked.tags, *asked.filler, Tag(Kind.ID, identity.key.hex()))
        tags = tuple(dict.fromkeys((*own, *keys(pushed.tags))))
        if len(tags) > MAX_TAGS:
            raise BadRequest(f"With those of the rule {route.name!r} it has {len(tags)} tags, at most {MAX_TAGS}.")
        near = asked.semantic and not summary.tool_calls and embeddable(identity.text)
        ttl = pushed.ttl if pushed.ttl is not None else route.ttl
        return Ready(at, name, asked, identity, tags, float(ttl), body, near)

    def _scope(self, pushed: wire.Pushed) -> Scope:
        rights = self._rights
        scope = rights.scope if pushed.scope is None else rights.scope_of(pushed.scope)
        if not scope or not rights.may_push(scope):
            raise Forbidden(f"The token {rights.who!r} may not push into the scope {scope[:80]!r}.")
        forbidden = [tag for tag in pushed.tags if not rights.may_tag(tag)]
        if forbidden or (rights.limited and not pushed.tags):
            what = f"the tag {forbidden[0][:80]!r}" if forbidden else "no tag"
            raise Forbidden(f"The token {rights.who!r} may not push answers with {what}.")
        return scope

    def _asked(self, pushed: wire.Pushed, scope: Scope) -> Asked:
        """As the proxy would read the request that is to come."""
        chat = CHAT.read(wire.chat_body(pushed), pushed.path)
        path, _, query = pushed.path.partition("?")
        route = self._policy.choose(path, chat.model, scope) if path.endswith(CHAT.suffix) else None
        if route is None or route.mode is Mode.HTTP:
            raise BadRequest(
                f"No rule for chat answers names {path[:80]!r}, the model {chat.model[:80]!r} and {scope!r}."
            )
        if not route.serves(Source.PUSHED):
            raise BadRequest(f"The rule {route.name!r} does not serve what was pushed: its `sources` leave it out.")
        headers = {header.lower(): value for header, value in pushed.headers.items()}
        return settle(chat, scope, route, path=path, query=query, headers=headers, secret=self._secret)

    def _answer(self, pushed: wire.Pushed, asked: Asked) -> tuple[bytes, Summary]:
        name, model, most = f"chatcmpl-{self._new_id()}", asked.request.model, asked.route.max_answer
        body, summary = wire.completion(pushed, name=name, created=int(self._now), model=model)
        if len(body) > most:
            raise BadRequest(f"answer: {len(body):,} bytes, the rule {asked.route.name!r} keeps {most:,}")
        return body, summary
