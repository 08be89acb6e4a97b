"""The providers behind this node: pooled connections, timers, a budget of retries. aiohttp's client lives here."""

from edgecache.upstream.pool import UpstreamPool
from edgecache.upstream.reply import Reply
from edgecache.upstream.tally import PoolStatistics, TargetStatistics
from edgecache.upstream.target import Target, Timers

__all__ = ["PoolStatistics", "Reply", "Target", "TargetStatistics", "Timers", "UpstreamPool"]
