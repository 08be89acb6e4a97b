"""Anthropic's error object. Source: `anthropic.types.ErrorResponse` and the statuses its client tells apart."""

import msgspec

from edgecache.errors import RequestError

_KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(error: RequestError) -> bytes:
    """`{"type": "error", "error": {...}}`."""
    kind = _KINDS.get(error.status) or ("api_error" if error.status >= 500 else "invalid_request_error")
    fields = {"type": kind, "message": _sendable(error.message)}
    return msgspec.json.encode({"type": "error", "error": fields, "request_id": None})


def error_event(error: RequestError) -> bytes:
    return b"event: error\ndata: " + error_body(error) + b"\n\n"


def _sendable(text: str) -> str:
    """Messages repeat what came, and what was not UTF-8 in a request's head comes as lone surrogates."""
    return text.encode(errors="replace").decode()
