"""Soft labels survive their file, and a wrong file is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from payload.training.soft_labels import (
    FULL_SCALE,
    NNUNET,
    PROBABILITY_STEP,
    SOFT_LABELS,
    SoftLabel,
    SoftLabelError,
    finished_or_nothing,
    quantise,
    read_soft_labels,
    write_soft_labels,
)
from payload.training.weak_labels import LABEL_VERSION

FullDisk = Callable[[int], AbstractContextManager[None]]
ROUNDING = 0.5 / FULL_SCALE


def label(value: int, confidence: int) -> SoftLabel:
    return SoftLabel(np.full((3, 5), value, np.uint8), np.full((3, 5), confidence, np.uint8))


def test_labels_come_back_as_written(tmp_path: Path) -> None:
    labels = {"aa": label(10, FULL_SCALE), "bb": label(20, 7)}
    write_soft_labels(tmp_path / "deep" / "labels.npz", labels)
    found = read_soft_labels(tmp_path / "deep")
    assert found.keys() == labels.keys()
    for sha256, expected in labels.items():
        np.testing.assert_array_equal(found[sha256].probability, expected.probability)
        np.testing.assert_array_equal(found[sha256].confidence, expected.confidence)


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    write_soft_labels(path, {"aa": label(10, FULL_SCALE)})

    def write_half() -> None:
        with finished_or_nothing(path) as file:
            file.write(b"half a file")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert read_soft_labels(path).keys() == {"aa"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_closed_is_not_there(tmp_path: Path, full_disk: FullDisk) -> None:
    """What fits into a buffer meets the full disk only when the file is closed."""
    path = tmp_path / "results.json"
    too_large = pytest.raises(OSError, match="File too large")
    with full_disk(100), too_large, finished_or_nothing(path) as file:
        file.write(b"x" * 1000)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_soft_labels(tmp_path / "labels.npz", {"aa": label(10, FULL_SCALE)})
    assert (tmp_path / "labels.npz").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_two_may_write_a_file_at_the_same_time_and_the_later_wins(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    with finished_or_nothing(path) as file:
        file.write(b"whole")
        with finished_or_nothing(path) as other:
            other.write(b"whole, too")
        assert path.read_bytes() == b"whole, too"
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_the_later_file_wins(tmp_path: Path) -> None:
    write_soft_labels(tmp_path / "a.npz", {"x": label(1, 1)})
    write_soft_labels(tmp_path / "b.npz", {"x": label(2, 2)})
    assert read_soft_labels(tmp_path)["x"].probability[0, 0] == 2
    assert read_soft_labels([tmp_path / "b.npz", tmp_path / "a.npz"])["x"].probability[0, 0] == 1


@settings(deadline=None)
@given(hnp.arrays(np.float32, (4, 4), elements=st.floats(0, 1, width=32)))
def test_quantising_rounds_to_the_nearest_step(values: np.ndarray) -> None:
    np.testing.assert_allclose(quantise(values) / FULL_SCALE, values, atol=ROUNDING + 1e-6)
    coarse = quantise(values, PROBABILITY_STEP)
    assert np.all(coarse % PROBABILITY_STEP == 0)
    np.testing.assert_allclose(coarse / FULL_SCALE, values, atol=PROBABILITY_STEP * ROUNDING + 1e-6)


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(SoftLabelError, match="there are no soft labels"):
        read_soft_labels(tmp_path / "missing.npz")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(SoftLabelError, match="'weights', which is no soft label"):
        read_soft_labels(tmp_path)
    with pytest.raises(SoftLabelError, match="same pixels"):
        SoftLabel(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize("end", [0, 40, -100])
def test_a_damaged_file_is_named(tmp_path: Path, end: int) -> None:
    file = tmp_path / "labels.npz"
    shade = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    write_soft_labels(file, {"a" * 64: SoftLabel(shade, shade)})
    whole = file.read_bytes()
    file.write_bytes(whole[:end])
    with pytest.raises(SoftLabelError, match=r"labels\.npz: is damaged"):
        read_soft_labels(file)
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    file.write_bytes(flipped)
    with pytest.raises(SoftLabelError, match=r"labels\.npz: is damaged"):
        read_soft_labels(file)


def test_the_teacher_looked_at_every_image_and_every_view() -> None:
    """At 261 images and 1,926 views of them: a student is taught on all it learns from."""
    keys = read_soft_labels(SOFT_LABELS / NNUNET).keys()
    images = {key for key in keys if "." not in key}
    views = [key for key in keys if "." in key]
    assert len(images) == 261
    assert len(views) == 1926
    assert {key.split(".")[0] for key in views} <= images
    assert all(key.endswith(f".view-v{LABEL_VERSION}") for key in views)
