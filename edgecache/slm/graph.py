"""A checkpoint as an ONNX graph: one stage of all layers.

    stage: (ids, seqlens_k, total_length, last, past of every layer) -> (logits, present of every layer)

`ids` int64 `[rows, tokens]`; `seqlens_k` int32 `[rows]`, the length of each row after this call, less one;
`total_length` int32 scalar, the largest of these lengths; `last` int64 `[1]`, the position whose logits are wanted;
`past_key_i`, `past_value_i` float32 `[rows, kv_heads, capacity, head_size]`. `logits` float32 `[rows, 1, vocabulary]`.

Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md. GroupQueryAttention applies the
rotary positions itself and, where past and present are the same buffer, writes only the new rows.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edgecache.slm.checkpoint import Checkpoint
from edgecache.slm.quant import BLOCK, Blocks, quantise

MODEL = "model.onnx"
_WEIGHTS = "weights.bin"
_ALIGNMENT = 4_096
_MICROSOFT = "com.microsoft"
_LONGEST = 32_768
"""Positions for which rotary angles are stored: 8 MB at a head size of 64."""


class Recipe(msgspec.Struct, frozen=True):
    """How weights are kept and products computed.

    Bits of a weight and weights to a scale, in the layers; output head and embedding are 8 bits in blocks of 32, which
    is Q8_0. Accuracy 0 computes in float32; 4 in 8-bit integers: 1.5 to 2 times faster, logits some thousandths off.
    """

    bits: int = 8
    block: int = 64
    accuracy: int = 4


def positions(checkpoint: Checkpoint) -> int:
    """The longest sequence that the built graph can hold."""
    return min(checkpoint.shape.context, _LONGEST)


class Graph:
    """Nodes and weights as they are added; weights go to a file of their own at once, so that memory stays small."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, recipe: Recipe) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._shape = checkpoint.shape
        self._recipe = recipe
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._file = (folder / _WEIGHTS).open("wb")

    def __repr__(self) -> str:
        return f"<Graph {self._folder} nodes={len(self._nodes)} weights={len(self._weights)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def start(self) -> None:
        """Ids to hidden states; the rotary angles."""
        cosines, sines = self._checkpoint.rotary(positions(self._checkpoint))
        self._store("cosines", cosines)
        self._store("sines", sines)
        table = quantise(self._checkpoint.embedding(), 8)
        self._store("embedding", table.data.reshape(self._shape.vocabulary, self._shape.width))
        self._store("embedding_scales", table.scales)
        sizes: dict[str, Any] = {"bits": 8, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        self._add("GatherBlockQuantized", ["embedding", "ids", "embedding_scales"], ["hidden"], **sizes)

    def layer(self, number: int) -> None:
        """Attention and feed-forward of one layer, each with its normalisation before it."""
        name = f"layer{number}"
        self._norm(f"{name}_attention", f"blk.{number}.attn_norm", first=number == 0)
        self._layer_product(f"{name}_qkv", f"{name}_attention_normed", self._checkpoint.attention_in(number))
        self._attention(number)
        self._layer_product(f"{name}_out", f"{name}_mixed", self._checkpoint.attention_out(number))
        self._added = f"{name}_out"
        self._norm(f"{name}_feed", f"blk.{number}.ffn_norm")
        self._layer_product(f"{name}_gate_up", f"{name}_feed_normed", self._checkpoint.feed_in(number))
        self._add("Split", [f"{name}_gate_up"], [f"{name}_gate", f"{name}_up"], "", axis=-1, num_outputs=2)
        # x * sigmoid(x)
        self._add("QuickGelu", [f"{name}_gate"], [f"{name}_silu"], alpha=1.0)
        self._add("Mul", [f"{name}_silu", f"{name}_up"], [f"{name}_gated"], "")
        self._layer_product(f"{name}_down", f"{name}_gated", self._checkpoint.feed_out(number))
        self._added = f"{name}_down"

    def end(self) -> None:
        """Hidden states to logits of the wanted position."""
        self._norm("final", "output_norm")
        self._add("Gather", ["final_normed", "last"], ["wanted"], "", axis=1)
        head = self._checkpoint.head()
        self._product("logits", "wanted", head.shape, quantise(head, 8))

    def save(self) -> None:
        """Write the graph beside its weights."""
        graph = helper.make_graph(self._nodes, "stage", self._inputs(), self._outputs(), self._weights)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(_MICROSOFT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(self._folder / MODEL))

    def _norm(self, name: str, weight: str, *, first: bool = False) -> None:
        """`hidden + what the last block added`, kept as the new hidden state, and its normalised form."""
        self._store(f"{name}_scale", self._checkpoint.norm(weight))
        if first:
            inputs, outputs = ["hidden", f"{name}_scale"], [f"{name}_normed"]
            self._add("SimplifiedLayerNormalization", inputs, outputs, "", epsilon=self._shape.epsilon, axis=-1)
            self._hidden = "hidden"
            return
        inputs = [self._hidden, self._added, f"{name}_scale"]
        self._hidden = f"{name}_sum"
        outputs = [f"{name}_normed", "", "", self._hidden]
        self._add("SkipSimplifiedLayerNormalization", inputs, outputs, epsilon=self._shape.epsilon)

    def _attention(self, number: int) -> None:
        past, present = ([f"{when}_key_{number}", f"{when}_value_{number}"] for when in ("past", "present"))
        inputs = [f"layer{number}_qkv", "", "", *past, "seqlens_k", "total_length", "cosines", "sines"]
        heads: dict[str, Any] = {"num_heads": self._shape.heads, "kv_num_heads": self._shape.kv_heads, "do_rotary": 1}
        self._add("GroupQueryAttention", inputs, [f"layer{number}_mixed", *present], **heads)

    def _layer_product(self, name: str, given: str, weights: npt.NDArray[np.float32]) -> None:
        self._product(name, given, weights.shape, quantise(weights, self._recipe.bits, self._recipe.block))

    def _product(self, name: str, given: str, shape: tuple[int, ...], packed: Blocks) -> None:
        """`name = given @ weights.T`."""
        inputs = [given, *self._store_blocks(name, packed)]
        rows, columns = shape
        sizes: dict[str, Any] = {"N": rows, "K": columns, "bits": packed.bits, "block_size": packed.block}
        self._add("MatMulNBits", inputs, [name], accuracy_level=self._recipe.accuracy, **sizes)

    def _store_blocks(self, name: str, packed: Blocks) -> list[str]:
        self._store(f"{name}_weights", packed.data)
        self._store(f"{name}_scales", packed.scales)
        if packed.zeros is None:
            return [f"{name}_weights", f"{name}_scales"]
        self._store(f"{name}_zeros", packed.zeros)
        return [f"{name}_weights", f"{name}_scales", f"{name}_zeros"]

    def _store(self, name: str, values: npt.NDArray[Any]) -> None:
        self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
        start = self._file.tell()
        self._file.write(np.ascontiguousarray(values).data)
        tensor = TensorProto(name=name, dims=values.shape, data_type=helper.np_dtype_to_tensor_dtype(values.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", _WEIGHTS), ("offset", str(start)), ("length", str(values.nbytes))):
            tensor.external_data.add(key=key, value=value)
        self._weights.append(tensor)

    def _add(
        self, kind: str, inputs: list[str], outputs: list[str], domain: str = _MICROSOFT, **attributes: Any
    ) -> None:
        node = helper.make_node(kind, inputs, outputs, name=f"make_{outputs[0]}", domain=domain, **attributes)
        self._nodes.append(node)

    def _inputs(self) -> list[onnx.ValueInfoProto]:
        values: list[tuple[str, int, list[str | int]]] = [
            ("ids", TensorProto.INT64, ["rows", "tokens"]),
            ("seqlens_k", TensorProto.INT32, ["rows"]),
            ("total_length", TensorProto.INT32, []),
            ("last", TensorProto.INT64, [1]),
        ]
        return [helper.make_tensor_value_info(*value) for value in values] + self._buffers("past")

    def _outputs(self) -> list[onnx.ValueInfoProto]:
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 1, self._shape.vocabulary])
        return [logits, *self._buffers("present")]

    def _buffers(self, when: str) -> list[onnx.ValueInfoProto]:
        shape = ["rows", self._shape.kv_heads, "capacity", self._shape.head_size]
        names = [f"{when}_{part}_{layer}" for layer in range(self._shape.layers) for part in ("key", "value")]
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
