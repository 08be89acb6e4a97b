"""What can be converted, and what is refused."""

import asyncio
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from embedding_backends import write_published_folder

from edgecache.embedding import VERSION, OnnxEmbedder, build
from edgecache.embedding.convert import ABOUT, About
from edgecache.embedding.weights import Shape, Weights, read_limit
from edgecache.errors import ModelSourceError
from edgecache.models import Silent, prepare

QUESTION = "Why is the sky blue?"


class Steps:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def step(self, label: str, done: int, total: int) -> None:
        self.seen.append((done, total))


@pytest.fixture
def published(source: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    write_published_folder(source, folder)
    return folder


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


async def vector_of(folder: Path) -> tuple[str, bytes | None]:
    embedder = OnnxEmbedder(lambda: folder)
    await embedder.open()
    try:
        return embedder.identity, await embedder.embed(QUESTION)
    finally:
        await embedder.close()


async def test_prepared_once_and_opened_from_the_cache(
    source: Path, tmp_path: Path, reference: dict[str, bytes]
) -> None:
    steps = Steps()
    for _ in range(2):
        embedder = OnnxEmbedder(lambda: prepare(source, tmp_path, "minilm", VERSION, build, steps))
        await embedder.open()
        vector = await embedder.embed(QUESTION)
        await embedder.close()
        assert np.frombuffer(vector or b"", "<f4") @ np.frombuffer(reference[QUESTION], "<f4") >= 0.9999
    assert steps.seen == [(done, 3) for done in range(4)]


def convert(published: Path) -> Path:
    out = published.with_name("out")
    out.mkdir()
    build(published, out, Silent())
    return out


async def test_the_folder_its_authors_publish_gives_the_same_identity(published: Path, converted: Path) -> None:
    out = await asyncio.to_thread(convert, published)
    assert await vector_of(out) == await vector_of(converted)


async def test_another_shape_is_another_identity(published: Path, converted: Path) -> None:
    await asyncio.to_thread(change, published / "config.json", layer_norm_eps=1e-3)
    changed, same = await vector_of(await asyncio.to_thread(convert, published)), await vector_of(converted)
    assert changed[0] != same[0]
    assert changed[1] != same[1]


def test_whoever_may_read_the_graph_may_read_the_weights(converted: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in converted.iterdir()} == {
        stat.S_IMODE((converted / ABOUT).stat().st_mode)
    }


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0, 0.25]], "<f2")
    header = json.dumps({"__metadata__": {}, "t": {"dtype": "F16", "shape": [1, 3], "data_offsets": [0, 6]}}).encode()
    path = tmp_path / "weights"
    path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    weights = Weights(path)
    assert weights["t"].dtype == np.float32
    assert weights["t"].tolist() == [[1.5, -2.0, 0.25]]
    assert list(weights) == ["t"]
    with pytest.raises(ModelSourceError, match="no tensor 'other'"):
        weights["other"]


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config.json", {"model_type": "roberta"}, "not a BERT"),
        ("config.json", {"hidden_act": "relu"}, "not a BERT"),
        ("config.json", {"num_hidden_layers": 5}, "do not fit"),
        ("config.json", {"num_hidden_layers": 7}, "no tensor 'encoder.layer.6"),
        ("config.json", {"hidden_size": 768}, "do not fit"),
        ("config.json", {"hidden_size": "wide"}, r"config\.json cannot be read"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "not means"),
    ],
)
def test_other_models_are_refused(
    published: Path, tmp_path: Path, file: str, values: dict[str, object], message: str
) -> None:
    change(published / file, **values)
    with pytest.raises(ModelSourceError, match=message):
        build(published, tmp_path, Silent())


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{]"])
def test_broken_weights_are_refused(published: Path, tmp_path: Path, content: bytes) -> None:
    (published / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelSourceError, match="no safetensors file"):
        build(published, tmp_path, Silent())


def test_a_folder_without_tokenizer_is_refused(published: Path, tmp_path: Path) -> None:
    (published / "tokenizer.json").unlink()
    with pytest.raises(ModelSourceError, match=r"no tokenizer\.json"):
        build(published, tmp_path, Silent())


def test_the_model_is_read_as_far_as_it_was_trained(published: Path, tmp_path: Path) -> None:
    assert read_limit(published, Shape()) == 256
    change(published / "sentence_bert_config.json", max_seq_length=128)
    assert read_limit(published, Shape()) == 128
    change(published / "sentence_bert_config.json", max_seq_length=4_096)
    assert read_limit(published, Shape()) == 512
    assert read_limit(tmp_path, Shape()) == 256


def test_about_says_what_the_port_needs(converted: Path) -> None:
    about = json.loads((converted / ABOUT).read_text())
    assert set(about) == set(About.__struct_fields__)
    assert (about["dimensions"], about["limit"]) == (384, 256)
