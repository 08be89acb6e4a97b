"""A Llama of two layers that the tests write themselves, and what it computes, in numpy."""

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from edgecache.slm.checkpoint import Checkpoint
from edgecache.slm.graph import Recipe
from edgecache.slm.quant import quantise, restore
from edgecache.slm.text import byte_alphabet

WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS, CONTEXT = 64, 96, 2, 4, 2, 256
HEAD_SIZE = WIDTH // HEADS
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
Floats = npt.NDArray[np.float32]


def tokens() -> list[str]:
    return [*byte_alphabet(), "Ġt", "he", "Ġthe", *SPECIAL]


def write_tiny(
    path: Path, *, kind: str = "F32", tied: bool = True, template: str = TEMPLATE, seed: int = 1, **metadata: object
) -> Path:
    """A complete model of random weights; `kind` is that of all matrices."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    _write_tokenizer(writer, template)
    for name, rows, columns in _matrices(tied):
        values = rng.standard_normal((rows, columns)).astype(np.float32) * (0.5 if "token" in name else 0.2)
        quantisation = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quants.quantize(values, quantisation), raw_dtype=quantisation)
    for name in ["output_norm", *(f"blk.{i}.{part}_norm" for i in range(LAYERS) for part in ("attn", "ffn"))]:
        writer.add_tensor(f"{name}.weight", 1 + 0.1 * rng.standard_normal(WIDTH).astype(np.float32))
    for key, value in metadata.items():
        writer.add_key_value(key.replace("__", "."), value, gguf.GGUFValueType.get_type(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tokenizer(writer: gguf.GGUFWriter, template: str) -> None:
    vocabulary = tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if text in SPECIAL else 1 for text in vocabulary])
    writer.add_token_merges(["Ġ t", "h e", "Ġt he"])
    writer.add_eos_token_id(vocabulary.index("<|im_end|>"))
    writer.add_bos_token_id(vocabulary.index("<|im_start|>"))
    writer.add_chat_template(template)


def _matrices(tied: bool) -> list[tuple[str, int, int]]:
    found = [("token_embd.weight", len(tokens()), WIDTH)]
    if not tied:
        found.append(("output.weight", len(tokens()), WIDTH))
    for layer in range(LAYERS):
        sizes = {
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (KV_HEADS * HEAD_SIZE, WIDTH),
            "attn_v": (KV_HEADS * HEAD_SIZE, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (HIDDEN, WIDTH),
            "ffn_up": (HIDDEN, WIDTH),
            "ffn_down": (WIDTH, HIDDEN),
        }
        found += [(f"blk.{layer}.{part}.weight", *size) for part, size in sizes.items()]
    return found


class Reference:
    """The forward pass over a whole sequence, with the rows as the file has them: rotary on neighbouring pairs.

    Weights go through the packed form, so that what remains to compare is the graph.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._file = Checkpoint(path).file
        self._recipe = recipe

    def logits(self, ids: list[int]) -> Floats:
        """`[len(ids), vocabulary]`."""
        table = restore(quantise(self._file.load("token_embd.weight"), 8))
        hidden = table[ids]
        for layer in range(LAYERS):
            hidden = hidden + self._attention(layer, self._normed(hidden, f"blk.{layer}.attn_norm"))
            hidden = hidden + self._feed(layer, self._normed(hidden, f"blk.{layer}.ffn_norm"))
        head = "output.weight" if "output.weight" in self._file.tensors else "token_embd.weight"
        return self._normed(hidden, "output_norm") @ restore(quantise(self._file.load(head), 8)).T

    def _weight(self, name: str) -> Floats:
        return restore(quantise(self._file.load(f"{name}.weight"), self._recipe.bits, self._recipe.block))

    def _normed(self, hidden: Floats, name: str) -> Floats:
        scale = self._file.load(f"{name}.weight")
        return hidden / np.sqrt((hidden**2).mean(-1, keepdims=True) + 1e-5) * scale

    def _attention(self, layer: int, given: Floats) -> Floats:
        def heads(part: str, count: int) -> Floats:
            return (given @ self._weight(f"blk.{layer}.{part}").T).reshape(len(given), count, HEAD_SIZE).swapaxes(0, 1)

        query, key, value = (
            _rotated(heads("attn_q", HEADS)),
            _rotated(heads("attn_k", KV_HEADS)),
            heads("attn_v", KV_HEADS),
        )
        shared = HEADS // KV_HEADS
        key, value = key.repeat(shared, 0), value.repeat(shared, 0)
        scores = query @ key.swapaxes(1, 2) / np.sqrt(HEAD_SIZE)
        scores += np.triu(np.full(scores.shape[1:], -np.inf), 1)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ value
        return mixed.swapaxes(0, 1).reshape(len(given), -1) @ self._weight(f"blk.{layer}.attn_output").T

    def _feed(self, layer: int, given: Floats) -> Floats:
        gate, up = (given @ self._weight(f"blk.{layer}.ffn_{part}").T for part in ("gate", "up"))
        return gate / (1 + np.exp(-gate)) * up @ self._weight(f"blk.{layer}.ffn_down").T


def _rotated(heads: Floats) -> Floats:
    """RoFormer, equation 34: pairs (2i, 2i+1) turned by position * 10000^(-2i/d)."""
    pairs = heads.reshape(*heads.shape[:-1], HEAD_SIZE // 2, 2)
    angles = np.outer(np.arange(heads.shape[1]), 10_000.0 ** (-2 * np.arange(HEAD_SIZE // 2) / HEAD_SIZE))
    cosine, sine = np.cos(angles), np.sin(angles)
    even, odd = pairs[..., 0], pairs[..., 1]
    return np.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).reshape(heads.shape)
