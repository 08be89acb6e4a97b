"""Anthropic Messages."""

from edgecache.wire.messages.dialect import MESSAGES

__all__ = ["MESSAGES"]
