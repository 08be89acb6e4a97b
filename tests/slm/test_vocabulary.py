"""Tokenizers of both kinds: text -> ids -> bytes gives the text back."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import write_tiny
from tokenizers import Tokenizer

from edgecache.errors import ModelSourceError
from edgecache.slm.gguf_file import GgufFile
from edgecache.slm.text import Spelling
from edgecache.slm.vocabulary import Vocabulary

PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "▁ab", "c"]


def _sentence_piece(path: Path) -> Vocabulary:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(PIECES)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * 7])
    writer.add_token_scores([0.0] * 259 + [-1.0, -2.0, -3.0, -4.0, -6.0, -5.0, -7.0])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return Vocabulary(GgufFile(path))


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary(GgufFile(write_tiny(tmp_path_factory.mktemp("vocabulary") / "tiny.gguf")))


@pytest.fixture(scope="module")
def sentence_piece(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return _sentence_piece(tmp_path_factory.mktemp("vocabulary") / "tiny.gguf")


def _spelt(vocabulary: Vocabulary, text: str) -> str:
    tokenizer = Tokenizer.from_str(vocabulary.tokenizer.to_str())
    spell = Spelling(tokenizer, byte_level=vocabulary.byte_level)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return b"".join(map(spell, ids)).decode()


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_byte_level_gives_the_text_back(byte_level: Vocabulary, text: str) -> None:
    assert _spelt(byte_level, text) == text


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="▁"), min_size=1, max_size=40))
def test_sentence_piece_gives_the_text_back_behind_a_space(sentence_piece: Vocabulary, text: str) -> None:
    assert _spelt(sentence_piece, text) == " " + text


def test_merges_and_control_tokens(byte_level: Vocabulary) -> None:
    encoded = byte_level.tokenizer.encode("see the<|im_end|>", add_special_tokens=False).tokens
    assert encoded == ["s", "e", "e", "Ġthe", "<|im_end|>"]
    assert _spelt(byte_level, "a<|im_end|>b") == "ab"


def test_scores_order_the_merges(sentence_piece: Vocabulary) -> None:
    """`▁ab` scores -5 and could come from `▁` + `ab` or `▁a` + `b`; `▁a` (-3) is merged before `ab` (-4)."""
    assert sentence_piece.tokenizer.encode("ab c", add_special_tokens=False).tokens == ["▁ab", "▁", "c"]


def test_ids_with_a_meaning(byte_level: Vocabulary, sentence_piece: Vocabulary) -> None:
    assert [byte_level.tokens[stop] for stop in byte_level.stops()] == ["<|endoftext|>", "<|im_end|>"]
    assert byte_level.starts() is None
    assert sentence_piece.stops() == (2,)
    assert sentence_piece.starts() == 1


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("tokens", ["a", "a"], "same token twice"),
        ("tokens", None, "tokens is missing"),
        ("token_type", np.array([1, 2]), "token_type is missing or not as long"),
        ("merges", ["a zzz"], "cannot be used"),
        ("merges", 7, "merges is missing"),
    ],
)
def test_contradictions(field: str, value: object, why: str, tmp_path: Path) -> None:
    file = GgufFile(write_tiny(tmp_path / "tiny.gguf"))
    file.metadata[f"tokenizer.ggml.{field}"] = value  # type: ignore[assignment]
    with pytest.raises(ModelSourceError, match=why):
        Vocabulary(file)
