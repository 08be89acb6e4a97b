"""What the log does inside the server: Lua, one script for each step, on keys of one hash slot, so that nothing can
come between looking and doing.

KEYS: the state of the log, its records, the nodes that follow it. ARGV[1] is the identity that the caller knows, but
for OPEN. A script answers nil where the log is another one; then OPEN says which.

A server that was started anew, or was a replica, may lack purges that were acknowledged, and nothing in its data would
say so. So the log belongs to one run of one server (`run_id`): under another one it gets another name, and begins
empty.
"""

from edgecache.core.ports import UNKNOWN
from edgecache.storage.redis_client import EVEN_WHEN_FULL

TOO_SOON = 4
"""Seconds: `min-replicas-max-lag` 2, and 2 for Redis to look at it. For so long a primary that was replaced at once may
go on proving to nodes that there is nothing new.
"""

_SERVER = f"""{EVEN_WHEN_FULL}
local info = redis.call('INFO', 'server', 'replication')
local run = string.match(info, 'run_id:(%x+)')
local replicas = select(2, string.gsub(info, 'state=online', ''))
"""
_SAME = f"""{_SERVER}
local state = redis.call('HMGET', KEYS[1], 'identity', 'run', 'sequence')
if state[1] ~= ARGV[1] or state[2] ~= run then return false end
local newest = tonumber(state[3])
"""

# A fresh identity, the lease of a log without replicas and of one that has some, in seconds. Identity, replicas, and
# the row of UNKNOWN, '' where there is none.
OPEN = f"""{_SERVER}
local state = redis.call('HMGET', KEYS[1], 'identity', 'run')
if state[1] and state[2] == run then
    return {{state[1], replicas, redis.call('HGET', KEYS[3], '{UNKNOWN}') or ''}}
end
local lease = tonumber(replicas > 0 and ARGV[3] or ARGV[2])
for _, row in ipairs(redis.call('HVALS', KEYS[3])) do
    lease = math.max(lease, tonumber(string.match(row, '^%d+ (%S+)')) or 0)
end
if (string.match(info, 'second_repl_offset:(%-?%d+)') or '-1') ~= '-1' then lease = lease + {TOO_SOON} end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'identity', ARGV[1], 'run', run, 'sequence', 0)
local row = '0 ' .. lease .. ' ' .. ARGV[1]
redis.call('HSET', KEYS[3], '{UNKNOWN}', row)
return {{ARGV[1], replicas, row}}
"""
# A record. Its sequence, replicas.
APPEND = f"""{_SAME}
local sequence = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'sequence', 1))
redis.call('XADD', KEYS[2], sequence .. '-0', 'record', ARGV[2])
return {{tonumber(sequence), replicas}}
"""
# After what, how many, the record that stood there ('' for unknown), the reader's name, its row, 1 to strike UNKNOWN.
# Records, replicas. Where the server may not write (a replica; a primary cut off from its own), this is an error.
READ = f"""{_SAME}
local after = tonumber(ARGV[2])
local next = redis.call('XRANGE', KEYS[2], string.format('%.0f', after + 1) .. '-0', '+', 'COUNT', ARGV[3])
local last = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')
local rewritten = ARGV[4] ~= '' and last[1] and last[1][2][2] ~= ARGV[4]
if newest < after or rewritten or (newest > after and not next[1]) then
    redis.call('HDEL', KEYS[1], 'identity')
    return false
end
redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
if ARGV[7] == '1' then redis.call('HDEL', KEYS[3], '{UNKNOWN}') end
return {{next, replicas}}
"""
# Names and rows, alternating.
ROLL = f"""{_SAME}
return redis.call('HGETALL', KEYS[3])
"""
# Up to which sequence. How many were there.
TRIM = f"""{_SAME}
local keep = math.min(tonumber(ARGV[2]) + 1, newest)
return redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', keep) .. '-0')
"""
# KEYS: the nodes. A name, and the row it must have.
STRIKE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
"""
