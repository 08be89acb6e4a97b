"""`edgecache serve`"""

import asyncio
import sys
from typing import Any

from edgecache.commands.console import Config, err, fail, settings_of
from edgecache.errors import EdgecacheError, Problems
from edgecache.logs import configure
from edgecache.models.progress import Bars


def serve(config: Config = None) -> None:
    """Serve requests until SIGTERM or Ctrl-C."""
    settings = settings_of(config)
    configure(settings.log)
    from edgecache import app as node  # here, so that other commands start without the models' libraries
    from edgecache.weights import cache_folder, preparations

    try:
        with Bars(err) as bars:
            for prepare in preparations(settings.embedding, settings.local, cache_folder(), bars):
                prepare()
        _run(node.run(settings, Bars(err)))
    except Problems as error:
        fail("Cannot start:\n  " + "\n  ".join(error.problems), 2)
    except EdgecacheError as error:
        fail(f"Cannot start: {error}")


def _run(main: Any) -> None:
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
