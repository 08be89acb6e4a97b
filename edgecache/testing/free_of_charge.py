"""Accounts that count nothing and refuse nobody."""

from edgecache.core.entry import Scope
from edgecache.core.reply import Usage


class FreeOfCharge:
    """`Spending` of the ports."""

    async def arrive(self, scope: Scope, route: str) -> None: ...

    async def admit(self, scope: Scope, route: str) -> None: ...

    def bounds_usage(self, scope: Scope, route: str) -> bool:
        return False

    def counts_hits(self, scope: Scope, route: str) -> bool:
        return False

    def spent(self, scope: Scope, route: str, model: str, usage: Usage | None) -> None: ...

    def saved(self, scope: Scope, route: str, model: str, usage: Usage | None) -> None: ...

    def saver(self, scope: Scope, route: str, model: str, usage: Usage | None) -> "FreeOfCharge":
        return self

    def add(self) -> None: ...
