"""What a provider says when it refuses, in whichever dialect."""

from typing import Any

import msgspec

from edgecache.errors import RequestError

LONGEST = 2_000
"""Characters of a provider's message that are passed on."""


class ToldError(RequestError):
    """A provider's own words."""

    def __init__(self, status: int, message: str, kind: str, code: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code


def told_error(status: int, body: bytes) -> ToldError:
    """Never raises: where there is no message, the status is all that is told."""
    found = _error(body)
    message = found.get("message")
    kind, code = found.get("type"), found.get("code")
    return ToldError(
        status,
        message[:LONGEST] if isinstance(message, str) else f"The provider answered with status {status}.",
        kind if isinstance(kind, str) else "invalid_request_error" if status < 500 else "server_error",
        code if isinstance(code, str) else None,
    )


def _error(body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {"message": error}
