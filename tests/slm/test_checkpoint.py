"""Files of strangers: read, or refused with a reason; never a crash."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llama import write_tiny

from edgecache.errors import ModelSourceError
from edgecache.models import Silent
from edgecache.slm import build
from edgecache.slm.checkpoint import Checkpoint
from edgecache.slm.gguf_file import GgufFile
from edgecache.slm.quant import quantise, restore


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny(tmp_path_factory.mktemp("valid") / "tiny.gguf").read_bytes()


def _refused(path: Path, why: str) -> None:
    with pytest.raises(ModelSourceError, match=why):
        build(path, path.parent, Silent())


def test_same_tensors_as_the_gguf_package_reads(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", kind="Q8_0")
    file, reader = GgufFile(path), gguf.GGUFReader(path)
    assert file.tensors.keys() == {tensor.name for tensor in reader.tensors}
    for tensor in reader.tensors:
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(file.load(tensor.name), expected)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Cannot read"),
        (b"GGUF", "are left"),
        (b"not a model at all", "no GGUF magic"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63), "are left"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "are announced"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 8, 2**40), "array of 1099511627776 strings"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 4, 2**40), "are announced"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 9, 1), "array of type 9"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"a", 77), "no value type 77"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"a", 9), "9 dimensions"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"a", 1, 32, 999, 0), "unknown type 999"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"a", 1, 31, 8, 0), "blocks of 32"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"a", 1, 2**62, 0, 0), "are announced"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"a", 1, 32, 0, 2**62), "are announced"),
    ],
)
def test_lengths_that_lie(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    _refused(tmp_path / "bad.gguf", why)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_header(valid: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut anywhere, or with bytes changed: either it still reads, or a `ModelSourceError`."""
    content = bytearray(valid[: data.draw(st.integers(0, len(valid)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, min(len(content) - 1, 9_000)))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "bad.gguf"
    path.write_bytes(content)
    try:
        checkpoint = Checkpoint(path)
        checkpoint.attention_in(0)
        checkpoint.embedding()
    except ModelSourceError:
        return


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"general__architecture": "gpt2"}, "only 'llama'"),
        ({"llama__attention__head_count_kv": 3}, "cannot share 3"),
        ({"llama__attention__head_count_kv": 0}, "not a count"),
        ({"llama__block_count": 3}, "has no tensor blk.2"),
        ({"llama__block_count": 1}, "no place for"),
        ({"llama__feed_forward_length": 64}, "has the shape"),
        ({"llama__rope__dimension_count": 8}, "part of a head"),
        ({"llama__rope__scaling__type": "yarn"}, "only linear scaling"),
        ({"llama__attention__layer_norm_rms_epsilon": -1.0}, "not a positive number"),
        ({"tokenizer__ggml__model": "bert"}, "its kind is 'bert'"),
        ({"tokenizer__ggml__pre": "no-such-rule"}, "splitting rule"),
        ({"tokenizer__chat_template": "{% for %}"}, "chat template"),
        ({"tokenizer__chat_template": ""}, "chat template"),
    ],
)
def test_what_cannot_be_run_is_refused(metadata: dict[str, object], why: str, tmp_path: Path) -> None:
    """The metadata of a valid file, changed after it was read."""
    file = GgufFile(write_tiny(tmp_path / "tiny.gguf"))
    changed = {key.replace("__", "."): value for key, value in metadata.items()}
    with pytest.MonkeyPatch.context() as patch:

        def reopened(path: Path) -> GgufFile:
            file.metadata.update(changed)
            return file

        patch.setattr("edgecache.slm.checkpoint.GgufFile", reopened)
        _refused(tmp_path / "tiny.gguf", why)


def test_folder_with_several_files(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a.gguf")
    write_tiny(tmp_path / "b.gguf")
    with pytest.raises(ModelSourceError, match="holds 2 GGUF files"):
        build(tmp_path, tmp_path, Silent())


@pytest.mark.parametrize(("bits", "block", "error"), [(4, 32, 0.08), (8, 64, 0.0065), (8, 32, 0.006)])
def test_packing_loses_little(bits: int, block: int, error: float) -> None:
    weights = np.random.default_rng(0).standard_normal((8, 128)).astype(np.float32)
    lost = restore(quantise(weights, bits, block)) - weights
    assert np.sqrt((lost**2).mean()) < error


def test_packing_keeps_zeros_and_q8_exactly() -> None:
    weights = np.zeros((2, 64), np.float32)
    weights[1, :32] = np.arange(-127, 128, 8, dtype=np.float32) * 0.5
    weights[1, 0] = -63.5
    for bits in (4, 8):
        assert not restore(quantise(weights, bits))[0].any()
    np.testing.assert_array_equal(restore(quantise(weights, 8)), weights)


def test_rows_that_are_no_whole_blocks() -> None:
    with pytest.raises(ModelSourceError, match="whole blocks"):
        quantise(np.zeros((2, 40), np.float32), 8)
