"""What a request asks: the same for the request that comes as for the answer that is pushed before it."""

from collections.abc import Mapping

from edgecache.core.canonical import IDENTITY_HEADERS, identify
from edgecache.core.demands import NOTHING
from edgecache.core.entry import Scope
from edgecache.core.policy import Mode, Route
from edgecache.core.tags import keys
from edgecache.flow.sources import HEADER, parse_sources
from edgecache.flow.tiers import Asked
from edgecache.purge.orders import intrinsic, user_tag
from edgecache.wire.freshness import demands
from edgecache.wire.openai_request import ChatRequest, end_users

COUNTED_HEADERS = (*IDENTITY_HEADERS, "cache-control", "pragma", HEADER.lower())
"""Request headers that say what is asked, and how."""


def settle(
    chat: ChatRequest,
    scope: Scope,
    route: Route,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    secret: bytes,
) -> Asked:
    """`headers` by lower-case name, `path` and `query` as they came. Without an identity where nothing of it may be
    cached; its tags are then of no use.
    """
    if chat.question.uncacheable is not None or route.mode is Mode.OFF:
        return Asked(request=chat, identity=None, scope=scope, route=route, tags=())
    identity = identify(chat.question, scope, headers, query, path=path, rules=route.upstreams, secret=secret)
    own = intrinsic(scope=scope, route=route.name, model=chat.model, path=path)
    return Asked(
        request=chat,
        identity=identity,
        scope=scope,
        route=route,
        tags=(*own, *keys(route.tags)),
        filler=tuple(user_tag(user, secret) for user in end_users(chat.fields)),
        demands=demands(headers) if route.request_directives else NOTHING,
        sources=parse_sources(headers.get(HEADER.lower(), "")),
    )
