"""How scopes are called: by those who name one, and within."""

from edgecache.core.entry import Scope

TOKEN = "token:"
"""Before the scope of a token of ours."""
CREDENTIAL = "key:"
"""Before the keyed digest of a provider's credential."""


def of_tenant(name: str) -> Scope:
    """The scope of callers whose token has the scope `name`."""
    return Scope(TOKEN + name)


def named(name: str, anonymous: str) -> Scope:
    """The scope that an operator means: `anonymous` (that of callers without a credential), one as `/admin/entries`
    shows it, else a tenant's.
    """
    if name == anonymous or name.startswith((TOKEN, CREDENTIAL)):
        return Scope(name)
    return of_tenant(name)
