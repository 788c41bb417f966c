"""How much arithmetic an ONNX graph is: trained weights, and multiply-accumulates per pixel.

Counted from the graph itself so that every card counts alike: one multiply-accumulate per weight
and output element of a convolution or matrix product. Additions, activations, normalisation and
resizing are not counted; for the networks flown here they are a small part of the work.

The sizes of the feature maps are not inferred but observed: the graph runs once on a blank tile
with every counted node's input and output exposed, so graphs that compute shapes while they run
are counted too.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv", "ConvTranspose")
PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm")
NORMALISATIONS = ("BatchNormalization", "InstanceNormalization", "PRelu")
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")

WEIGHT_INPUT = {"QLinearConv": 3, "QLinearMatMul": 3}
"""Where the weight stands among a node's inputs, if not second."""


def parameters(path: str | Path) -> int:
    """Elements of every constant that a convolution, product or normalisation uses.

    Scales and zero points of a quantised graph and constants of shape arithmetic are not weights.
    """
    graph = onnx.load(path).graph
    sizes = {item.name: math.prod(item.dims) for item in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    weights: set[str] = set()
    for node in graph.node:
        if node.op_type in (*CONVOLUTIONS, *PRODUCTS, *NORMALISATIONS):
            weights |= {_origin(name, producers) for name in node.input[1:]}
        if node.op_type.startswith("QLinear"):
            weights -= {node.input[i] for i in (1, 2, 4, 5, 6, 7) if i < len(node.input)}
    return sum(sizes.get(name, 0) for name in sorted(weights))


def macs_per_px(path: str | Path, tile_px: int) -> float:
    """Multiply-accumulates per pixel of one tile.

    Parameters
    ----------
    path : str or Path
        ONNX file with one float32 image input.
    tile_px : int
        Edge of the tile the count is for.
    """
    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in (*CONVOLUTIONS, *PRODUCTS)]
    shapes = _observe_shapes(model, nodes, tile_px)
    constants = {item.name: tuple(item.dims) for item in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    total = 0
    for node in nodes:
        weight = _origin(node.input[WEIGHT_INPUT.get(node.op_type, 1)], producers)
        total += _node_macs(node, shapes, constants.get(weight, ()))
    return total / tile_px**2


def _observe_shapes(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], tile_px: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the nodes' first input and output in a run on a blank tile."""
    image = model.graph.input[0]
    names = sorted({name for node in nodes for name in (node.input[0], node.output[0])})
    names = [name for name in names if name != image.name]
    dims = image.type.tensor_type.shape.dim
    bands_axis = 3 if 0 < dims[3].dim_value <= 16 else 1
    shape = [1, tile_px, tile_px, tile_px]
    shape[bands_axis] = dims[bands_axis].dim_value
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = session.run(names, {image.name: np.zeros(shape, dtype=np.float32)}) if names else []
    observed = {name: array.shape for name, array in zip(names, arrays, strict=True)}
    return {image.name: tuple(shape), **observed}


def _node_macs(
    node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], weight: tuple[int, ...]
) -> int:
    if node.op_type == "ConvTranspose":
        # Spreads each input element over the kernel; the weight is (in, out per group, k, k).
        return math.prod(shapes[node.input[0]]) * math.prod(weight[1:])
    if node.op_type in CONVOLUTIONS:
        return math.prod(shapes[node.output[0]]) * math.prod(weight[1:])
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _origin(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    """The constant behind a chain of quantise and dequantise nodes."""
    while name in producers and producers[name].op_type in QUANTISERS:
        name = producers[name].input[0]
    return name
