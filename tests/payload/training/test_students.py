"""The student family: sizes, shapes, and that folding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training.export import largest_difference, student_graph  # noqa: E402
from payload.training.students import (  # noqa: E402
    FAMILY,
    Student,
    StudentError,
    fold,
    student_shape,
)

TEACHER_PARAMETERS = 33.5e6
LEAST_RATIO = 270
SAME_PROBABILITY = 1e-5
SIZE_TOLERANCE = 0.06


def trained_like(size: str, seed: int = 0) -> Student:
    """A student whose batch normalisation is not the identity."""
    torch.manual_seed(seed)
    student = Student(student_shape(size))
    for _ in range(2):
        student(torch.rand(2, 4, 64, 64))
    for name, parameter in student.named_parameters():
        if "normalisation" in name:
            parameter.data.uniform_(0.5, 1.5)
    return student.eval()


@pytest.mark.parametrize("size", FAMILY)
def test_names_say_the_number_of_weights(size: str) -> None:
    named = float(size.removesuffix("k")) * 1000
    assert FAMILY[size].parameters == pytest.approx(named, rel=SIZE_TOLERANCE)


@pytest.mark.parametrize("size", FAMILY)
def test_channels_fill_vector_units(size: str) -> None:
    assert all(width % 8 == 0 for width in FAMILY[size].widths)


@pytest.mark.parametrize("size", FAMILY)
def test_counted_parameters_are_those_of_the_folded_weights(size: str) -> None:
    folded = fold(trained_like(size))
    counted = sum(c.weight.size + c.bias.size for c in folded.convolutions)
    assert counted == FAMILY[size].parameters


def test_default_student_is_270_times_smaller_than_the_teacher() -> None:
    assert TEACHER_PARAMETERS / FAMILY["120k"].parameters >= LEAST_RATIO


def test_folding_keeps_the_probability() -> None:
    student = trained_like("30k")
    assert largest_difference(student, student_graph(fold(student))) < SAME_PROBABILITY


def test_logit_and_probability_have_the_size_of_the_image() -> None:
    student = trained_like("8k")
    image = torch.rand(2, 4, 64, 96)
    assert student.logit(image).shape == (2, 1, 64, 96)
    probability = student.probability(image)
    assert probability.shape == (2, 1, 64, 96)
    assert bool(((probability >= 0) & (probability <= 1)).all())


def test_a_distant_pixel_matters() -> None:
    """Snow is told from cloud by its surroundings: the field of view must be wide."""
    student = trained_like("120k")
    image = torch.rand(1, 4, 256, 256)
    changed = image.clone()
    changed[..., 100:110, 180:190] += 0.5
    with torch.no_grad():
        difference = (student.logit(image) - student.logit(changed)).abs().numpy()[0, 0]
    assert np.count_nonzero(difference[:, :110]) > 0


def test_unknown_size_is_refused_with_the_choices() -> None:
    with pytest.raises(StudentError, match=r"'121k' does not exist; choose one of .*120k"):
        student_shape("121k")
