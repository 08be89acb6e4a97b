"""OpenAI's error object."""

import msgspec

from edgecache.errors import RequestError


def error_body(error: RequestError) -> bytes:
    """`{"error": {...}}` as every OpenAI SDK reads it."""
    fields = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": fields})
