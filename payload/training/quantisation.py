"""INT8: the same student in a quarter of the bytes.

Static quantisation in QDQ form: every convolution and the additions and upsamplings between them
see 8-bit values, with scales found by running real tiles through the fp32 student. Weights have a
scale per output channel. The sigmoid at half resolution and the last bilinear upsampling stay
float: they are cheap, and a probability in steps of 1/255 would be no better.

Which 8-bit format is wanted depends on who runs the graph:

* `Target.CPU`: unsigned activations. Without VNNI, x86 kernels are about twice as fast with them.
  OpenVINO's ONNX reader takes either.
* `Target.ACCELERATOR`: signed, symmetric activations (zero point 0), the one scheme TensorRT has
  for activations and weights alike (NVIDIA, TensorRT documentation, "Working with Quantized
  Types"). Biases stay float there: its importer takes no dequantised 32-bit integers
  (onnxruntime issue 14229, onnx-tensorrt issue 850).

Two boards take the fp32 graph instead: the compiler for Myriad computes in half precision, and
Vitis AI brings its own quantiser (power-of-two scales, one per tensor; AMD UG1414), whose DPU runs
convolution, ReLU, addition and resizing; the sigmoid at the end falls to the processor.

`EDGE_OPERATORS` are the operators a quantised student consists of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from payload.training.datasets import TrainingSet
from payload.training.export import INPUT_NAME, IR_VERSION
from payload.training.sampling import Sampler

EDGE_OPERATORS = frozenset(
    {"Conv", "Relu", "Add", "Resize", "Sigmoid", "QuantizeLinear", "DequantizeLinear"}
)
"""All that a student's graph holds, fp32 or INT8."""

QUANTISED_OPERATORS = ("Conv", "Relu", "Add", "Resize")

CALIBRATION_TILES = 64
CALIBRATION_TILE_PX = 256

CALIBRATION_PERCENTILE = 99.99
"""Activations beyond this share are clipped: one glint must not set the scale of all pixels."""


class Target(Enum):
    """Who is to run the INT8 graph."""

    CPU = "cpu"
    ACCELERATOR = "accelerator"


def calibration_tiles(training_set: TrainingSet, seed: int = 0) -> list[NDArray[np.float32]]:
    """Real training tiles, changed more than students see them, each (1, 4, 256, 256)."""
    sampler = Sampler(training_set, CALIBRATION_TILE_PX, batch_size=1, seed=seed)
    return [sampler.draw(step).reflectance for step in range(CALIBRATION_TILES)]


def quantise_student(
    fp32: Path,
    int8: Path,
    tiles: Iterable[NDArray[np.float32]],
    target: Target = Target.CPU,
) -> None:
    """Write the INT8 form of an exported student.

    Parameters
    ----------
    fp32, int8 : Path
        Graph to read, graph to write.
    tiles : iterable of ndarray of float32, each (n, 4, h, w)
        Reflectance to find the scales on, for example `calibration_tiles`.
    target : Target
        Which 8-bit format.
    """
    symmetric = target is Target.ACCELERATOR
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Merges Conv and its bias and infers shapes; the symbolic sizes stay open.
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            int8,
            _Tiles(tiles),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED_OPERATORS),
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[_last_resize(prepared)],
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                "ActivationSymmetric": symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": not symmetric,
                "CalibPercentile": CALIBRATION_PERCENTILE,
            },
        )
    _declare_standard_operators_only(int8)


def operators(path: Path) -> dict[str, int]:
    """How often each operator occurs in a graph."""
    model = onnx.load(path)
    names = [node.op_type for node in model.graph.node]
    return {name: names.count(name) for name in sorted(set(names))}


def _declare_standard_operators_only(path: Path) -> None:
    """Drop the operator sets that ONNX Runtime's tools declare without need.

    A strict importer refuses a graph that names an operator set it does not know.
    """
    model = onnx.load(path)
    standard = [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _last_resize(path: Path) -> str:
    nodes = onnx.load(path).graph.node
    return [node.name for node in nodes if node.op_type == "Resize"][-1]


class _Tiles(CalibrationDataReader):
    def __init__(self, tiles: Iterable[NDArray[np.float32]]) -> None:
        self._tiles: Iterator[NDArray[np.float32]] = iter(tiles)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        tile = next(self._tiles, None)
        return None if tile is None else {INPUT_NAME: tile}
