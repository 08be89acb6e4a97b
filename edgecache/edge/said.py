"""What the headers of a request say of the answer that is wanted."""

from aiohttp import web

from edgecache.account.callers import By, Caller
from edgecache.core.policy import Route
from edgecache.edge.relay import TAGS
from edgecache.errors import BadRequest, UnsupportedMedia
from edgecache.flow.asking import COUNTED_HEADERS
from edgecache.wire import surrogate


def is_plain(request: web.BaseRequest, caller: Caller) -> bool:
    """Whether its body can be read here; what is compressed is passed through as it came, with the caller's own key.

    Raises:
        UnsupportedMedia: it would use ours.
    """
    plain = request.headers.get("content-encoding", "identity").lower() == "identity"
    if not plain and caller.by is By.TOKEN:
        raise UnsupportedMedia("A body with a Content-Encoding is not read here: send it as plain JSON.")
    return plain


def counted(request: web.BaseRequest) -> dict[str, str]:
    """Headers that say what is asked, and how: all values of each, by lower-case name."""
    return {name: ", ".join(request.headers.getall(name)) for name in COUNTED_HEADERS if name in request.headers}


def claimed(request: web.BaseRequest, route: Route) -> tuple[str, ...]:
    """The keys that an application says its request was made from, where the route lets it. Raises BadRequest."""
    if not route.request_tags or TAGS not in request.headers:
        return ()
    value = " ".join(request.headers.getall(TAGS))
    found = surrogate.split_keys(value)
    if problems := surrogate.problems(found, length=len(value.encode(errors="replace"))):
        raise BadRequest("; ".join(problems), param="Surrogate-Key")
    return found
