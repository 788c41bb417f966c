"""Counting arithmetic, against counts done by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from payload.baselines.complexity import macs_per_px, parameters

WeightShape = tuple[int, ...]


def network(path: Path, *, quantised: bool = False) -> Path:
    """Conv 4->8, 3x3, stride 2; transposed conv 8->3, 2x2, stride 2; 1x1 conv 3->1."""
    arrays = {
        "w1": np.zeros((8, 4, 3, 3), np.float32),
        "b1": np.zeros(8, np.float32),
        "w2": np.zeros((8, 3, 2, 2), np.float32),
        "w3": np.zeros((1, 3, 1, 1), np.float32),
    }
    nodes = []
    first_weight = "w1"
    if quantised:
        arrays["w1"] = arrays["w1"].astype(np.int8)  # type: ignore[assignment]
        arrays["scale"] = np.ones((), np.float32)
        arrays["zero"] = np.zeros((), np.int8)  # type: ignore[assignment]
        nodes.append(helper.make_node("DequantizeLinear", ["w1", "scale", "zero"], ["w1_real"]))
        first_weight = "w1_real"
    nodes += [
        helper.make_node("Conv", ["x", first_weight, "b1"], ["a"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("ConvTranspose", ["a", "w2"], ["b"], strides=[2, 2]),
        helper.make_node("Conv", ["b", "w3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "count",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


# Per output pixel of the tile: a quarter as many stem outputs, each 8 x 4 x 9; a quarter as many
# inputs of the transposed one, each 8 x 3 x 4; three for the last.
MACS_PER_PX = 8 * 4 * 9 / 4 + 8 * 3 * 4 / 4 + 3
PARAMETERS = 8 * 4 * 9 + 8 + 8 * 3 * 4 + 3


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("tile_px", [64, 96])
def test_counts_equal_those_by_hand(tmp_path: Path, quantised: bool, tile_px: int) -> None:
    path = network(tmp_path / "n.onnx", quantised=quantised)
    assert macs_per_px(path, tile_px) == MACS_PER_PX
    assert parameters(path) == PARAMETERS


def test_bands_may_come_last(tmp_path: Path, pixel_graph: Callable[..., onnx.ModelProto]) -> None:
    graph = pixel_graph(np.ones((3, 4), np.float32), np.zeros(3, np.float32), layout="NHWC")
    onnx.save(graph, tmp_path / "n.onnx")
    assert macs_per_px(tmp_path / "n.onnx", 32) == 12


def test_graph_without_convolutions_counts_nothing() -> None:
    from payload.card_library import load_card

    path = load_card("threshold").onnx_path
    assert macs_per_px(path, 64) == 0
    assert parameters(path) == 0
