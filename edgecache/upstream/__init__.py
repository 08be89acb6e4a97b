"""The providers behind this node: pooled connections, timers, failover, a budget of retries. aiohttp's client lives
here.
"""

from edgecache.upstream.breaker import Breaking, State
from edgecache.upstream.budget import RetryBudget
from edgecache.upstream.pool import UpstreamPool
from edgecache.upstream.reply import Reply
from edgecache.upstream.tally import PoolStatistics, TargetStatistics
from edgecache.upstream.target import Target, Timers

__all__ = [
    "Breaking",
    "PoolStatistics",
    "Reply",
    "RetryBudget",
    "State",
    "Target",
    "TargetStatistics",
    "Timers",
    "UpstreamPool",
]
