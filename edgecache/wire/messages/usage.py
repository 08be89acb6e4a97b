"""Tokens as Anthropic counts them. Its `input_tokens` are those that neither came from the provider's cache nor were
put there; the prompt has all three.
"""

from typing import Any

from edgecache.core.reply import Usage


def read_usage(usage: Any) -> Usage | None:
    """None where not told; a count that is no number is 0."""
    if not isinstance(usage, dict):
        return None
    cached, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    details = usage.get("output_tokens_details")
    return Usage(
        prompt=_count(usage, "input_tokens") + cached + written,
        completion=_count(usage, "output_tokens"),
        cached=cached,
        written=written,
        reasoning=_count(details, "thinking_tokens") if isinstance(details, dict) else 0,
    )


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def tell_usage(usage: Usage | None) -> dict[str, Any]:
    """`usage` of a message, and of a `message_delta`; zeros where it is not known, as clients need the fields."""
    told = usage or Usage()
    fields: dict[str, Any] = {
        "input_tokens": max(0, told.prompt - told.cached - told.written),
        "cache_creation_input_tokens": told.written,
        "cache_read_input_tokens": told.cached,
        "output_tokens": told.completion,
    }
    return {**fields, "output_tokens_details": {"thinking_tokens": told.reasoning}} if told.reasoning else fields
