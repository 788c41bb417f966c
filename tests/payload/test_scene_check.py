"""Checking a collection: every fault is told, and a sound one gives none."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from payload.scene_check import scene_problems
from payload.scenes import MANIFEST, SceneError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

EDGE_PX = 8
ROW = {
    "name": "a", "sensor": "S", "level": "L1C", "gsd_m": "10", "label": "human",
    "cloud_fraction": "0.5", "split": "train",
}  # fmt: skip


def write_image(path: Path, values: np.ndarray) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", count=values.shape[0], height=EDGE_PX, width=EDGE_PX,
        dtype=values.dtype,
    ) as raster:  # fmt: skip
        raster.write(values)


def write_rows(folder: Path, *rows: dict[str, str]) -> None:
    with (folder / MANIFEST).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(ROW))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.tif", np.full((4, EDGE_PX, EDGE_PX), 1500, np.uint16))
        mask = np.zeros((1, EDGE_PX, EDGE_PX), np.uint8)
        mask[0, : EDGE_PX // 2] = 1
        write_image(tmp_path / f"{name}.mask.tif", mask)
    write_rows(tmp_path, ROW, {**ROW, "name": "b"})
    return tmp_path


def with_holes(folder: Path) -> None:
    image = np.full((4, EDGE_PX, EDGE_PX), 1500, np.uint16)
    image[:, 0, :3] = 0
    write_image(folder / "a.tif", image)


def with_percent(folder: Path) -> None:
    write_image(folder / "a.tif", np.full((4, EDGE_PX, EDGE_PX), 40_000, np.uint16))


def without_data(folder: Path) -> None:
    write_image(folder / "a.tif", np.zeros((4, EDGE_PX, EDGE_PX), np.uint16))


def unlabelled_mask(folder: Path) -> None:
    write_image(folder / "a.mask.tif", np.full((1, EDGE_PX, EDGE_PX), 255, np.uint8))


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (with_holes, "3 pixels without data are labelled"),
    (with_percent, "median reflectance is 4.0000"),
    (without_data, "holds no data at all"),
    (unlabelled_mask, "no pixel is labelled"),
    (lambda f: (f / "a.mask.tif").unlink(), "a.mask.tif does not exist"),
    (lambda f: (f / "a.tif").write_bytes(b"no image"), "cannot be opened as an image"),
    (
        lambda f: write_rows(f, {**ROW, "cloud_fraction": "0.9"}, {**ROW, "name": "b"}),
        "cloud_fraction is 0.9000, the mask has 0.5000",
    ),
    (
        lambda f: write_rows(f, {**ROW, "cloud_fraction": ""}, {**ROW, "name": "b"}),
        "cloud_fraction is empty",
    ),
    (lambda f: write_rows(f, ROW, ROW), "name 'a' occurs twice"),
]


def test_a_sound_collection_has_no_problem(folder: Path) -> None:
    assert list(scene_problems(folder)) == []


@pytest.mark.parametrize(("spoil", "said"), FAULTS)
def test_each_fault_is_told_alone(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(folder)
    (problem,) = scene_problems(folder)
    assert said in problem


def test_faults_of_several_scenes_are_all_told(folder: Path) -> None:
    (folder / "a.mask.tif").unlink()
    (folder / "b.tif").write_bytes(b"")
    first, second = scene_problems(folder)
    assert "a.mask.tif" in first
    assert "b.tif" in second


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="manifest"):
        list(scene_problems(tmp_path))
