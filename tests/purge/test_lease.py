"""Leases and `wait=all`: who is waited for, for how long, and who serves nothing meanwhile. A scenario per race, in
virtual time: each message can be held on its way.
"""

import asyncio

import pytest
from purge_links import LEASE, Sides, until, virtual

from edgecache.core.ports import Heard
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import StoreUnavailable
from edgecache.purge.lease import MARGIN, Lease
from edgecache.purge.roll import Nodes
from edgecache.testing.simulated_log import UNKNOWN

SOON = 0.025
"""Seconds in which a purge is applied everywhere where nothing is amiss."""
A_RECORD = [Logged(1, PurgeRecord("id", (), 0.0))]


def now() -> float:
    return asyncio.get_running_loop().time()


# --- the lease ----------------------------------------------------------------------------------------------------


def test_a_lease_runs_from_when_the_read_was_sent() -> None:
    lease = Lease()
    assert lease.left(0.0, LEASE) < 0
    lease.heard(Heard(10.0, []))
    assert lease.left(11.5, LEASE) == pytest.approx(0.5)
    lease.end()
    assert lease.left(11.5, LEASE) < 0


def test_a_lease_that_lasts_for_ever_needs_no_proof() -> None:
    assert Lease().left(5.0, float("inf")) == float("inf")


def test_what_brought_records_counts_from_the_reply_before() -> None:
    lease = Lease()
    lease.heard(Heard(10.0, []))
    lease.heard(Heard(11.0, A_RECORD))
    assert lease.left(11.0, LEASE) == pytest.approx(1.0)
    lease.heard(Heard(11.1, A_RECORD))
    assert lease.left(11.1, LEASE) == pytest.approx(1.9)


def test_after_silence_records_alone_give_no_lease() -> None:
    """Who is about to strike this node may have been waiting for the very record that came."""
    lease = Lease()
    lease.heard(Heard(10.0, []))
    lease.heard(Heard(20.0, A_RECORD))
    assert lease.left(20.0, LEASE) < 0
    lease.heard(Heard(20.1, []))
    assert lease.left(20.1, LEASE) == LEASE


def test_an_older_reply_takes_nothing_back() -> None:
    lease = Lease()
    lease.heard(Heard(10.0, []))
    lease.heard(Heard(float("-inf"), A_RECORD))  # a part of what there is
    lease.heard(Heard(11.0, A_RECORD))
    assert lease.left(11.0, LEASE) == pytest.approx(1.0)


@virtual
async def test_a_node_serves_for_a_lease_after_its_last_read_and_again_when_it_is_up_to_date() -> None:
    (one,) = await Sides().open("one")
    assert not one.log.blind
    one.link.cut = None
    cut = now()
    await until(lambda: one.log.blind)
    assert LEASE - 0.3 < now() - cut <= LEASE + 0.01
    assert one.log.statistics().lease_left == 0.0
    one.link.cut = set()
    await until(lambda: not one.log.blind)
    assert one.log.statistics().lease_left > LEASE - 0.1


@virtual
async def test_a_node_that_starts_has_heard_that_it_is_up_to_date() -> None:
    sides = Sides()
    (one,) = await sides.open("one")
    for number in range(5):
        await one.log.order(keys([f"k{number}"]))
    two = sides.make("two")
    await two.carrier.open()
    assert two.log.blind
    await two.log.open()
    assert not two.log.blind
    assert two.ledger.applied == 5


@virtual
async def test_a_node_that_cannot_hear_does_not_start() -> None:
    two = Sides().make("two")
    await two.carrier.open()
    two.link.cut = {"wait"}
    held = two.link.hold("read", "back")  # of catching up
    opening = asyncio.create_task(two.log.open())
    await held.reached.wait()
    two.link.cut = {"read"}
    held.go.set()
    with pytest.raises(StoreUnavailable):
        await opening
    await two.log.close()


@virtual
async def test_a_lost_log_ends_the_lease_until_the_new_one_is_known(caplog: pytest.LogCaptureFixture) -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    await one.log.order(keys(["a"]))
    sides.server.restart()
    held = one.link.hold("read", "there")
    await held.reached.wait()
    second = one.link.hold("read", "back")
    held.go.set()
    await until(lambda: one.ledger.log == "log-1")
    assert one.log.blind
    assert one.dead("never purged")
    await until(lambda: not two.log.blind and two.ledger.log == "log-1")
    await second.reached.wait()
    assert one.log.blind
    second.go.set()
    await until(lambda: not one.log.blind)
    assert "all that was cached is dead" in caplog.text


@virtual
async def test_an_order_that_finds_another_log_ends_the_lease() -> None:
    """What follows the log has not noticed yet."""
    sides = Sides()
    (one,) = await sides.open("one")
    held = one.link.hold("wait", "back")
    await held.reached.wait()
    sides.server.restart()
    await one.log.order(keys(["a"]))
    assert one.log.blind
    held.go.set()
    await until(lambda: not one.log.blind)


# --- wait=all -----------------------------------------------------------------------------------------------------


@virtual
async def test_all_nodes_have_applied_it_when_it_answers() -> None:
    sides = await Sides().open("one", "two", "three")
    began = now()
    ordered = await sides[0].log.order(keys(["a"]))
    assert await sides[0].log.wait_all(ordered) == Nodes(3, 0)
    assert now() - began <= SOON
    assert all(side.dead("a") for side in sides)


@virtual
async def test_a_cut_off_node_is_waited_for_until_it_is_blind() -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    two.link.cut = None
    ordered = await one.log.order(keys(["a"]))
    assert await one.log.wait_all(ordered) == Nodes(1, 1)
    assert now() > ordered.at + MARGIN * LEASE
    assert two.log.blind
    assert not two.dead("a")


@virtual
async def test_a_dead_node_delays_one_purge_only() -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    two.link.cut = None
    await one.log.wait_all(await one.log.order(keys(["a"])))
    await until(lambda: one.log.statistics().struck == 1)
    began = now()
    assert await one.log.wait_all(await one.log.order(keys(["b"]))) == Nodes(1, 0)
    assert now() - began <= SOON
    two.link.cut = set()
    await until(lambda: not two.log.blind)
    assert await one.log.wait_all(await one.log.order(keys(["c"]))) == Nodes(2, 0)


@virtual
async def test_a_delayed_reply_does_not_extend_the_lease_after_wait_all_has_answered() -> None:
    """It left the server before the purge, and arrives when the purge was acknowledged."""
    one, two = await Sides().open("one", "two")
    late = two.link.hold("read", "back")
    await late.reached.wait()
    ordered = await one.log.order(keys(["a"]))
    assert await one.log.wait_all(ordered) == Nodes(1, 1)
    blind_until_applied: list[bool] = []
    late.go.set()
    while not two.dead("a"):
        blind_until_applied.append(two.log.blind)
        await asyncio.sleep(0.0005)
    assert len(blind_until_applied) > 1
    assert all(blind_until_applied)
    await until(lambda: not two.log.blind)


@virtual
async def test_a_node_that_joins_while_a_purge_waits_has_read_it() -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    two.link.cut = None
    ordered = await one.log.order(keys(["a"]))
    waiting = asyncio.create_task(one.log.wait_all(ordered))
    await asyncio.sleep(0.1)
    (three,) = await sides.open("three")
    assert three.dead("a")
    assert not waiting.done()
    assert await waiting == Nodes(2, 1)


@virtual
async def test_a_node_that_joined_before_the_look_and_reads_on_is_waited_for() -> None:
    """It is on the roll by the read whose reply is still on its way, and has the purge not yet."""
    sides = Sides()
    (one,) = await sides.open("one")
    two = sides.make("two")
    await two.carrier.open()
    held = two.link.hold("read", "back")
    opening = asyncio.create_task(two.log.open())
    await held.reached.wait()
    ordered = await one.log.order(keys(["a"]))
    waiting = asyncio.create_task(one.log.wait_all(ordered))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    held.go.set()
    await opening
    assert two.dead("a")
    assert await waiting == Nodes(2, 0)


@virtual
async def test_a_look_at_the_roll_counts_for_what_was_appended_before_it_only() -> None:
    """It shows nobody: the node that looks is not heard of itself. One that joined behind the look has a lease."""
    sides = Sides()
    (one,) = await sides.open("one")
    one.link.cut = {"read", "wait"}
    del sides.server.rows["one"]
    look = one.link.hold("roll", "back")
    first = asyncio.create_task(one.log.wait_all(await one.log.order(keys(["first"]))))
    await look.reached.wait()
    (two,) = await sides.open("two")
    held = two.link.hold("read", "there")
    await held.reached.wait()
    second = asyncio.create_task(one.log.wait_all(await one.log.order(keys(["second"]))))
    await asyncio.sleep(0)  # it waits
    look.go.set()
    assert await first == Nodes(1, 0)
    await asyncio.sleep(0.1)
    assert not two.log.blind
    assert not second.done()
    held.go.set()
    assert await second == Nodes(1, 0)
    assert two.dead("second", 1)


@virtual
async def test_a_node_that_dies_between_applying_and_saying_so_is_waited_for() -> None:
    one, two = await Sides().open("one", "two")
    two.log.on_applied(lambda: setattr(two.link, "cut", None))
    ordered = await one.log.order(keys(["a"]))
    waiting = asyncio.create_task(one.log.wait_all(ordered))
    await until(lambda: two.dead("a"))
    assert await waiting == Nodes(1, 1)
    assert two.log.blind


@virtual
async def test_each_node_is_waited_for_by_its_own_lease() -> None:
    sides = Sides()
    (one,) = await sides.open("one", lease=1.0)
    (two,) = await sides.open("two", lease=3.0)
    two.link.cut = None
    ordered = await one.log.order(keys(["a"]))
    assert await one.log.wait_all(ordered) == Nodes(1, 1)
    assert now() > ordered.at + MARGIN * 3.0
    assert two.log.blind


@virtual
async def test_without_the_roll_the_longest_lease_is_waited_out() -> None:
    sides = Sides()
    (one,) = await sides.open("one", lease=1.0)
    (two,) = await sides.open("two", lease=3.0)
    await one.log.wait_all(await one.log.order(keys(["known"])))
    two.link.cut, one.link.cut = None, {"roll"}
    ordered = await one.log.order(keys(["a"]))
    assert await one.log.wait_all(ordered) == Nodes(1, 0)
    assert now() > ordered.at + MARGIN * 3.0
    assert two.log.blind


@virtual
async def test_a_roll_that_never_answers_is_not_waited_for_longer_than_that() -> None:
    (one,) = await Sides().open("one")
    one.link.hold("roll", "back")
    ordered = await one.log.order(keys(["a"]))
    assert await one.log.wait_all(ordered) == Nodes(1, 0)
    assert MARGIN * LEASE < now() - ordered.at < MARGIN * LEASE + 0.1
    await one.log.close()


@virtual
async def test_a_node_that_orders_and_is_cut_off_counts_itself_as_blind() -> None:
    one, _ = await Sides().open("one", "two")
    ordered = await one.log.order(keys(["a"]))
    one.link.cut = None
    assert await one.log.wait_all(ordered) == Nodes(0, 1)
    assert one.log.blind


@virtual
async def test_a_node_that_orders_and_cannot_follow_is_blind_among_the_others() -> None:
    one, two = await Sides().open("one", "two")
    one.link.cut = {"read", "wait"}
    await until(lambda: one.log.blind)
    ordered = await two.log.order(keys(["first"]))
    one.link.cut = {"wait"}
    await until(lambda: one.dead("first"))
    one.link.cut = {"read", "wait"}
    ordered = await one.log.order(keys(["a"]))
    assert await one.log.wait_all(ordered) == Nodes(1, 1)
    assert two.dead("a")


@virtual
async def test_a_log_that_is_lost_while_nodes_are_waited_for_answers_nothing() -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    two.link.cut = None
    ordered = await one.log.order(keys(["a"]))
    waiting = asyncio.create_task(one.log.wait_all(ordered))
    await asyncio.sleep(0.1)
    sides.server.restart()
    with pytest.raises(StoreUnavailable, match="purge again"):
        await waiting
    with pytest.raises(StoreUnavailable, match="purge again"):
        await one.log.wait_all(ordered)
    assert one.log.progress(ordered.record.id) is None


@virtual
async def test_the_roll_of_another_log_says_nothing_of_this_one() -> None:
    """It was taken for this log's, where the look itself was the first to meet the new log: those who had applied as
    many purges there counted as having applied this one, and the others were struck.
    """
    sides = Sides()
    one, two = await sides.open("one", "two")
    held = one.link.hold("read", "there")
    await held.reached.wait()
    two.link.cut = None
    ordered = await one.log.order(keys(["a"]))
    waiting = asyncio.create_task(one.log.wait_all(ordered))
    await asyncio.sleep(0.1)
    sides.server.restart()
    two.link.cut = set()
    await until(lambda: two.ledger.log == "log-1" and not two.log.blind)
    with pytest.raises(StoreUnavailable, match="purge again"):
        await waiting
    assert one.ledger.log == "log-1"
    assert one.log.statistics().struck == 0
    held.go.set()
    await until(lambda: not one.log.blind)


@virtual
async def test_a_new_log_waits_for_those_who_may_serve_by_the_one_before() -> None:
    sides = Sides()
    one, two = await sides.open("one", "two")
    two.link.cut = None
    sides.server.restart()
    await until(lambda: one.ledger.log == "log-1" and not one.log.blind)
    assert not two.log.blind
    ordered = await one.log.order(keys(["a"]))
    assert (await one.log.wait_all(ordered)).blind == 1
    assert two.log.blind


@virtual
async def test_closing_ends_all_waiting() -> None:
    one, two = await Sides().open("one", "two")
    two.link.cut = None
    waiting = asyncio.create_task(one.log.wait_all(await one.log.order(keys(["a"]))))
    await asyncio.sleep(0.1)
    await one.log.close()
    with pytest.raises(StoreUnavailable):
        await waiting


@virtual
async def test_one_look_at_the_roll_serves_all_who_wait() -> None:
    one, two = await Sides().open("one", "two")
    two.link.cut = None
    orders = [await one.log.order(keys([f"k{n}"])) for n in range(50)]
    one.link.calls.clear()
    found = await asyncio.gather(*(one.log.wait_all(ordered) for ordered in orders))
    assert set(found) == {Nodes(1, 1)}
    assert one.link.calls["roll"] <= 1.1 * MARGIN * LEASE / 0.02


@virtual
async def test_nobody_looks_at_the_roll_while_nobody_waits() -> None:
    one, _ = await Sides().open("one", "two")
    await one.log.wait_all(await one.log.order(keys(["a"])))
    one.link.calls.clear()
    await asyncio.sleep(5)
    assert one.link.calls["roll"] == 0
    assert one.link.calls["read"] > 10


@virtual
async def test_a_member_that_stands_for_unknown_nodes_goes_when_there_can_be_none() -> None:
    sides = Sides()
    one = sides.make("one")
    await one.carrier.open()
    assert UNKNOWN in sides.server.rows
    await one.log.open()
    await asyncio.sleep(2 * LEASE)
    assert await one.log.wait_all(await one.log.order(keys(["a"]))) == Nodes(1, 0)
