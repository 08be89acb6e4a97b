"""What a user may write where a model is asked for: a built-in name, a path, or a repository of Hugging Face."""

from pathlib import Path

from edgecache.errors import ModelSourceError
from edgecache.models.fetch import fetch
from edgecache.models.pinned import BUILT_IN
from edgecache.models.progress import Progress

_HUB = "hf:"


def resolve(model: str, cache: Path, progress: Progress) -> Path:
    """The file or folder that `model` means, on this machine when the call returns. Blocks.

    `model` is a built-in name, `hf:owner/name` (all files) or `hf:owner/name/path/of/file` (that file), or a path.
    Hub downloads go where the hub's own settings (`HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`) say.

    Raises:
        ModelSourceError: with what to do next.
    """
    pin = BUILT_IN.get(model.lower())
    if pin is not None:
        return fetch(pin, cache, progress)
    if model.startswith(_HUB):
        return _from_hub(model.removeprefix(_HUB))
    path = Path(model).expanduser()
    if not path.exists():
        names = ", ".join(sorted(BUILT_IN))
        raise ModelSourceError(
            f"There is no model {model!r}: it is neither a file, nor a folder, nor one of {names}. "
            "A repository of Hugging Face is written hf:owner/name."
        )
    return path


def _from_hub(repository: str) -> Path:
    owner, _, rest = repository.partition("/")
    name, _, inside = rest.partition("/")
    if not owner or not name:
        raise ModelSourceError(f"A repository of Hugging Face is written hf:owner/name, not hf:{repository}.")
    folder = _snapshot(f"{owner}/{name}", inside)
    path = folder / inside
    if not path.exists():
        raise ModelSourceError(f"The repository {owner}/{name} has no file {inside!r}.")
    return path


def _snapshot(repository: str, inside: str) -> Path:
    # Here, since importing them takes longer than all the rest of a command that loads no model.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=[inside] if inside else None))
    except GatedRepoError as error:
        raise ModelSourceError(
            f"{repository} asks for its terms to be accepted: do so on its page, then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelSourceError(
            f"There is no repository {repository} on the hub, or it is private: check the name, or set HF_TOKEN."
        ) from error
    except HFValidationError as error:
        raise ModelSourceError(f"{repository} cannot be the name of a repository: {error}") from error
    except Exception as error:
        raise ModelSourceError(
            f"Could not download {repository}: {error} Check the network and HF_ENDPOINT, or give the path of a model "
            "that is on this machine."
        ) from error
