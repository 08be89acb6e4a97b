"""May this answer be served for this question? The threshold of the route, then the gate."""

from edgecache.decide.decider import Decider, DeciderStatistics
from edgecache.decide.gate import compare
from edgecache.decide.language import embeddable

__all__ = ["Decider", "DeciderStatistics", "compare", "embeddable"]
