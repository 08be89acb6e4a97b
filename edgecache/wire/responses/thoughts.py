"""Reasoning items and the thoughts they are. Source: the OpenAI API description, schema `ReasoningItem`."""

from collections.abc import Mapping
from typing import Any, Final

from edgecache.core.messages import Thinking

MADE_HERE: Final = "rs_edgecache_"
"""Begins the ids of reasoning that is told here in this dialect: no provider looks it up by them."""
_SIGNED: Final = "signature:"
"""Begins what stands for sealed content where the provider of another dialect signed a thought that it shows."""


def from_item(item: Mapping[str, Any]) -> Thinking | None:
    """None for one that only its own provider can read: it is neither sealed nor made here. Never raises."""
    sealed, name = item.get("encrypted_content"), item.get("id")
    text = told(item)
    if text is None:
        return None
    if isinstance(sealed, str) and sealed.startswith(_SIGNED):
        return Thinking(text=text, signature=sealed.removeprefix(_SIGNED))
    if isinstance(sealed, str) and sealed:
        return Thinking(text=text, data=sealed)
    made_here = sealed is None and isinstance(name, str) and name.startswith(MADE_HERE)
    return Thinking(text=text) if made_here else None


def told(item: Mapping[str, Any]) -> str | None:
    """What an item shows: its summary, or else the reasoning itself. None where it is not made as described, or shows
    both.
    """
    if item.get("summary") and item.get("content"):
        return None
    for name in ("summary", "content"):
        parts = item.get(name) or ()
        if not isinstance(parts, list | tuple) or not all(isinstance(part, dict) for part in parts):
            return None
        texts = [part.get("text") for part in parts]
        if not all(isinstance(text, str) for text in texts):
            return None
        if texts:
            return "\n\n".join(texts)
    return ""


def sealed(signature: str, data: str) -> str | None:
    """What stands as `encrypted_content` for a thought, so that it comes back with the next request."""
    return data or (_SIGNED + signature if signature else None)
