"""Writes a BERT encoder as an ONNX graph of onnxruntime's fused operators (domain com.microsoft)."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecache.embedding.weights import Array, Shape

_FUSED = "com.microsoft"
_IR_VERSION = 8
_OPSETS = (("", 17), (_FUSED, 1))


class Graph:
    """Nodes and tensors as they are added. Values are known by their names."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def tensor(self, name: str, values: Array) -> str:
        """A constant of the graph."""
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name: str) -> str:
        """A tensor of the checkpoint as it is."""
        return self.tensor(name, self.weights[name])

    def dense(self, name: str) -> str:
        """The matrix of a linear layer, turned from (out, in) to the (in, out) that a multiplication from the
        right needs."""
        return self.tensor(name, self.weights[name].T)

    def node(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        """Apply an operator; its first output is called `output`."""
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def fused(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        return self.node(kind, inputs, output, domain=_FUSED, **attributes)

    def embed_norm(self, inputs: list[str], output: str, epsilon: float) -> str:
        """`EmbedLayerNormalization` must be given names for both of its outputs."""
        outputs = [output, f"{output}.lengths"]
        self._nodes.append(
            helper.make_node("EmbedLayerNormalization", inputs, outputs, name=output, domain=_FUSED, epsilon=epsilon)
        )
        return output

    def save(self, path: Path, inputs: list[Any], outputs: list[Any]) -> None:
        """Write `path` and beside it the tensors, in a file of the same name with `.data`."""
        graph = helper.make_graph(self._nodes, path.stem, inputs, outputs, self._tensors)
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        onnx.save_model(model, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)
        shutil.copymode(path, f"{path}.data")  # onnx makes it readable by its owner only


def add_input(graph: Graph, shape: Shape) -> str:
    """Word pieces -> (batch, length, hidden). There is one text, so every piece is of type 0: its row of the type
    table is added to all positions here instead of at every run."""
    kind = graph.weights["embeddings.token_type_embeddings.weight"][0]
    positions = graph.weights["embeddings.position_embeddings.weight"] + kind
    return graph.embed_norm(
        [
            "ids",
            "",
            graph.weight("embeddings.word_embeddings.weight"),
            graph.tensor("embeddings.positions", positions),
            "",
            graph.weight("embeddings.LayerNorm.weight"),
            graph.weight("embeddings.LayerNorm.bias"),
        ],
        "embedded",
        shape.layer_norm_eps,
    )


def add_layer(graph: Graph, shape: Shape, index: int, hidden: str) -> str:
    """Encoder layer `index`: (batch, length, hidden) -> the same."""
    layer = f"encoder.layer.{index}"
    attended = _add_attention(graph, shape, layer, hidden)
    inner = graph.node("MatMul", [attended, graph.dense(f"{layer}.intermediate.dense.weight")], f"{layer}.inner")
    active = graph.fused("BiasGelu", [inner, graph.weight(f"{layer}.intermediate.dense.bias")], f"{layer}.active")
    return _add_residual(graph, shape, f"{layer}.output", active, attended)


def _add_attention(graph: Graph, shape: Shape, layer: str, hidden: str) -> str:
    parts = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
    matrix = np.concatenate([graph.weights[f"{part}.weight"].T for part in parts], axis=1)
    bias = np.concatenate([graph.weights[f"{part}.bias"] for part in parts])
    inputs = [hidden, graph.tensor(f"{layer}.qkv.weight", matrix), graph.tensor(f"{layer}.qkv.bias", bias), "mask"]
    heads = shape.num_attention_heads
    mixed = graph.fused("Attention", inputs, f"{layer}.mixed", num_heads=heads, unidirectional=0)
    return _add_residual(graph, shape, f"{layer}.attention.output", mixed, hidden)


def _add_residual(graph: Graph, shape: Shape, name: str, value: str, skip: str) -> str:
    """normalised(value @ dense + bias + skip)"""
    product = graph.node("MatMul", [value, graph.dense(f"{name}.dense.weight")], f"{name}.product")
    norm = [graph.weight(f"{name}.LayerNorm.weight"), graph.weight(f"{name}.LayerNorm.bias")]
    inputs = [product, skip, *norm, graph.weight(f"{name}.dense.bias")]
    return graph.fused("SkipLayerNormalization", inputs, name, epsilon=shape.layer_norm_eps)


def add_mean_head(graph: Graph, hidden: str) -> str:
    """The mean over the pieces that the mask leaves, as a unit vector: (batch, hidden).

    The sum has the direction of the mean, and only the direction is left after normalising: nothing is divided by
    the number of pieces.
    """
    axis = graph.node("Constant", [], "axis", value_ints=[1])
    weights = graph.node("Cast", ["mask"], "mask.float", to=TensorProto.FLOAT)
    row = graph.node("Unsqueeze", [weights, axis], "mask.row")
    total = graph.node("MatMul", [row, hidden], "sum.row")
    flat = graph.node("Squeeze", [total, axis], "sum")
    return graph.node("LpNormalization", [flat], "vector", axis=-1, p=2)


def write_embedder(shape: Shape, weights: Mapping[str, Array], path: Path) -> None:
    """`ids` and `mask`, both int32 (batch, length), -> `vector`, float32 (batch, hidden), of length 1."""
    graph = Graph(weights)
    hidden = add_input(graph, shape)
    for index in range(shape.num_hidden_layers):
        hidden = add_layer(graph, shape, index, hidden)
    vector = add_mean_head(graph, hidden)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"]) for name in ("ids", "mask")]
    output = helper.make_tensor_value_info(vector, TensorProto.FLOAT, ["batch", shape.hidden_size])
    graph.save(path, inputs, [output])
