"""The classic reflectance threshold, as an ONNX graph like every other model.

Rule (Braaten, Cohen, Yang 2015, as published in the Sentinel Hub custom-script collection):
a pixel is cloud if it is bright and at least as bright in green as in red, or very bright::

    cloud = (green > 0.175 and (green - red) / (green + red) > 0) or green > 0.39

The rule asks for the sign of a ratio only, and green > 0.175 makes its denominator positive for
every red >= 0, so the graph compares green with red and needs no division.

``python -m payload.baselines.threshold`` writes the committed graph and its card again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from payload.card import MODELS_DIR, ModelCard
from payload.card_file import save_unless_same
from payload.frame import BANDS
from payload.model import file_sha256

GREEN_BRIGHT = 0.175
"""Green reflectance above which a pixel that is not redder than green is cloud."""

GREEN_VERY_BRIGHT = 0.39
"""Green reflectance above which any pixel is cloud."""

OPSET = 17
IR_VERSION = 8
"""Old enough for every ONNX Runtime the project accepts."""


def is_cloud(reflectance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The rule in NumPy: reflectance (n, 4, H, W) -> cloud (n, H, W)."""
    green = reflectance[:, BANDS.index("green")]
    red = reflectance[:, BANDS.index("red")]
    return np.asarray(((green > GREEN_BRIGHT) & (green > red)) | (green > GREEN_VERY_BRIGHT))


def build() -> onnx.ModelProto:
    """The rule as an ONNX graph of the house contract, any N, H and W."""
    constants = {
        "green_index": np.array([BANDS.index("green")], dtype=np.int64),
        "red_index": np.array([BANDS.index("red")], dtype=np.int64),
        "green_bright": np.array(GREEN_BRIGHT, dtype=np.float32),
        "green_very_bright": np.array(GREEN_VERY_BRIGHT, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["reflectance", "green_index"], ["green"], axis=1),
        helper.make_node("Gather", ["reflectance", "red_index"], ["red"], axis=1),
        helper.make_node("Greater", ["green", "green_bright"], ["bright"]),
        helper.make_node("Greater", ["green", "red"], ["not_reddish"]),
        helper.make_node("And", ["bright", "not_reddish"], ["bright_and_white"]),
        helper.make_node("Greater", ["green", "green_very_bright"], ["very_bright"]),
        helper.make_node("Or", ["bright_and_white", "very_bright"], ["cloud"]),
        helper.make_node("Cast", ["cloud"], ["cloud_probability"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "threshold",
        [_value("reflectance", len(BANDS))],
        [_value("cloud_probability", 1)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nephoscope",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(path: Path) -> ModelCard:
    """The card of the graph at `path`, without what must be measured."""
    return ModelCard(
        name=path.stem,
        description="Reflectance threshold on green and red (Braaten-Cohen-Yang): no training.",
        onnx=path.name,
        sha256=file_sha256(path),
        bytes=path.stat().st_size,
        parameters=0,
        # Four comparisons and two logical operations, counted as multiply-accumulates so that
        # the declared time on a device is small but not nothing.
        macs_per_px=6.0,
        precision="fp32",
        training_data="none",
        licence="Apache-2.0",
        provenance="written by python -m payload.baselines.threshold; deterministic",
        notes=(
            "Calls snow, ice, bright sand and salt cloud; misses thin and dark cloud. Answers 0 "
            "or 1, so there is no threshold to move."
        ),
        folder=path.parent,
    )


def _value(name: str, channels: int) -> onnx.ValueInfoProto:
    shape = ["n", channels, "height", "width"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def main(folder: Path = MODELS_DIR) -> None:
    """Write `threshold.onnx`, and its card where the file is another than the card's."""
    path = folder / "threshold.onnx"
    onnx.save(build(), path)
    save_unless_same(describe(path))


if __name__ == "__main__":
    main()
