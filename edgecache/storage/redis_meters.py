"""What nodes spent, saved and counted against limits, in Redis: hashes of whole numbers."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from edgecache.core.limits import Bound, Count, Counter, Debt, Most, Taken
from edgecache.core.prices import Spend
from edgecache.storage.meter_lines import COUNTS, EVER, MOST, NODES_KEPT, ROUTES, lines, spend
from edgecache.storage.redis_client import EVEN_WHEN_FULL, Command, RedisClient, script_command

DAY = 86_400
PAGE = 1_000
"""Fields that are read at once."""
BATCH = 200
"""Scripts that are sent at once."""
LATE = 3_600
"""Seconds for which a count is kept after its window, at least: what is owed to it may still come."""

# KEYS: the node's last batch, then the periods. The batch's number, how long the first key is kept (seconds), fields of
# a period; then for each line: which period, how long that is kept (0 for ever), a name, that of all others, counts.
_ADD = f"""{EVEN_WHEN_FULL}
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return end
for at = 4, #ARGV, {COUNTS + 4} do
    local key, name = KEYS[tonumber(ARGV[at])], ARGV[at + 2]
    if redis.call('HLEN', key) >= tonumber(ARGV[3])
            and redis.call('HEXISTS', key, name .. 0) + redis.call('HEXISTS', key, name .. {COUNTS // 2}) == 0 then
        name = ARGV[at + 3]
    end
    for count = 0, {COUNTS - 1} do
        local more = ARGV[at + 4 + count]
        if more ~= '0' then redis.call('HINCRBY', key, name .. count, more) end
    end
    if ARGV[at + 1] ~= '0' then redis.call('EXPIRE', key, ARGV[at + 1], 'NX') end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
"""
# KEYS: the node's last debt to this scope, counters with a bound, counters to which something is owed. The debt's
# number, how long the first key is kept (seconds), how many have a bound; for each its bounds ('' for none) and how
# long it is kept; for each other what is owed, and how long it is kept.
_TAKE = f"""{EVEN_WHEN_FULL}
local function add(key, requests, tokens, money, seconds)
    redis.call('HINCRBY', key, 'r', requests)
    redis.call('HINCRBY', key, 't', tokens)
    redis.call('HINCRBY', key, 'm', money)
    redis.call('EXPIRE', key, seconds, 'NX')
end
local function reached(count, most)  -- as digits: Lua's numbers are exact to 2^53 only
    return #count > #most or (#count == #most and count >= most)
end
local bounds = tonumber(ARGV[3])
if #KEYS > bounds + 1 and tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
    for number = bounds + 1, #KEYS - 1 do
        local at = 4 * number
        add(KEYS[number + 1], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
    end
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
local admitted, counts = 1, {{}}
for number = 1, bounds do
    for place, count in ipairs(redis.call('HMGET', KEYS[number + 1], 'r', 't', 'm')) do
        count = count or '0'
        local most = ARGV[4 * number - 1 + place]
        if most ~= '' and reached(count, most) then admitted = 0 end
        table.insert(counts, count)
    end
end
if admitted == 1 then
    for number = 1, bounds do add(KEYS[number + 1], 1, 0, 0, ARGV[4 * number + 3]) end
end
return {{admitted, counts}}
"""


class RedisMeters:
    """The port `Meters`. All spend is in one slot of a Cluster, the counts of each scope in one of their own."""

    def __init__(self, client: RedisClient, prefix: str, most: int = MOST) -> None:
        self._client = client
        self._prefix = prefix
        self._most = most

    def __repr__(self) -> str:
        return f"<RedisMeters {self._prefix} {self._client!r}>"

    # --- spend ----------------------------------------------------------------------------------------------------

    async def add(self, node: str, number: int, rows: Sequence[Spend]) -> None:
        added = lines(rows)
        periods = {period: at for at, period in enumerate(dict.fromkeys(line.period for line in added), 2)}
        words: list[Any] = [number, NODES_KEPT * DAY, self._most * COUNTS]
        for line in added:
            words += (periods[line.period], line.days * DAY, line.name, line.others, *line.counts)
        keys = [self._spend(f"node:{node}"), *map(self._spend, periods)]
        await self._client.run(_ADD, keys, *words)

    async def scopes(self, day: str = "") -> Sequence[Spend]:
        return await self._read(day or EVER, day)

    async def days(self, days: Sequence[str]) -> Sequence[Spend]:
        return [row for day in days for row in await self._read(ROUTES + day, day)]

    async def _read(self, period: str, day: str) -> Sequence[Spend]:
        fields: dict[bytes, bytes] = {}
        cursor: Any = None
        while cursor is None or int(cursor):
            cursor, page = await self._client.call("HSCAN", self._spend(period), cursor or 0, "COUNT", PAGE)
            fields.update(page if isinstance(page, dict) else zip(page[::2], page[1::2], strict=True))
        return await asyncio.to_thread(_spend, day, fields)

    def _spend(self, part: str) -> str:
        return f"{{{self._prefix}:spend}}:{part}"

    # --- limits ---------------------------------------------------------------------------------------------------

    async def take(self, bounds: Sequence[Bound], debt: Debt) -> Taken:
        admitted, counts = await self._client.call(*self._take(bounds, debt))
        numbers = [int(count) for count in counts]
        return Taken(bool(admitted), tuple(Count(*numbers[at : at + 3]) for at in range(0, len(numbers), 3)))

    async def charge(self, debts: Sequence[Debt]) -> None:
        commands = [self._take((), debt) for debt in debts]
        for at in range(0, len(commands), BATCH):
            await self._client.batch(commands[at : at + BATCH])

    def _take(self, bounds: Sequence[Bound], debt: Debt) -> Command:
        words: list[Any] = [debt.number, DAY, len(bounds)]
        for bound in bounds:
            words += (*_most(bound.most), _kept(bound.counter))
        for counter, count in debt.counts.items():
            words += (count.requests, count.tokens, count.money, _kept(counter))
        slot = self._slot(debt.scope)
        counters = (*(bound.counter for bound in bounds), *debt.counts)
        keys = [f"{slot}:node:{debt.node}", *(f"{slot}:{each.limit}:{each.window}" for each in counters)]
        return script_command(_TAKE, keys, *words)

    def _slot(self, scope: str) -> str:
        """A scope may be called anything, so its digest stands for it."""
        digest = hashlib.blake2b(scope.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        return f"{{{self._prefix}:limit:{digest}}}"


def _most(most: Most) -> list[Any]:
    return ["" if bound is None else bound for bound in (most.requests, most.tokens, most.money)]


def _kept(counter: Counter) -> int:
    """Seconds, from the first count in a window."""
    return int(counter.per) + 1 + LATE


def _spend(day: str, fields: Mapping[bytes, bytes]) -> Sequence[Spend]:
    """A field is a line's name and, as its last digit, which count it is."""
    found: dict[bytes, list[int]] = defaultdict(lambda: [0] * COUNTS)
    for field, count in fields.items():
        found[field[:-1]][int(field[-1:])] = int(count)
    return [spend(day, name.decode(), counts) for name, counts in found.items()]
