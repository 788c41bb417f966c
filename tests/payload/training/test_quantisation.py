"""INT8 students: same answers within a little, a quarter of the bytes, known operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from payload.card import MODELS_DIR  # noqa: E402
from payload.training.export import export_student  # noqa: E402
from payload.training.quantisation import (  # noqa: E402
    EDGE_OPERATORS,
    Target,
    operators,
    quantise_student,
)
from payload.training.students import FAMILY, Student  # noqa: E402

LARGEST_INT8_BYTES = 200_000
MEAN_PROBABILITY_DIFFERENCE = 0.02


def tiles(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.uniform(0, 1, (1, 4, 64, 64)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    student = Student(FAMILY["8k"])
    for _ in range(4):
        student(torch.rand(4, 4, 64, 64))
    path = tmp_path_factory.mktemp("student") / "student.onnx"
    export_student(student.eval(), path)
    return path


def run(path: Path, image: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"reflectance": image})[0]


@pytest.mark.parametrize("target", list(Target))
def test_int8_says_what_fp32_says(fp32: Path, tmp_path: Path, target: Target) -> None:
    int8 = tmp_path / "int8.onnx"
    quantise_student(fp32, int8, tiles(6), target)
    image = np.random.default_rng(9).uniform(0, 1, (1, 4, 96, 64)).astype(np.float32)
    difference = np.abs(run(fp32, image) - run(int8, image))
    assert difference.mean() < MEAN_PROBABILITY_DIFFERENCE
    assert set(operators(int8)) <= EDGE_OPERATORS
    assert onnx.load(int8).opset_import[0].version == 13


def test_accelerators_get_symmetric_signed_values(fp32: Path, tmp_path: Path) -> None:
    """TensorRT reads explicit quantisation with zero point 0 only."""
    int8 = tmp_path / "int8.onnx"
    quantise_student(fp32, int8, tiles(2), Target.ACCELERATOR)
    graph = onnx.load(int8).graph
    points = [numpy_helper.to_array(w) for w in graph.initializer if "zero_point" in w.name]
    signed = [p for p in points if p.dtype == np.int8]
    assert len(signed) > 10
    assert all(not p.any() for p in signed)
    assert not [p for p in points if p.dtype == np.uint8]
    constants = {w.name: w.data_type for w in graph.initializer}
    dequantised = [n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"]
    assert not [n for n in dequantised if constants.get(n) == onnx.TensorProto.INT32]


def test_committed_int8_student_is_small_and_runs_anywhere() -> None:
    path = MODELS_DIR / "unet-distilled-int8.onnx"
    assert path.stat().st_size < LARGEST_INT8_BYTES
    assert set(operators(path)) <= EDGE_OPERATORS
    model = onnx.load(path)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 13)]
    assert not [node for node in model.graph.node if node.domain not in ("", "ai.onnx")]


def test_committed_weights_are_int8_per_channel() -> None:
    graph = onnx.load(MODELS_DIR / "unet-distilled-int8.onnx").graph
    arrays = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    weights = [a for a in arrays.values() if a.ndim == 4 and a.dtype == np.int8]
    scales = [a for n, a in arrays.items() if n.endswith("weight_scale")]
    assert sum(w.size for w in weights) > 0.98 * FAMILY["120k"].parameters * 0.99
    assert all(s.ndim == 1 and s.size in {w.shape[0] for w in weights} for s in scales)
