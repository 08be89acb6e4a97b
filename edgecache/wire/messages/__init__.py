"""Anthropic Messages."""

from edgecache.wire.messages.codec import MESSAGES

__all__ = ["MESSAGES"]
