"""What a purge call asks, read and checked in full before anything is purged.
Source: Fastly's purging API, https://www.fastly.com/documentation/reference/api/purging/.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar
from urllib.parse import unquote

import msgspec
from aiohttp import web

from edgecache.account.grants import Grant
from edgecache.core.entry import Scope
from edgecache.core.purges import Effect
from edgecache.core.tags import EVERYTHING, Kind, Tag
from edgecache.edge.requests import body
from edgecache.errors import BadRequest, NotFound
from edgecache.purge import orders
from edgecache.wire import surrogate

BODY_LIMIT = 1 << 20
MAX_USER_BYTES = 1_024
SOFT = "Fastly-Soft-Purge"

_SERVICE = re.compile(r"/service/(?P<service>[^/]*)/(?P<call>purge_all|purge)(?:/(?P<key>.*))?")
_NAMED = re.compile(r"/purge/(?P<kind>id|route|model|scope)/(?P<name>.*)")
_YES, _NO = ("", "1", "true", "yes"), ("0", "false", "no")


class DryRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What any call may say in its body. A member that is not known is refused: it may be `dry_run` misspelt."""

    dry_run: bool = False


class Keys(DryRun, frozen=True, kw_only=True, forbid_unknown_fields=True):
    surrogate_keys: tuple[str, ...] = ()


class User(DryRun, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user: str


class Similar(DryRun, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`radius` is a cosine distance; `scope` empty means every scope."""

    text: str
    radius: Annotated[float, msgspec.Meta(ge=0, le=1)]
    scope: str = ""


Body = TypeVar("Body", bound=DryRun)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One call: `tags`, or what is `similar`, in one scope where `within` names it. `grant` is what it takes. `keys`
    are the tags where all are owners' keys; with `listed` the answer names each.
    """

    tags: tuple[Tag, ...] = ()
    similar: Similar | None = None
    grant: Grant = Grant.PURGE_SELECT
    keys: tuple[str, ...] = ()
    listed: bool = False
    within: Scope | None = None
    effect: Effect = Effect.PURGE
    wait: bool = False
    dry_run: bool = False


class Services:
    """`service` is the deployment's id, `further` ids each stand for one scope. `named` finds a scope by its name."""

    def __init__(self, service: str, further: Mapping[str, str], named: Callable[[str], Scope]) -> None:
        self._service = service
        self._further = dict(further)
        self.named = named

    def scope_of(self, service: str) -> Scope | None:
        """None for all of the deployment. Raises NotFound."""
        if service == self._service:
            return None
        if service not in self._further:
            raise NotFound(f"There is no service {service[:80]!r}; this one is {self._service!r}.")
        return self.named(self._further[service])

    def __repr__(self) -> str:
        return f"<Services {self._service} and {len(self._further)} further>"


async def read(request: web.BaseRequest, path: str, services: Services, secret: bytes) -> Asked:
    """Raises BadRequest, NotFound or TooLarge with the reason; then nothing is to be purged."""
    asked, said = await _named(request, path, services, secret)
    soft = SOFT in request.headers
    _check(request, asked, soft, user=isinstance(said, User))
    return msgspec.structs.replace(
        asked,
        effect=Effect.SOFT if soft else Effect.PURGE,
        wait=_waits(request),
        dry_run=_dry(request) or said.dry_run,
    )


async def _named(request: web.BaseRequest, path: str, services: Services, secret: bytes) -> tuple[Asked, DryRun]:
    """What is named, by path or body; and what else the body says."""
    if request.method == "PURGE":
        return Asked(tags=orders.by_path(path)), await _said(request, DryRun)
    if path.startswith("/service/"):
        return await _of_service(request, path, services)
    if path == "/purge/similar":
        similar = await _said(request, Similar)
        return Asked(similar=similar, within=services.named(similar.scope) if similar.scope else None), similar
    if path == "/purge/user":
        user = await _said(request, User)
        if (length := len(user.user.encode(errors="surrogatepass"))) > MAX_USER_BYTES:
            raise BadRequest(f"A user's name has at most {MAX_USER_BYTES:,} bytes, this one {length:,}.")
        return Asked(tags=orders.by_user(user.user, secret)), user
    return _of_path(path, services), await _said(request, DryRun)


async def _of_service(request: web.BaseRequest, path: str, services: Services) -> tuple[Asked, DryRun]:
    found = _SERVICE.fullmatch(path)
    assert found is not None  # `PurgeApi.owns` let it through
    within = services.scope_of(found["service"])
    if found["call"] == "purge_all":
        return _everything(within), await _said(request, DryRun)
    if found["key"] is not None:
        key = unquote(found["key"])
        return Asked(tags=orders.by_keys([key]), keys=(key,), within=within), await _said(request, DryRun)
    said = await _said(request, Keys)
    keys = (*_in_header(request), *said.surrogate_keys)
    if not keys:
        raise BadRequest('Name the keys in a `Surrogate-Key` header or as {"surrogate_keys": [...]}.')
    return Asked(tags=orders.by_keys(keys), keys=keys, listed=True, within=within), said


def _of_path(path: str, services: Services) -> Asked:
    found = _NAMED.fullmatch(path)
    if found is None:
        return Asked(tags=orders.by_url(path.removeprefix("/purge/")))
    if found["kind"] == "id":
        return Asked(tags=orders.by_id(found["name"]))
    kind = Kind(found["kind"])
    tags = orders.by_name(kind, unquote(found["name"]))
    return _everything(services.named(tags[0].value)) if kind is Kind.SCOPE else Asked(tags=tags)


def _everything(within: Scope | None) -> Asked:
    return Asked(tags=(EVERYTHING,), grant=Grant.PURGE_ALL, within=within)


def _in_header(request: web.BaseRequest) -> tuple[str, ...]:
    value = " ".join(request.headers.getall("Surrogate-Key", ()))
    found = surrogate.split_keys(value)
    if problems := surrogate.problems(found, length=len(value.encode(errors="replace"))):
        raise BadRequest("; ".join(problems))
    return tuple(found)


async def _said(request: web.BaseRequest, kind: type[Body]) -> Body:
    """An empty body says nothing. Raises BadRequest for one that is not what this call takes."""
    content = await body(request, BODY_LIMIT)
    try:
        return msgspec.json.decode(content.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        members = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise BadRequest(f"The body of this call is empty or a JSON object of {members}: {error}.") from None


def _check(request: web.BaseRequest, asked: Asked, soft: bool, *, user: bool) -> None:
    """A hard purge in place of a soft one would lose answers, and a soft one in place of an erasure would keep them."""
    if soft and asked.grant is Grant.PURGE_ALL:
        raise BadRequest("Everything cannot be purged softly: name keys, or purge hard.")
    if soft and (asked.similar is not None or user):
        raise BadRequest("By meaning and by user only a hard purge is possible.")
    if request.headers.get("Fastly-Purge-Environment", "").lower() == "staging":
        raise BadRequest("There is no staging environment here.")


def _waits(request: web.BaseRequest) -> bool:
    values = (*request.query.getall("wait", ()), *request.headers.getall("wait", ()))
    for value in values:
        if value != "all":
            raise BadRequest(f"`wait` can be `all`, not {value[:40]!r}.")
    return bool(values)


def _dry(request: web.BaseRequest) -> bool:
    values = [value.lower() for value in request.query.getall("dry_run", ())]
    for value in values:
        if value not in (*_YES, *_NO):
            raise BadRequest(f"`dry_run` can be 1 or 0, not {value[:40]!r}.")
    return any(value in _YES for value in values)
