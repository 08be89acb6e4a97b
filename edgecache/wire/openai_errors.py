"""OpenAI's error object."""

import msgspec

from edgecache.errors import RequestError


def error_body(error: RequestError) -> bytes:
    """`{"error": {...}}` as every OpenAI SDK reads it."""
    param = None if error.param is None else _sendable(error.param)
    fields = {"message": _sendable(error.message), "type": error.kind, "param": param, "code": error.code}
    return msgspec.json.encode({"error": fields})


def _sendable(text: str) -> str:
    """Messages repeat what came, and what was not UTF-8 in a request's head comes as lone surrogates."""
    return text.encode(errors="replace").decode()
