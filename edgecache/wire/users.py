"""Whom a request says it is made for."""

from typing import Any


def end_users(fields: Any) -> tuple[str, ...]:
    """Under each name there is; what is no string says nothing."""
    if not isinstance(fields, dict):
        return ()
    metadata = fields.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    named = (fields.get("user"), fields.get("safety_identifier"), user_id)
    return tuple(dict.fromkeys(user for user in named if isinstance(user, str) and user))
