"""Orders and what may come between: a scenario per race of the log, in virtual time; messages can be held."""

import asyncio

import pytest
from purge_links import Sides, until, virtual

from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import StoreUnavailable
from edgecache.purge import log as purge_log
from edgecache.purge.trail import KEPT, Trail
from edgecache.testing.simulated_log import LogLostError


@virtual
async def test_a_purge_written_to_a_log_that_was_lost_meanwhile_is_not_taken_for_the_new_logs_first() -> None:
    """It was: sequence 1 of the old log counted as applied in the new one, whose first purge was then skipped."""
    sides = Sides()
    (one,) = await sides.open("one")
    held = one.link.hold("append", "back")
    order = asyncio.create_task(one.log.order(keys(["a"])))
    await held.reached.wait()
    sides.server.restart()
    await until(lambda: one.ledger.log == "log-1")
    held.go.set()
    with pytest.raises(StoreUnavailable, match="purge again"):
        await order
    assert one.ledger.applied == 0
    await one.log.order(keys(["b"]))
    assert one.dead("b", log="log-1")
    assert not one.dead("a", log="log-1")


@virtual
async def test_an_order_after_something_else_met_the_new_log_goes_into_it() -> None:
    """It was written there, and refused."""
    sides = Sides()
    (one,) = await sides.open("one")
    held = one.link.hold("read", "there")
    await held.reached.wait()
    sides.server.restart()
    with pytest.raises(StoreUnavailable):
        await one.carrier.roll()
    ordered = await one.log.order(keys(["a"]))
    assert (ordered.sequence, ordered.log) == (1, "log-1")
    held.go.set()


@virtual
async def test_records_read_from_a_log_that_was_lost_meanwhile_are_not_applied_to_the_new_one() -> None:
    """They were: the new ledger stood at the old log's sequence, and the new log's purges up to there were skipped."""
    sides = Sides()
    one, two = await sides.open("one", "two")
    held = two.link.hold("read", "back")
    for number in range(5):
        await one.log.order(keys([f"old{number}"]))
    await held.reached.wait()
    sides.server.restart()
    await until(lambda: one.ledger.log == "log-1")
    await two.carrier._identify()  # as any call of its would
    held.go.set()
    await one.log.order(keys(["new"]))
    await until(lambda: two.ledger.applied == 1)
    assert two.dead("new", log="log-1")
    assert two.dead("old1", 5, "log-0")


@virtual
async def test_a_record_in_the_place_of_one_that_was_applied_is_a_lost_log(caplog: pytest.LogCaptureFixture) -> None:
    """It was taken for one seen before, and what it purged went on living. The server breaks its promise here: it keeps
    its name and forgets.
    """
    sides = Sides()
    one, two = await sides.open("one", "two")
    held = one.link.hold("read", "there")
    await held.reached.wait()
    ordered = await one.log.order(keys(["a"]))  # applied here, ahead of what the log gives
    sides.server.lose(1)
    sides.server_orders("b")
    horizon = one.ledger.horizon()
    held.go.set()
    await until(lambda: one.ledger.log != "log-0")
    assert one.log.blind
    assert "another record at 1" in caplog.text
    assert one.dead("never purged", horizon.sequence)
    with pytest.raises(StoreUnavailable, match="purge again"):
        await one.log.wait_all(ordered)
    await until(lambda: not one.log.blind)
    fresh = one.ledger.horizon()
    assert one.dead("b", 0, fresh.log)
    await two.log.order(keys(["c"]))
    await until(lambda: one.dead("c", fresh.sequence, fresh.log))


@virtual
async def test_an_append_to_a_place_where_another_record_was_applied_is_a_lost_log() -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    await two.log.order(keys(["a"]))
    await until(lambda: one.dead("a"))
    one.link.cut = {"read", "wait"}
    sides.server.lose(1)
    with pytest.raises(StoreUnavailable, match="purge again"):
        await one.log.order(keys(["b"]))
    assert one.dead("never purged", 1)


@virtual
async def test_following_begins_anew_where_the_last_record_can_be_compared() -> None:
    """The server lost the newest record while this node was not reading, and another one took its place."""
    sides = Sides()
    one, two = await sides.open("one", "two")
    await one.log.order(keys(["a"]))
    await until(lambda: two.dead("a"))
    two.link.cut, two.link.error = {"read"}, LogLostError("unreadable")
    await asyncio.sleep(0.3)
    sides.server.lose(1)
    sides.server_orders("b")
    two.link.cut = set()
    held = two.link.hold("read", "there")
    await held.reached.wait()
    assert two.log.blind
    held.go.set()
    await until(lambda: two.ledger.log != "log-0" and not two.log.blind)
    assert two.dead("b", 0, two.ledger.log)
    assert two.dead("never purged", 1)


@virtual
async def test_a_purge_ordered_while_a_node_catches_up_is_in_force_when_it_has_opened() -> None:
    sides = Sides()
    (one,) = await sides.open("one")
    for number in range(3):
        await one.log.order(keys([f"k{number}"]))
    two = sides.make("two")
    await two.carrier.open()
    held = two.link.hold("read", "back")
    opening = asyncio.create_task(two.log.open())
    await held.reached.wait()
    await one.log.order(keys(["a"]))
    held.go.set()
    await opening
    assert two.dead("a", 3)
    assert two.ledger.statistics().floor == 0


@virtual
async def test_an_order_whose_caller_left_is_in_force_where_it_was_written() -> None:
    """The node that took it dies, or its client goes, between the append and the answer."""
    one, two = await Sides().open("one", "two")
    held = one.link.hold("append", "back")
    order = asyncio.create_task(one.log.order(keys(["a"])))
    await held.reached.wait()
    order.cancel()
    await until(lambda: one.dead("a") and two.dead("a"))
    assert one.log.statistics().ordered == 0


@virtual
async def test_what_a_newer_version_wrote_kills_what_is_older_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    sides.server_orders(None)
    await one.log.order(keys(["a"]))
    await until(lambda: two.ledger.applied == 2)
    assert two.dead("never purged", 0)
    assert two.dead("a", 1)
    assert not two.dead("never purged", 1)
    assert [side.log.statistics().unknown for side in (one, two)] == [1, 1]
    told = [record for record in caplog.records if "Update this node" in record.message]
    assert len(told) == 2  # by each node


@virtual
async def test_records_are_heard_in_order_before_later_ones_take_effect() -> None:
    """A claim first: what is in memory without the claimed tag is gone before a purge of that tag."""
    sides = Sides()
    one, two = await sides.open("one", "two")
    heard: list[tuple[int, Effect, int]] = []
    two.log.on_record(lambda logged: heard.append((logged.sequence, logged.record.effect, two.ledger.applied)))
    held = two.link.hold("read", "there")
    await held.reached.wait()
    await one.log.order(keys(["mine"]), effect=Effect.CLAIM, claimed=("team", b"k" * 16))
    await one.log.order(keys(["mine"]))
    held.go.set()
    await until(lambda: two.ledger.applied == 2)
    assert heard == [(1, Effect.CLAIM, 1), (2, Effect.PURGE, 2)]
    assert not two.dead("mine", 2)
    assert two.dead("mine", 1)


@virtual
async def test_a_soft_purge_then_a_hard_one() -> None:
    one, two = await Sides().open("one", "two")
    horizon = two.ledger.horizon()
    await one.log.order(keys(["a"]), effect=Effect.SOFT)
    await until(lambda: two.ledger.applied == 1)
    assert not two.dead("a")
    assert two.ledger.softened(keys(["a"]), horizon) is not None
    await one.log.order(keys(["a"]))
    await until(lambda: two.dead("a"))


@virtual
async def test_a_long_way_to_catch_up_leaves_turns_to_others() -> None:
    sides = Sides()
    (one,) = await sides.open("one")
    tags = keys(f"k{number}" for number in range(256))
    for _ in range(40):
        await one.log.order(tags)
    two = sides.make("two")
    turns: list[int] = []
    loop = asyncio.get_running_loop()
    two.log.on_applied(lambda: loop.call_soon(lambda: turns.append(two.ledger.applied)) and None)
    await two.carrier.open()
    await two.log.open()
    assert turns == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 40]


@virtual
async def test_a_snapshot_is_kept_once_and_what_lies_before_is_forgotten() -> None:
    sides = Sides()
    (one,) = await sides.open("one", snapshot_every=10)
    for number in range(30):
        await one.log.order(keys([f"k{number}"]))
    await until(lambda: sides.server.records[0].sequence > 10)
    (two,) = await sides.open("two")
    assert two.ledger.statistics() == one.ledger.statistics()
    sides.registry.kept.clear()
    (three,) = await sides.open("three")
    assert three.dead("never purged", 5)
    assert not three.dead("never purged", 30)


@virtual
async def test_a_node_that_cannot_follow_stops_taking_purges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_log, "AHEAD", 3)
    sides = Sides()
    (one,) = await sides.open("one")
    one.link.cut = {"read"}
    for number in range(4):
        await one.log.order(keys([f"k{number}"]))
    with pytest.raises(StoreUnavailable, match="cannot follow"):
        await one.log.order(keys(["one more"]))
    one.link.cut = set()
    await until(lambda: sides.server.rows["one"].applied == 4)
    await one.log.order(keys(["one more"]))


def test_what_is_ahead_of_the_follower_is_remembered_however_much_it_is() -> None:
    trail = Trail()
    trail.begin(0)
    for sequence in range(1, 3 * KEPT):
        trail.note(logged(sequence, "ours"))
    trail.confirm(1)
    assert trail.contradicts(logged(2, "another"))
    assert not trail.contradicts(logged(2, "ours"))
    assert not trail.contradicts(logged(3 * KEPT, "new"))
    trail.confirm(2 * KEPT)
    assert not trail.contradicts(logged(2, "another"))  # long past
    assert trail.contradicts(logged(2 * KEPT, "another"))
    assert trail.resume == 2 * KEPT - 1
    trail.begin(5)
    assert trail.resume == 5
    assert repr(trail) == "<Trail confirmed=5 remembered=0>"


def logged(sequence: int, name: str) -> Logged:
    return Logged(sequence, PurgeRecord(name, (), 0.0))
