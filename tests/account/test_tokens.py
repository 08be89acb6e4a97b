"""Tokens: kept hashed, revoked at once, whatever happens at the same time; callers and their scopes."""

import asyncio
import hashlib
import itertools
from collections.abc import Mapping

import pytest

from edgecache.account import scopes
from edgecache.account.callers import By, Callers
from edgecache.account.grants import Grant
from edgecache.account.tokens import PREFIX, Tokens
from edgecache.core.entry import Scope
from edgecache.errors import BadRequest, Forbidden, NotFound, Unauthenticated


class Registry:
    """In memory; a test may hold the reading of it."""

    def __init__(self) -> None:
        self.facts: dict[str, bytes] = {}
        self.reading = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def values(self, kind: str) -> Mapping[str, bytes]:
        found = dict(self.facts)
        self.reading.set()
        await self.go.wait()
        return found

    async def set(self, kind: str, name: str, value: bytes) -> None:
        self.facts[name] = value

    async def set_default(self, kind: str, name: str, value: bytes) -> bytes:
        await asyncio.sleep(0)
        return self.facts.setdefault(name, value)

    async def remove(self, kind: str, name: str) -> bool:
        await asyncio.sleep(0)
        return self.facts.pop(name, None) is not None


def make(registry: Registry) -> Tokens:
    numbers = itertools.count()
    return Tokens(registry, clock=lambda: 5.0, random=lambda size: f"{next(numbers):0{2 * size}x}")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def tokens(registry: Registry) -> Tokens:
    return make(registry)


async def test_a_token_is_kept_hashed_and_found_again(tokens: Tokens, registry: Registry) -> None:
    secret = await tokens.create("app", "team", (Grant.TRAFFIC,))
    assert secret.startswith(PREFIX)
    kept = b"".join(registry.facts.values()).decode()
    assert secret not in kept
    assert secret.removeprefix(PREFIX) not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() in kept
    other = make(registry)
    await other.open()
    for one in (tokens, other):
        found = one.find(secret)
        assert found is not None
        assert (found.name, found.scope, found.created) == ("app", "team", 5.0)
    assert tokens.find(secret + "0") is None
    assert tokens.find("\udcff") is None


@pytest.mark.parametrize(
    ("grants", "may"),
    [
        ((Grant.TRAFFIC,), {Grant.TRAFFIC}),
        ((Grant.PURGE,), {Grant.PURGE, Grant.PURGE_SELECT, Grant.PURGE_ALL}),
        ((Grant.PURGE_SELECT,), {Grant.PURGE_SELECT}),
        ((Grant.PURGE_ALL,), {Grant.PURGE_ALL}),
        ((Grant.PUSH,), {Grant.PUSH}),
        ((Grant.TRAFFIC, Grant.PURGE_ALL), {Grant.TRAFFIC, Grant.PURGE_ALL}),
        ((Grant.ADMIN,), set(Grant)),
    ],
)
async def test_what_each_grant_opens(tokens: Tokens, grants: tuple[Grant, ...], may: set[Grant]) -> None:
    found = tokens.find(await tokens.create("app", "team", grants))
    assert found is not None
    assert {grant for grant in Grant if found.may(grant)} == may


async def test_revoked_is_revoked_when_it_returns(tokens: Tokens) -> None:
    secret = await tokens.create("app", "team", (Grant.TRAFFIC,))
    before = tokens.generation
    await tokens.revoke("app")
    assert tokens.find(secret) is None
    assert tokens.generation > before
    with pytest.raises(NotFound):
        await tokens.revoke("app")


async def test_a_refresh_that_read_before_the_revocation_brings_nothing_back(
    tokens: Tokens, registry: Registry
) -> None:
    """It did, for up to two seconds."""
    secret = await tokens.create("app", "team", (Grant.TRAFFIC,))
    registry.go.clear()
    refreshing = asyncio.create_task(tokens.refresh())
    await registry.reading.wait()
    revoking = asyncio.create_task(tokens.revoke("app"))
    for _ in range(5):
        await asyncio.sleep(0)
    registry.go.set()
    await asyncio.gather(refreshing, revoking)
    assert tokens.find(secret) is None


async def test_a_refresh_that_read_before_a_token_was_made_does_not_lose_it(tokens: Tokens, registry: Registry) -> None:
    registry.go.clear()
    refreshing = asyncio.create_task(tokens.refresh())
    await registry.reading.wait()
    creating = asyncio.create_task(tokens.create("app", "team", (Grant.TRAFFIC,)))
    for _ in range(5):
        await asyncio.sleep(0)
    registry.go.set()
    await refreshing
    assert tokens.find(await creating) is not None


async def test_one_name_is_given_once_even_by_two_nodes_at_the_same_time(registry: Registry) -> None:
    sides = (make(registry), make(registry))
    sides[1]._random = lambda size: "f" * 2 * size
    results = await asyncio.gather(
        *(side.create("app", "team", (Grant.TRAFFIC,)) for side in (*sides, sides[0])), return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, BadRequest) for result in results) == 2


async def test_what_other_nodes_changed_is_seen_with_the_next_refresh(tokens: Tokens, registry: Registry) -> None:
    other = make(registry)
    secret = await tokens.create("app", "team", (Grant.TRAFFIC,))
    assert other.find(secret) is None
    await other.refresh()
    assert other.find(secret) is not None
    generation = other.generation
    await other.refresh()
    assert other.generation == generation  # what has not changed empties nothing
    await tokens.revoke("app")
    await other.refresh()
    assert other.find(secret) is None


async def test_what_a_newer_version_wrote_opens_nothing_and_stops_nothing(tokens: Tokens, registry: Registry) -> None:
    secret = await tokens.create("app", "team", (Grant.TRAFFIC,))
    registry.facts["newer"] = b'{"name":"newer","scope":"s","grants":["fly"],"digest":"d","created":1}'
    registry.facts["broken"] = b"\xff"
    await tokens.refresh()
    assert [token.name for token in tokens.all()] == ["app"]
    assert tokens.find(secret) is not None


async def test_this_nodes_own_admin_token_is_in_no_registry_and_cannot_be_revoked(
    tokens: Tokens, registry: Registry
) -> None:
    tokens.admit_admin("edgecache-own")
    await tokens.refresh()
    found = tokens.find("edgecache-own")
    assert found is not None
    assert found.may(Grant.ADMIN)
    assert registry.facts == {}
    with pytest.raises(NotFound):
        await tokens.revoke("admin")
    with pytest.raises(BadRequest, match="There is a token named 'admin'"):
        await tokens.create("admin", "s", (Grant.TRAFFIC,))


@pytest.mark.parametrize(
    ("name", "scope", "grants"),
    [
        ("", "s", (Grant.TRAFFIC,)),
        ("a\nb", "s", (Grant.TRAFFIC,)),
        ("a" * 101, "s", (Grant.TRAFFIC,)),
        ("a", "", (Grant.TRAFFIC,)),
        ("a", "s\0", (Grant.TRAFFIC,)),
        ("a", "s", ()),
    ],
)
async def test_what_no_token_can_be(tokens: Tokens, name: str, scope: str, grants: tuple[Grant, ...]) -> None:
    with pytest.raises(BadRequest):
        await tokens.create(name, scope, grants)


async def test_limits_are_kept_and_seen_by_other_nodes(tokens: Tokens, registry: Registry) -> None:
    secret = await tokens.create("app", "team", (Grant.PURGE,), tags=("docs-*", "[ab]?"), tenants=("acme",))
    other = make(registry)
    await other.open()
    found = other.find(secret)
    assert found is not None
    assert (found.tags, found.tenants) == (("docs-*", "[ab]?"), ("acme",))
    keys = ("docs-", "docs-a/b", "a1", "DOCS-1", "xdocs-", "c1", "a", "")
    assert [key for key in keys if found.may_touch(key)] == ["docs-", "docs-a/b", "a1"]


async def test_without_limits_every_key_may_be_touched(tokens: Tokens) -> None:
    found = tokens.find(await tokens.create("app", "team", (Grant.PURGE,)))
    assert found is not None
    assert found.may_touch("anything")


async def test_tokens_stored_before_there_were_limits_are_read(tokens: Tokens, registry: Registry) -> None:
    digest = hashlib.sha256(b"edgecache-old").hexdigest()
    registry.facts["old"] = (
        b'{"name":"old","scope":"s","grants":["purge"],"digest":"%s","created":1.5}' % digest.encode()
    )
    await tokens.refresh()
    found = tokens.find("edgecache-old")
    assert found is not None
    assert (found.tags, found.tenants, found.may(Grant.PURGE_ALL)) == ((), (), True)


@pytest.mark.parametrize(
    ("grants", "limits", "why"),
    [
        ((Grant.TRAFFIC,), {"tags": ("a",)}, "limit purging and pushing"),
        ((Grant.TRAFFIC,), {"tenants": ("a",)}, "limit purging and pushing"),
        ((Grant.ADMIN, Grant.PURGE), {"tenants": ("a",)}, "no limits"),
        ((Grant.PURGE_ALL,), {"tags": ("a",)}, "cannot purge everything"),
        ((Grant.PURGE,), {"tags": ("",)}, "1 to 100"),
        ((Grant.PURGE,), {"tenants": ("a\0b",)}, "1 to 100"),
        ((Grant.PURGE,), {"tags": ("a",) * 65}, "at most 64"),
    ],
)
async def test_limits_that_cannot_be(
    tokens: Tokens, registry: Registry, grants: tuple[Grant, ...], limits: dict[str, tuple[str, ...]], why: str
) -> None:
    with pytest.raises(BadRequest, match=why):
        await tokens.create("app", "team", grants, **limits)
    assert registry.facts == {}


async def test_a_holder_may_do_any_of_what_is_asked(tokens: Tokens) -> None:
    secret = await tokens.create("app", "team", (Grant.PURGE_ALL,))
    assert tokens.holder(secret, Grant.PURGE_SELECT, Grant.PURGE_ALL).name == "app"
    with pytest.raises(Forbidden, match="not for purging what it names"):
        tokens.holder(secret, Grant.PURGE_SELECT)


async def callers(tokens: Tokens, anonymous: str | None = "local", secret: bytes = b"secret") -> Callers:
    return Callers(tokens, secret=secret, anonymous=None if anonymous is None else Scope(anonymous))


async def test_callers_with_different_credentials_never_share_a_scope(tokens: Tokens) -> None:
    known = await callers(tokens, anonymous="key:x")
    team = await tokens.create("a", "team", (Grant.TRAFFIC,))
    same_team = await tokens.create("b", "team", (Grant.TRAFFIC,))
    scopes = [known.identify(credential).scope for credential in ("sk-1", "sk-2", None, team)]
    assert len(set(scopes)) == 4
    assert known.identify("sk-1").scope == scopes[0]
    assert known.identify(same_team).scope == scopes[3]
    assert [known.identify(c).by for c in ("sk-1", team, None)] == [By.CREDENTIAL, By.TOKEN, By.NOTHING]


async def test_a_scope_does_not_tell_the_credential_and_depends_on_the_secret(tokens: Tokens) -> None:
    one, two = await callers(tokens), await callers(tokens, secret=b"another")
    assert "sk-1" not in one.identify("sk-1").scope
    assert one.identify("sk-1").scope != two.identify("sk-1").scope
    assert one.identify("\udcff").scope.startswith("key:")


async def test_who_is_refused(tokens: Tokens) -> None:
    known = await callers(tokens, anonymous=None)
    with pytest.raises(Unauthenticated, match="No credential"):
        known.identify(None)
    with pytest.raises(Unauthenticated, match="not known, or was revoked"):
        known.identify(PREFIX + "unknown")
    purger = await tokens.create("purger", "ops", (Grant.PURGE,))
    with pytest.raises(Forbidden, match="not for traffic"):
        known.identify(purger)


async def test_a_name_that_could_be_two_scopes_is_refused(registry: Registry) -> None:
    """`anonymous_scope` set to what tokens' scopes were called before: a purge would hit others than were meant."""
    before = Tokens(registry, clock=lambda: 0.0, random=lambda count: "0" * 2 * count)  # type: ignore[arg-type]
    await before.create("a", "acme", (Grant.TRAFFIC,))
    after = Tokens(registry, clock=lambda: 0.0, random=lambda count: "1" * 2 * count, anonymous="acme")  # type: ignore[arg-type]
    await after.open()
    with pytest.raises(BadRequest, match="`token:acme`"):
        after.named("acme")
    assert after.named("token:acme") == scopes.of_tenant("acme")
    with pytest.raises(BadRequest, match="choose another"):
        await after.create("b", "acme", (Grant.TRAFFIC,))
    await after.revoke("a")
    assert after.named("acme") == "acme"


async def test_scopes_are_called_as_their_tokens_are(tokens: Tokens) -> None:
    known = await callers(tokens)
    team = known.identify(await tokens.create("a", "team", (Grant.TRAFFIC,))).scope
    assert scopes.named("team", "local") == scopes.of_tenant("team") == team
    for scope in (team, known.identify("sk-1").scope, known.identify(None).scope):
        assert scopes.named(scope, "local") == scope
    assert scopes.named("local", "") == scopes.of_tenant("local")
