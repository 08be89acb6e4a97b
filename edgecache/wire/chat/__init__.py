"""OpenAI `POST /v1/chat/completions`."""

from edgecache.wire.chat.codec import CHAT

__all__ = ["CHAT"]
