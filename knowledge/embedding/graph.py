"""Writes multilingual-e5-small as an ONNX graph in raw protobuf, so that no converter and no `onnx` package is needed.

Input "x": embedding rows plus positions, float32 (B, S, H); output: hidden states of the same shape. Weights are int8
with one scale per output channel, activations uint8 with one scale per token, so that a text's vector never depends
on the texts beside it (a scale per tensor would). No mask: every text in a batch has the same length.
Knows nothing about text, files or sessions.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from knowledge.embedding.weights import Weights

GRAPH_VERSION = 1  # raise it when the graph changes: it is part of the cached file's name and of the embedding's name

_IR_VERSION, _OPSET, _MICROSOFT_OPSET = 8, 17, 1
_MICROSOFT = "com.microsoft"
_MICROSOFT_OPS = frozenset({"MatMulIntegerToFloat", "MultiHeadAttention", "BiasGelu"})
_TENSOR_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}


def signed_weights_are_safe() -> bool:
    """Whether unsigned × signed byte products are exact: x86 without VNNI instructions saturates them at 16 bits."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    cpu_info = Path("/proc/cpuinfo")
    return cpu_info.exists() and "vnni" in cpu_info.read_text(errors="replace")


def e5_graph(weights: Weights, *, signed: bool) -> bytes:
    """The model as ONNX bytes (about 22 MB). `signed`: int8 weights, else uint8 around 128 (see above)."""
    writer = _E5Writer(weights, signed=signed)
    hidden = writer.norm("x", "emb.ln")
    for layer in range(weights.layers):
        hidden = writer.layer(hidden, f"l{layer}.")
    return writer.graph.to_bytes("x", hidden, width=weights.hidden)


class _E5Writer:
    """The layers of the model, written into `graph`."""

    def __init__(self, weights: Weights, *, signed: bool) -> None:
        self.graph = _Graph()
        self._weights, self._signed = weights, signed
        self._step = self.graph.constant(np.float32(1 / 127))
        self._middle = self.graph.constant(np.uint8(128))
        self._smallest = self.graph.constant(np.float32(1e-6))
        self._qkv_widths = self.graph.constant(np.full(3, weights.hidden, np.int64))

    def layer(self, x: str, prefix: str) -> str:
        graph, weights = self.graph, self._weights
        qkv = self._linear(self._quantise(x), [prefix + name for name in ("q.w", "k.w", "v.w")], weights.hidden)
        parts = graph.node("Split", qkv, self._qkv_widths, outputs=3, axis=-1)
        bias = np.concatenate([weights.vector(prefix + name) for name in ("q.b", "k.b", "v.b")])
        (attended,) = graph.node("MultiHeadAttention", *parts, graph.constant(bias), num_heads=weights.heads)
        projected = self._linear(self._quantise(attended), [prefix + "ao.w"], weights.hidden)
        x = self._add_and_norm(x, projected, bias=prefix + "ao.b", norm=prefix + "aln")
        wide = self._linear(self._quantise(x), [prefix + "fi.w"], weights.hidden)
        (wide,) = graph.node("BiasGelu", wide, graph.constant(weights.vector(prefix + "fi.b")))
        narrow = self._linear(self._quantise(wide), [prefix + "fo.w"], weights.feed_forward)
        return self._add_and_norm(x, narrow, bias=prefix + "fo.b", norm=prefix + "oln")

    def norm(self, x: str, name: str) -> str:
        scale, shift = (self.graph.constant(self._weights.vector(name + end)) for end in (".w", ".b"))
        (out,) = self.graph.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=self._weights.epsilon)
        return out

    def _add_and_norm(self, x: str, change: str, *, bias: str, norm: str) -> str:
        (biased,) = self.graph.node("Add", change, self.graph.constant(self._weights.vector(bias)))
        (total,) = self.graph.node("Add", x, biased)
        return self.norm(total, norm)

    def _quantise(self, x: str) -> tuple[str, str]:
        """(uint8 values, largest magnitude of each token)."""
        graph = self.graph
        (magnitude,) = graph.node("Abs", x)
        (top,) = graph.node("ReduceMax", magnitude, axes=[-1], keepdims=1)
        (top,) = graph.node("Max", top, self._smallest)
        (scaled,) = graph.node("Div", x, top)
        (quantised,) = graph.node("QuantizeLinear", scaled, self._step, self._middle)
        return quantised, top

    def _linear(self, x: tuple[str, str], names: Sequence[str], columns: int) -> str:
        """Product with the stacked matrices `names`, without bias."""
        graph, (quantised, top) = self.graph, x
        matrix = np.concatenate([self._weights.matrix(name, columns) for name in names])
        scale = np.maximum(np.abs(matrix).max(1), 1e-8).astype(np.float32) / np.float32(127)
        numbers = np.rint(matrix / scale[:, None]).T
        if self._signed:
            values, zero_point = numbers.astype(np.int8), []
        else:
            values, zero_point = (numbers + 128).astype(np.uint8), [self._middle]
        inputs = (quantised, graph.constant(values), self._step, graph.constant(scale), self._middle, *zero_point)
        (product,) = graph.node("MatMulIntegerToFloat", *inputs)
        (out,) = graph.node("Mul", product, top)
        return out


class _Graph:
    """Collects ONNX nodes and constants. Field numbers are those of onnx.proto (ModelProto, GraphProto, …)."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, array: np.ndarray | np.generic) -> str:
        values = np.ascontiguousarray(array)
        name = f"c{len(self._constants)}"
        shape = b"".join(_number(1, size) for size in values.shape) if values.size > 1 else b""
        kind = _number(2, _TENSOR_TYPES[values.dtype.name])
        self._constants.append(_field(5, shape + kind + _field(8, name) + _field(9, values.tobytes())))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        names = [f"t{len(self._nodes)}_{i}" for i in range(outputs)]
        body = b"".join(_field(1, name) for name in inputs) + b"".join(_field(2, name) for name in names)
        body += _field(4, kind) + b"".join(_field(5, _attribute(*item)) for item in attributes.items())
        self._nodes.append(_field(1, body + _field(7, _MICROSOFT if kind in _MICROSOFT_OPS else "")))
        return names

    def to_bytes(self, x: str, y: str, *, width: int) -> bytes:
        inputs_outputs = _field(11, _value(x, ["B", "S", width])) + _field(12, _value(y, ["B", "S", width]))
        graph = b"".join(self._nodes) + _field(2, "e5") + b"".join(self._constants) + inputs_outputs
        opsets = _field(8, _field(1, "") + _number(2, _OPSET))
        opsets += _field(8, _field(1, _MICROSOFT) + _number(2, _MICROSOFT_OPSET))
        return _number(1, _IR_VERSION) + _field(7, graph) + opsets


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number & (1 << 64) - 1)


def _field(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: float | int | Sequence[int]) -> bytes:
    """AttributeProto; the last number is its type: 1 float, 2 int, 7 ints."""
    if isinstance(value, float):
        return _field(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _field(1, name) + _number(3, value) + _number(20, 2)
    return _field(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7)


def _value(name: str, shape: Sequence[str | int]) -> bytes:
    """ValueInfoProto of a float tensor; a named size is free."""
    sizes = (_field(1, _field(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _number(1, 1) + _field(2, b"".join(sizes))))
