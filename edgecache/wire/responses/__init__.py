"""OpenAI `POST /v1/responses`."""

from edgecache.wire.responses.codec import RESPONSES

__all__ = ["RESPONSES"]
