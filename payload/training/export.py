"""From a trained student to the file that flies: an ONNX graph, and the proof that it is the same.

A student is some twenty convolutions, so its graph is written directly from the folded weights:
the file holds exactly the operators named here and nothing an exporter happened to trace, and
needs neither torch nor onnxscript to be understood. `largest_difference` then runs both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from payload.frame import BANDS
from payload.training.students import (
    SMALLEST_EDGE_PX,
    FoldedConvolution,
    FoldedStudent,
    Student,
    StudentError,
    fold,
)

OPSET = 13
"""The first operator set with quantisation per channel; importers of edge devices all read it."""

IR_VERSION = 8
"""File format of ONNX 1.10 to 1.12: old enough for the importers in use on boards."""

EXPORT_TOLERANCE = 1e-4
"""Largest difference of probability between torch and ONNX Runtime that counts as the same."""

INPUT_NAME = "reflectance"
OUTPUT_NAME = "cloud_probability"


def student_graph(folded: FoldedStudent) -> onnx.ModelProto:
    """The ONNX graph of a folded student, with open batch, height and width.

    Parameters
    ----------
    folded : FoldedStudent
        Of `payload.training.students.fold`.

    Returns
    -------
    onnx.ModelProto
        Input `reflectance` float32 (n, 4, h, w), output `cloud_probability` float32 (n, 1, h, w);
        h and w multiples of 32. Operators: Conv, Relu, Add, Resize, Sigmoid.
    """
    builder = _GraphBuilder()
    levels = len(folded.shape.widths)
    remaining = iter(folded.convolutions)
    x = builder.convolution("stem", INPUT_NAME, next(remaining))
    skips = [x]
    for level in range(1, levels):
        x = builder.convolution(f"down{level}_halve", x, next(remaining))
        x = builder.convolution(f"down{level}_refine", x, next(remaining))
        skips.append(x)
    skips.pop()
    for level in range(levels - 2, -1, -1):
        x = builder.convolution(f"up{level}_lateral", x, next(remaining))
        x = builder.upsample(f"up{level}_double", x, "nearest")
        x = builder.node("Add", f"up{level}_join", [x, skips.pop()])
        x = builder.convolution(f"up{level}_refine", x, next(remaining))
    x = builder.convolution("head", x, next(remaining))
    x = builder.node("Sigmoid", "probability_half", [x])
    builder.upsample(OUTPUT_NAME, x, "bilinear")
    return builder.model(f"student_{folded.shape.size}")


def export_student(student: Student, path: Path) -> float:
    """Write a student as ONNX and prove that it computes the same.

    Returns
    -------
    float
        Largest difference of probability found by `largest_difference`.

    Raises
    ------
    StudentError
        The graph differs from the module by more than `EXPORT_TOLERANCE`.
    """
    model = student_graph(fold(student))
    difference = largest_difference(student, model)
    if difference > EXPORT_TOLERANCE:
        raise StudentError(
            f"export of student {student.shape.size!r}: ONNX Runtime and torch differ by "
            f"{difference:.2e} in probability, more than {EXPORT_TOLERANCE:.0e}; file not written"
        )
    onnx.save(model, path)
    return difference


def largest_difference(student: Student, model: onnx.ModelProto, seed: int = 0) -> float:
    """Largest difference of probability between the module and its graph on random reflectance.

    Two sizes are tried, one of them not square and with more than one image.
    """
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(seed)
    edge = SMALLEST_EDGE_PX
    was_training = student.training
    student.eval()
    worst = 0.0
    for shape in ((1, len(BANDS), 4 * edge, 4 * edge), (2, len(BANDS), edge, 3 * edge)):
        reflectance = generator.uniform(0, 1.2, shape).astype(np.float32)
        with torch.no_grad():
            expected = student.probability(torch.from_numpy(reflectance)).numpy()
        (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: reflectance})
        worst = max(worst, float(np.abs(expected - found).max()))
    student.train(was_training)
    return worst


class _GraphBuilder:
    """Collects nodes and weights; each method returns the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "double")]

    def node(self, operator: str, name: str, inputs: list[str], **attributes: object) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def convolution(self, name: str, source: str, folded: FoldedConvolution) -> str:
        edge = folded.weight.shape[-1]
        inputs = [
            source,
            self._weight(f"{name}_weight", folded.weight),
            self._weight(f"{name}_bias", folded.bias),
        ]
        output = self.node(
            "Conv",
            name,
            inputs,
            kernel_shape=[edge, edge],
            strides=[folded.stride] * 2,
            pads=[edge // 2] * 4,
        )
        return self.node("Relu", f"{name}_relu", [output]) if folded.relu else output

    def upsample(self, name: str, source: str, how: str) -> str:
        nearest = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        bilinear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        attributes = nearest if how == "nearest" else bilinear
        return self.node("Resize", name, [source, "", "double"], **attributes)

    def model(self, name: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            name,
            [_value_info(INPUT_NAME, len(BANDS))],
            [_value_info(OUTPUT_NAME, 1)],
            self._weights,
        )
        model = helper.make_model(
            graph,
            producer_name="nephoscope",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _weight(self, name: str, values: NDArray[np.float32]) -> str:
        self._weights.append(numpy_helper.from_array(values, name))
        return name


def _value_info(name: str, channels: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, TensorProto.FLOAT, ["n", channels, "height", "width"]
    )
