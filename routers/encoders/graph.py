"""The BERT encoder as an ONNX graph, written node by node from its weights.

Writing the graph instead of tracing it needs no torch, gives the same bytes on every machine, and
lets it hold exactly what one unpadded text needs: no attention mask, no padding, no token types
(the table of type 0 is folded into the positions), with mean pooling and normalisation inside.

    input_ids (1, n_tokens) int64  ->  embedding (1, dim) float32, unit length

In int8 every weight matrix is quantised symmetrically per output column and the word table per
row; activations are quantised at run time per tensor. One text per run is therefore exact: the
vector of a text can never depend on the other texts of its batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "int8"]
Weights = Mapping[str, NDArray[np.float32]]

INPUT = "input_ids"
OUTPUT = "embedding"
MICROSOFT = "com.microsoft"
INT8_MAX = 127
# Weights that are multiplied stay within seven bits. Where a processor has no VNNI instructions,
# ONNX Runtime adds pairs of 8-bit products in 16 bits, and eight-bit weights would saturate there:
# the same file would give other vectors on an older machine. It costs 0.002 of the cosine to fp32
# and nothing of the accuracy (see benches.encoder).
WEIGHT_MAX = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a BERT encoder; the defaults are MiniLM's with six layers."""

    layers: int = 6
    heads: int = 12
    dim: int = 384
    epsilon: float = 1e-12


@dataclass(slots=True, kw_only=True)
class Graph:
    """An ONNX graph under construction: each verb adds a node and returns its output's name.

    Attributes:
        length: the number of tokens, shape (1,).
        per_token: a one and a zero for each token, shape (n_tokens,).
    """

    precision: Precision
    epsilon: float
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    length: str = field(init=False)
    per_token: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Read the length of the text."""
        (self.length,) = self.add("Shape", INPUT, start=1, end=2)
        ones, zeros = (self._repeated(value) for value in (1, 0))
        self.per_token = (ones, zeros)

    def add(
        self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node and return the names of its outputs."""
        from onnx import helper

        stem = f"{op.lower()}_{len(self.nodes)}"
        names = tuple(f"{stem}_{index}" for index in range(outputs))
        self.nodes.append(
            helper.make_node(op, inputs, names, name=stem, domain=domain, **attributes)
        )
        return names

    def constant(self, array: NDArray[Any]) -> str:
        """Add an initialiser and return its name."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def linear(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """Return x @ weight + bias; weight has shape (n_in, n_out)."""
        if self.precision == "fp32":
            (product,) = self.add("MatMul", x, self.constant(weight))
            return self.add("Add", product, self.constant(bias))[0]
        quantised, scale = quantise(weight, axis=0, largest=WEIGHT_MAX)
        inputs = (x, self.constant(quantised), self.constant(scale), "", self.constant(bias))
        return self.add("DynamicQuantizeMatMul", *inputs, domain=MICROSOFT)[0]

    def attention(
        self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32], *, heads: int
    ) -> str:
        """Return multi-head self-attention; weight has shape (dim, 3 * dim): query, key, value."""
        if self.precision == "fp32":
            inputs = (x, self.constant(weight), self.constant(bias))
            return self.add("Attention", *inputs, domain=MICROSOFT, num_heads=heads)[0]
        quantised, scale = quantise(weight, axis=0, largest=WEIGHT_MAX)
        x_int, x_scale, x_zero = self.add("DynamicQuantizeLinear", x, outputs=3)
        zeros = self.constant(np.zeros(scale.shape, np.int8))
        tensors = (x_int, self.constant(quantised), self.constant(bias))
        scales = (x_scale, self.constant(scale), "", x_zero, zeros)
        return self.add("QAttention", *tensors, *scales, domain=MICROSOFT, num_heads=heads)[0]

    def lookup(self, table: NDArray[np.float32], ids: str) -> str:
        """Return the rows of a table, shape (n_rows, dim), that the ids name."""
        if self.precision == "fp32":
            return self.add("Gather", self.constant(table), ids)[0]
        from onnx import TensorProto

        quantised, scale = quantise(table, axis=1)
        (rows,) = self.add("Gather", self.constant(quantised), ids)
        (scales,) = self.add("Gather", self.constant(scale[:, None]), ids)
        (floats,) = self.add("Cast", rows, to=TensorProto.FLOAT)
        return self.add("Mul", floats, scales)[0]

    def add_and_normalise(self, x: str, y: str, weights: Weights, prefix: str) -> str:
        """Return the layer normalisation of x + y, both of shape (1, n_tokens, dim).

        Each token is a channel of an instance normalisation here. ONNX Runtime's own layer
        normalisations add up number by number, and took 0.7 of 2.3 ms for 30 tokens.
        """
        ones, zeros = self.per_token
        (total,) = self.add("Add", x, y)
        (unit,) = self.add("InstanceNormalization", total, ones, zeros, epsilon=self.epsilon)
        (scaled,) = self.add("Mul", unit, self.constant(weights[f"{prefix}.weight"]))
        return self.add("Add", scaled, self.constant(weights[f"{prefix}.bias"]))[0]

    def _repeated(self, value: float) -> str:
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(np.array([value], dtype=np.float32))
        return self.add("ConstantOfShape", self.length, value=tensor)[0]


def quantise(
    matrix: NDArray[np.float32], *, axis: int, largest: int = INT8_MAX
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values and one scale per slice, so that values * scale is close to the matrix.

    Args:
        matrix: two dimensions.
        axis: the axis along which one scale holds: 0 gives a scale per column, 1 one per row.
        largest: the integer that the largest value of a slice becomes.
    """
    scale = np.maximum(np.abs(matrix).max(axis=axis, keepdims=True), 1e-12) / largest
    values = np.clip(np.rint(matrix / scale), -largest, largest).astype(np.int8)
    return values, scale.squeeze(axis).astype(np.float32)


def bert(weights: Weights, *, precision: Precision, shape: Shape | None = None) -> onnx.ModelProto:
    """Return the whole model: token ids in, one unit vector out.

    Args:
        weights: as in the checkpoint of a Hugging Face `BertModel`.
        precision: of the weights and of the products.
        shape: the sizes; None means MiniLM's.
    """
    shape = shape or Shape()
    graph = Graph(precision=precision, epsilon=shape.epsilon)
    x = _embed(graph, weights)
    for layer in range(shape.layers):
        x = _layer(graph, weights, f"encoder.layer.{layer}", x, heads=shape.heads)
    (mean,) = graph.add("ReduceMean", x, graph.constant(np.array([1])), keepdims=0)
    graph.nodes.append(_node("LpNormalization", mean, OUTPUT, axis=-1, p=2))
    return _model(graph, dim=shape.dim)


def _embed(graph: Graph, weights: Weights) -> str:
    words = graph.lookup(weights["embeddings.word_embeddings.weight"], INPUT)
    # Every token of a single text has type 0, so its row is a constant of each position.
    types = weights["embeddings.token_type_embeddings.weight"]
    table = weights["embeddings.position_embeddings.weight"] + types[0]
    zero, one = graph.constant(np.array([0])), graph.constant(np.array([1]))
    (places,) = graph.add("Slice", graph.constant(table[None]), zero, graph.length, one)
    return graph.add_and_normalise(words, places, weights, "embeddings.LayerNorm")


def _layer(graph: Graph, weights: Weights, prefix: str, x: str, *, heads: int) -> str:
    parts = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
    joint = np.concatenate([weights[f"{part}.weight"].T for part in parts], axis=1)
    bias = np.concatenate([weights[f"{part}.bias"] for part in parts])
    context = graph.attention(x, joint, bias, heads=heads)
    context = _dense(graph, weights, f"{prefix}.attention.output.dense", context)
    x = graph.add_and_normalise(context, x, weights, f"{prefix}.attention.output.LayerNorm")
    wide = _dense(graph, weights, f"{prefix}.intermediate.dense", x)
    (wide,) = graph.add("Gelu", wide, domain=MICROSOFT)
    narrow = _dense(graph, weights, f"{prefix}.output.dense", wide)
    return graph.add_and_normalise(narrow, x, weights, f"{prefix}.output.LayerNorm")


def _dense(graph: Graph, weights: Weights, prefix: str, x: str) -> str:
    # A checkpoint stores (n_out, n_in).
    return graph.linear(x, weights[f"{prefix}.weight"].T, weights[f"{prefix}.bias"])


def _node(op: str, source: str, target: str, **attributes: Any) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(op, [source], [target], name=op.lower(), **attributes)


def _model(graph: Graph, *, dim: int) -> onnx.ModelProto:
    from onnx import TensorProto, checker, helper

    ids = helper.make_tensor_value_info(INPUT, TensorProto.INT64, [1, "tokens"])
    out = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, dim])
    body = helper.make_graph(graph.nodes, "encoder", [ids], [out], graph.constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=9)
    checker.check_model(model)
    return model
