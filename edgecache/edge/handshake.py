"""A request for a WebSocket as it came: whether it is one, whose, and what of it goes upstream."""

from urllib.parse import unquote, urlsplit

from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDictProxy

from edgecache.account.callers import holds_token
from edgecache.edge.relay import forwarded
from edgecache.edge.requests import credential
from edgecache.errors import BadRequest, Forbidden, Unauthenticated
from edgecache.wire.websocket import is_key

KEY = "openai-insecure-api-key."
"""Before the key in a subprotocol: a browser can set no header of a WebSocket."""

Headers = CIMultiDictProxy[str]


def is_handshake(request: web.BaseRequest) -> bool:
    """Whether a WebSocket is asked for (RFC 6455 section 4.2.1), as aiohttp reads it too."""
    if request.method != "GET" or request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return False
    return any(option.lower() == "upgrade" for option in _items(request.headers, hdrs.CONNECTION))


def check_handshake(request: web.BaseRequest) -> None:
    """Raises BadRequest for what no WebSocket begins with. Its version is for the upstream to judge."""
    headers = request.headers
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    if request.version != HttpVersion11 or request.body_exists:
        raise BadRequest("A WebSocket begins with a GET of HTTP/1.1 without a body.")
    if len(headers.getall(hdrs.UPGRADE)) > 1 or len(keys) != 1 or not is_key(keys[0].strip()):
        raise BadRequest("A WebSocket's handshake has one Upgrade, and one Sec-WebSocket-Key of 16 bytes in base64.")


def shown_key(headers: Headers) -> str | None:
    """The caller's key, in a header or in a subprotocol. Raises Unauthenticated for two that differ."""
    said = (item.removeprefix(KEY) for item in _items(headers, hdrs.SEC_WEBSOCKET_PROTOCOL) if item.startswith(KEY))
    keys = {key for key in (credential(headers), *said) if key}
    if len(keys) > 1:
        raise Unauthenticated("Several credentials that differ were sent: send one.")
    return keys.pop() if keys else None


def check_origin(headers: Headers) -> None:
    """For who shows no key: a page of any site may open a WebSocket to this node and read it, with the cookies that
    the browser adds (RFC 6455 section 10.2). Raises Forbidden for a page that is not of the host it asks.
    """
    origin = headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get(hdrs.HOST, "").lower():
        raise Forbidden(f"Without a key, no page of {origin[:80]!r} opens a WebSocket here.")


def to_upstream(request: web.BaseRequest, by_token: bool) -> tuple[tuple[str, str], ...]:
    """The header fields that go on. Raises Unauthenticated for a token of ours anywhere else than where it is read,
    or it would go on too.
    """
    fields = forwarded(request, by_token)
    if by_token:
        fields = tuple(field for field in fields if field[0].lower() != hdrs.SEC_WEBSOCKET_PROTOCOL.lower())
        rest = [item for item in _items(request.headers, hdrs.SEC_WEBSOCKET_PROTOCOL) if not item.startswith(KEY)]
        fields += ((hdrs.SEC_WEBSOCKET_PROTOCOL, ", ".join(rest)),) if rest else ()
    if any(map(holds_token, (unquote(request.raw_path), *(value for _, value in fields)))):
        raise Unauthenticated(
            f"A token of this edgecache is where it would go on to the provider: send it as `Authorization: Bearer`, "
            f"or, from a browser, as the subprotocol `{KEY}<token>`."
        )
    return fields


def _items(headers: Headers, name: str) -> list[str]:
    """The items of a list that may stand in several fields (RFC 9110 section 5.6.1)."""
    return [item.strip() for value in headers.getall(name, []) for item in value.split(",") if item.strip()]
