"""The policy in force: read from the owner's folder, or the one that travels in the wheel, and reloaded on demand."""

import logging
import threading
from importlib import resources
from pathlib import Path

from edgecache.core.policy import Policy, parse_policy
from edgecache.errors import InvalidPolicy

DEFAULT = "default.toml"

_log = logging.getLogger("edgecache.policy")


class PolicyBook:
    """`folder` overrides the default policy if it holds any `*.toml`. `upstreams` are the configured names.
    `generation` changes with every policy put in force.
    """

    def __init__(self, folder: Path, upstreams: tuple[str, ...]) -> None:
        self._folder = folder
        self._upstreams = upstreams
        self.policy = Policy((), "none")
        self.generation = 0
        self._loading = threading.Lock()

    def load(self) -> Policy:
        """Read and put in force. Blocking; call it from a worker thread once serving.

        Raises:
            InvalidPolicy: all problems; what was in force stays.
        """
        with self._loading:  # so that of two reloads the one that read last is in force
            policy = parse_policy(read_policies(self._folder), self._upstreams)
            self.policy = policy
            self.generation += 1
        _log.info("policy %s in force: %d rules", policy.digest, len(policy.routes))
        return policy

    def __repr__(self) -> str:
        return f"<PolicyBook {self.policy.digest} rules={len(self.policy.routes)} generation={self.generation}>"


def read_policies(folder: Path) -> dict[str, bytes]:
    """The owner's files, or the default policy where there are none.

    Raises:
        InvalidPolicy: a file cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
        if paths:
            return {path.name: path.read_bytes() for path in paths}
    except FileNotFoundError as error:
        if folder.is_dir():  # a file went while they were read
            raise InvalidPolicy([f"{error.filename}: {error.strerror}"]) from None
    except OSError as error:
        raise InvalidPolicy([f"{error.filename}: {error.strerror}"]) from None
    return {DEFAULT: resources.files("edgecache.data").joinpath(DEFAULT).read_bytes()}
