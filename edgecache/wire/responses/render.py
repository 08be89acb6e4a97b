"""One framing rendered from the other, and what must differ between the clients of one answer."""

from collections.abc import Mapping
from typing import Any

import msgspec

from edgecache.core.entry import Framing
from edgecache.wire import sse
from edgecache.wire.dialect import Hider, Request
from edgecache.wire.responses.answer import BROKEN, read_answer
from edgecache.wire.responses.events import to_stream

_RAW = dict[str, msgspec.Raw]


def render(framing: Framing, body: bytes, request: Request) -> bytes:
    """See `Dialect.render`. Padding is not replayed."""
    if framing is Framing.SSE and request.stream:
        hide = hider(request.echo, padding=False)
        return b"".join(map(hide, sse.EventSplitter(len(body) + 1).feed(body)))
    answer = echoed(body if framing is Framing.JSON else read_answer(framing, body).body, request.echo)
    return to_stream(answer) if request.stream else answer


def hider(echo: Mapping[str, Any], *, padding: bool) -> Hider:
    """Of the events of one stream: with this client's own fields in the response object, and with `padding`, which
    hides from onlookers how long each text was, or without.
    """

    def hide(event: bytes) -> bytes:
        if not padding and b'"obfuscation"' in event:
            event = _without_padding(event)
        return _echoed_event(event, echo) if b'"response"' in event else event

    return hide


def wants_padding(fields: Any) -> bool:
    """Providers pad unless they are told not to (`ResponseStreamOptions`)."""
    options = fields.get("stream_options") if isinstance(fields, dict) else None
    return not (isinstance(options, dict) and options.get("include_obfuscation") is False)


def _without_padding(event: bytes) -> bytes:
    fields = _fields(event)
    return sse.with_data(event, msgspec.json.encode(fields)) if fields.pop("obfuscation", None) else event


def _echoed_event(event: bytes, echo: Mapping[str, Any]) -> bytes:
    fields = _fields(event)
    if "response" not in fields:
        return event
    old = bytes(fields["response"])
    new = echoed(old, echo)
    return event if new == old else sse.with_data(event, msgspec.json.encode({**fields, "response": msgspec.Raw(new)}))


def echoed(body: bytes, echo: Mapping[str, Any] | None) -> bytes:
    """The response object with these fields as this client's request had them. It keeps its bytes where it says the
    same; a field that it does not have is not added.
    """
    try:
        fields = msgspec.json.decode(body, type=_RAW)
        told = {name: msgspec.json.decode(fields[name]) for name in echo or () if name in fields}
        others = {name: value for name, value in (echo or {}).items() if name in told and told[name] != value}
        return msgspec.json.encode({**fields, **others}) if others else body
    except BROKEN:
        return body


def _fields(event: bytes) -> _RAW:
    """Empty where the event is none of an answer."""
    try:
        return msgspec.json.decode(sse.data(event) or b"", type=_RAW)
    except BROKEN:
        return {}
