"""Whom a caller's credential may be shown: never to a second provider, whatever fails."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from edgecache.core.ports import Call
from edgecache.upstream.forms import distance
from edgecache.upstream.headers import CREDENTIALS
from edgecache.upstream.target import Target

TELLS: Final = re.compile(r"auth|key|token|secret|cookie|session|password|credential|signature", re.IGNORECASE)
"""In the name of a header field or of a query's parameter. Too much is found rather than too little: what is found
costs a failover at most."""
HARMLESS: Final = frozenset({"idempotency-key", "sec-websocket-key"})


def trusted(call: Call, targets: Sequence[Target]) -> list[Target]:
    """Those of `targets` that may be sent this call, in the order given.

    Where the caller's own credential goes on, these are one provider's: that of the target with the lowest `order`
    among those that speak as the caller does, the first named of several. It does not depend on who is up, so that no
    outage shows a key to somebody else. A target whose own key replaces all that a caller shows is sent any call.
    """
    if not shows_credential(call):
        return list(targets)
    replaced = call.configured_key and not shows_credential(msgspec.structs.replace(call, headers=_others(call)))
    open_to = [target for target in targets if not (replaced and target.api_key is not None)]
    home = min(open_to, key=lambda target: (distance(call, target), target.order), default=None)
    return [target for target in targets if target not in open_to or (home and target.trust == home.trust)]


def _others(call: Call) -> tuple[tuple[str, str], ...]:
    """The fields that a target's own key does not take the place of."""
    return tuple(field for field in call.headers if field[0].lower() not in CREDENTIALS)


def shows_credential(call: Call) -> bool:
    names = [name.lower() for name, _ in call.headers]
    names += [name for name, _ in parse_qsl(call.query, keep_blank_values=True)]
    return any(TELLS.search(name) for name in names if name not in HARMLESS)
