"""Where weights come from: pinned packages, files of the user, a hub; and a cache folder of what was made of them."""

from edgecache.models.fetch import fetch
from edgecache.models.folders import default_cache
from edgecache.models.pinned import BUILT_IN, MINILM, SMOLLM2, Pin
from edgecache.models.prepared import prepare
from edgecache.models.progress import Bars, Progress, Silent
from edgecache.models.sources import resolve

__all__ = [
    "BUILT_IN",
    "MINILM",
    "SMOLLM2",
    "Bars",
    "Pin",
    "Progress",
    "Silent",
    "default_cache",
    "fetch",
    "prepare",
    "resolve",
]
