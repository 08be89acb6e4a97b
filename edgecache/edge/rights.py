"""Who calls, and whether they may use a route."""

from aiohttp import web

from edgecache.account.callers import By, Caller, Callers
from edgecache.core.policy import Route, Tier
from edgecache.edge.relay import unlisted
from edgecache.edge.requests import cookies, credential, is_relative
from edgecache.errors import Unauthenticated


class Rights:
    """`keyed` names the upstreams with a key of their own, `upstreams` all."""

    def __init__(self, callers: Callers, *, keyed: frozenset[str], upstreams: frozenset[str]) -> None:
        self._callers = callers
        self._keyed = keyed
        self._upstreams = upstreams

    def identify(self, request: web.BaseRequest) -> Caller:
        """Raises Unauthenticated, Forbidden."""
        headers = request.headers
        return self._callers.identify(credential(headers), headers.get("Host", ""), cookies(headers))

    def by_token(self, request: web.BaseRequest) -> bool:
        return self.identify(request).by is By.TOKEN

    def check_key(self, caller: Caller, route: Route, path: str) -> None:
        """Where our key would be used, the caller needs one of ours: never an open relay."""
        if caller.by is By.TOKEN and is_relative(path):
            raise unlisted(path)
        if Tier.UPSTREAM in route.tiers and self._uses_key(route) and caller.by is not By.TOKEN:
            raise Unauthenticated(
                "This route uses the operator's provider key: send a token made with `edgecache token create`."
            )

    def _uses_key(self, route: Route) -> bool:
        return bool(self._keyed & (set(route.upstreams) or self._upstreams))

    def __repr__(self) -> str:
        return f"<Rights keyed={sorted(self._keyed)}>"
