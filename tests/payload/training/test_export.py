"""The written graph: same numbers as torch, open sizes, only operators of edge devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402

from payload.training import export  # noqa: E402
from payload.training.quantisation import EDGE_OPERATORS, operators  # noqa: E402
from payload.training.students import Student, StudentError, student_shape  # noqa: E402


@pytest.fixture
def student() -> Student:
    torch.manual_seed(3)
    return Student(student_shape("8k")).eval()


def test_exported_file_gives_what_torch_gives(student: Student, tmp_path: Path) -> None:
    path = tmp_path / "student.onnx"
    difference = export.export_student(student, path)
    image = np.random.default_rng(5).uniform(0, 1, (3, 4, 32, 160)).astype(np.float32)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"reflectance": image})
    with torch.no_grad():
        expected = student.probability(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(found, expected, atol=export.EXPORT_TOLERANCE)
    assert difference < export.EXPORT_TOLERANCE


def test_graph_keeps_the_contract(student: Student, tmp_path: Path) -> None:
    path = tmp_path / "student.onnx"
    export.export_student(student, path)
    model = onnx.load(path)
    (source,), (result,) = model.graph.input, model.graph.output
    assert (source.name, result.name) == ("reflectance", "cloud_probability")
    sizes = [d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim]
    assert sizes == ["n", 4, "height", "width"]
    assert model.opset_import[0].version == export.OPSET
    assert set(operators(path)) <= EDGE_OPERATORS


def test_a_graph_that_differs_is_not_written(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    other = export.fold(Student(student_shape("8k")))
    monkeypatch.setattr(export, "fold", lambda _: other)
    with pytest.raises(StudentError, match="file not written"):
        export.export_student(student, tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())
