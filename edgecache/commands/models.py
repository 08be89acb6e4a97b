"""`edgecache models`"""

import typer

from edgecache.commands.console import Config, err, fail, out, settings_of
from edgecache.errors import EdgecacheError
from edgecache.logs import configure
from edgecache.models.progress import Bars

models = typer.Typer(help="The models that run on this node.", no_args_is_help=True)


@models.command("prepare")
def prepare(config: Config = None) -> None:
    """Fetch, check and convert the models now, so that the first start needs no network."""
    settings = settings_of(config)
    configure(settings.log)
    from edgecache.weights import cache_folder, preparations

    try:
        with Bars(err) as bars:
            folders = [make() for make in preparations(settings.embedding, settings.local, cache_folder(), bars)]
    except EdgecacheError as error:
        fail(str(error))
    for folder in folders:
        out.print(str(folder))


@models.command("list")
def listing(config: Config = None) -> None:
    """What the callers may call the local model, and where models are kept."""
    from edgecache.weights import cache_folder, local_names

    settings = settings_of(config)
    out.print(f"local model: {', '.join(local_names(settings.local)) or 'none'}")
    out.print(f"embedding: {settings.embedding.model or 'all-MiniLM-L6-v2'} ({settings.embedding.backend})")
    out.print(f"kept in {cache_folder()}")
