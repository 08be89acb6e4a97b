"""Orders and what may come between: a scenario per race of the log, in virtual time. Messages can be held on the way."""

import asyncio

import pytest
from purge_links import Sides, until, virtual

from edgecache.core.purges import Effect
from edgecache.core.tags import keys
from edgecache.errors import StoreUnavailable
from edgecache.purge import log as purge_log
from edgecache.testing.simulated_log import LogLostError


@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
@virtual
