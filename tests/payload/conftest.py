"""Small ONNX graphs with cards, made where a test needs them.

What a test calls is a fixture that gives a function: tests cannot import one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from payload.card import ModelCard
from payload.card_file import save_card
from payload.model import file_sha256


def build_pixel_graph(
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    *,
    layout: str = "NCHW",
    edge: int | None = None,
    input_name: str = "reflectance",
    output_name: str = "cloud_probability",
    activation: str | None = "Sigmoid",
) -> onnx.ModelProto:
    """A graph that judges each pixel alone: weights (channels, bands) times pixel plus bias."""
    channels, bands = weights.shape
    height, width = (edge, edge) if edge else ("height", "width")

    def value(name: str, size: int) -> onnx.ValueInfoProto:
        shape = ["n", size, height, width] if layout == "NCHW" else ["n", height, width, size]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = []
    current = input_name
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [current], ["nchw"], perm=[0, 3, 1, 2]))
        current = "nchw"
    nodes.append(helper.make_node("Conv", [current, "weights", "bias"], ["logits"]))
    current = "logits"
    if activation:
        nodes.append(helper.make_node(activation, [current], ["activated"]))
        current = "activated"
    perm = [0, 2, 3, 1] if layout == "NHWC" else [0, 1, 2, 3]
    nodes.append(helper.make_node("Transpose", [current], [output_name], perm=perm))
    graph = helper.make_graph(
        nodes,
        "pixel",
        [value(input_name, bands)],
        [value(output_name, channels)],
        [
            numpy_helper.from_array(weights[:, :, None, None].astype(np.float32), "weights"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def describe_file(path: Path, **changes: Any) -> ModelCard:
    """A card of the house contract for an ONNX file, with changes."""
    card = ModelCard(
        name=path.stem,
        description="made by a test",
        onnx=path.name,
        sha256=file_sha256(path),
        bytes=path.stat().st_size,
        parameters=5,
        macs_per_px=4.0,
        precision="fp32",
        training_data="none",
        licence="Apache-2.0",
        provenance="made by a test",
        peak_memory_mib=80.0,
        folder=path.parent,
    )
    return replace(card, **changes)


@pytest.fixture
def pixel_graph() -> Callable[..., onnx.ModelProto]:
    """Build a graph that judges each pixel alone: `build_pixel_graph`."""
    return build_pixel_graph


@pytest.fixture
def card_of() -> Callable[..., ModelCard]:
    """Describe an ONNX file: `describe_file`."""
    return describe_file


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., ModelCard]:
    """Write a graph and its card; `write_model(graph, name=..., **card fields)`."""

    def write(graph: onnx.ModelProto, name: str = "pixel", **changes: Any) -> ModelCard:
        path = tmp_path / f"{name}.onnx"
        onnx.save(graph, path)
        card = describe_file(path, **changes)
        save_card(card, tmp_path / f"{name}.yaml")
        return card

    return write


@pytest.fixture
def green_weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A model that calls a pixel cloud where green is at least 0.3."""
    return np.array([[0.0, 100.0, 0.0, 0.0]], np.float32), np.array([-30.0], np.float32)


@pytest.fixture
def green_model(
    write_model: Callable[..., ModelCard],
    green_weights: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> ModelCard:
    """Card of the model that calls a pixel cloud where green is at least 0.3."""
    return write_model(build_pixel_graph(*green_weights), "green")
