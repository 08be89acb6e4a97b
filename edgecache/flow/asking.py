"""What a request asks: the same for the request that comes as for the answer that is pushed before it."""

from collections.abc import Mapping

import msgspec

from edgecache.core.canonical import IDENTITY_HEADERS, Question, identify
from edgecache.core.demands import NOTHING
from edgecache.core.entry import Scope
from edgecache.core.policy import Mode, Route
from edgecache.core.tags import keys
from edgecache.flow.controls import HEADERS, controlled
from edgecache.flow.sources import HEADER, parse_sources
from edgecache.flow.tiers import Asked
from edgecache.purge.orders import intrinsic, user_tag
from edgecache.wire.dialect import Request
from edgecache.wire.dialects import BY_NAME, place
from edgecache.wire.freshness import demands

COUNTED_HEADERS = (*IDENTITY_HEADERS, "cache-control", "pragma", HEADER.lower(), *HEADERS)
"""Request headers that say what is asked, and how."""


def settle(
    request: Request,
    scope: Scope,
    route: Route,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    secret: bytes,
) -> Asked:
    """As `said`, with the identity, where anything of it may be cached. `path` and `query` as they came."""
    asked = said(request, scope, route, path=path, headers=headers, secret=secret)
    if asked.why:
        return asked
    question, where = asked.request.question, place(path, BY_NAME[request.dialect])
    identity = identify(question, scope, headers, query, path=where, rules=route.upstreams, secret=secret)
    return msgspec.structs.replace(asked, identity=identity)


def said(
    request: Request, scope: Scope, route: Route, *, path: str, headers: Mapping[str, str], secret: bytes
) -> Asked:
    """What a request asks but for its identity, and why it has none. `headers` by lower-case name.

    Raises:
        BadRequest: a header that says how it is to be cached cannot be understood.
    """
    control = controlled(route, headers, scope)
    route, question = control.route, _question(request.question, control.key, route)
    why = question.uncacheable or ("bypass" if control.bypass else _why_not(request, route))
    request = request if question is request.question else msgspec.structs.replace(request, question=question)
    wanted = demands(headers) if route.request_directives else NOTHING
    own = intrinsic(scope=scope, route=route.name, model=request.model, path=path)
    return Asked(
        request=request,
        identity=None,
        scope=scope,
        route=route,
        tags=(*own, *keys(route.tags)),
        filler=tuple(user_tag(user, secret) for user in request.users),
        demands=msgspec.structs.replace(wanted, no_cache=True) if control.refresh else wanted,
        sources=() if why else parse_sources(headers.get(HEADER.lower(), "")),
        why=why or "",
        ignored=control.ignored,
    )


def _question(question: Question, key: str, route: Route) -> Question:
    """With the model that the route sends it for, and apart from others where the request names a key."""
    if route.model and question.model:
        question = msgspec.structs.replace(question, model=route.model)
    return msgspec.structs.replace(question, apart=key) if key else question


def _why_not(request: Request, route: Route) -> str | None:
    if route.mode is Mode.OFF:
        return "mode off"
    temperature = request.fields.get("temperature")
    limit = route.max_temperature
    if limit is not None and isinstance(temperature, int | float) and temperature > limit:
        return f"temperature over {limit:g}"
    return None
