"""The On Cloud N reader on small rasters with the published names."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import rasterio

from payload.scene_check import scene_problems
from payload.scenes import read_collection
from payload.training.datasets import load_training_set, training_images
from payload.training.oncloudn import (
    BAND_FILES,
    OnCloudNError,
    import_chips,
    read_chips,
)
from payload.training.published_data import split_of

EDGE_PX = 8


def write_band(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype=values.dtype,
        crs="EPSG:32736",
        transform=rasterio.transform.from_origin(500000, 9000000, 10, 10),
    ) as raster:
        raster.write(values, 1)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Three chips: two labelled at two places, one test chip without a label."""
    root = tmp_path / "published"
    for index, chip in enumerate(("adwp", "akny", "zzzz")):
        for band, name in enumerate(BAND_FILES):
            values = np.full((EDGE_PX, EDGE_PX), 1000 * (band + 1) + index, dtype=np.uint16)
            write_band(root / "train_features" / chip / name, values)
    for chip, rows in (("adwp", 2), ("akny", 4)):
        label = np.zeros((EDGE_PX, EDGE_PX), dtype=np.uint8)
        label[:rows] = 1
        label[-1, -1] = 255
        write_band(root / "train_labels" / f"{chip}.tif", label)
    with (root / "train_metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["chip_id", "location", "datetime", "cloudpath"])
        writer.writerow(["adwp", "Chifunfu", "2020-04-29T08:20:47Z", "az://somewhere"])
        writer.writerow(["akny", "Addis Ababa", "2019-01-02T07:42:10Z", "az://somewhere"])
    return root


def test_chips_come_with_bands_in_order_labels_and_metadata(published: Path) -> None:
    first, _, last = read_chips(published)
    assert (first.chip_id, first.location) == ("adwp", "Chifunfu")
    assert first.datetime.startswith("2020-04-29")
    assert first.digital_number()[:, 0, 0].tolist() == [1000, 2000, 3000, 4000]
    mask = first.mask()
    assert mask is not None
    assert int((mask == 1).sum()) == 2 * EDGE_PX
    assert mask[-1, -1] == 255
    assert last.mask() is None


def test_an_imported_collection_can_be_read_and_trained_on(published: Path, tmp_path: Path) -> None:
    assert import_chips(published, tmp_path / "oncloudn") == 3
    scenes = {scene.name: scene for scene in read_collection(tmp_path / "oncloudn")}
    assert scenes["zzzz"].split == "unlabelled"
    assert scenes["zzzz"].label == "none"
    assert scenes["adwp"].split == split_of("Chifunfu")
    assert scenes["adwp"].cloud_fraction == pytest.approx(16 / 63, abs=1e-4)
    assert scenes["adwp"].gsd_m == 10.0
    np.testing.assert_allclose(
        scenes["akny"].reflectance()[:, 0, 0], [0.1001, 0.2001, 0.3001, 0.4001], atol=1e-6
    )
    trained_on = {sample.name for sample in load_training_set(tmp_path / "oncloudn").samples}
    assert trained_on == {n for n in ("adwp", "akny") if scenes[n].split == "train"}


def test_missing_parts_are_named(published: Path, tmp_path: Path) -> None:
    with pytest.raises(OnCloudNError, match="holds no chips"):
        list(read_chips(tmp_path / "elsewhere"))
    (published / "train_features" / "adwp" / "B08.tif").unlink()
    first = next(iter(read_chips(published)))
    with pytest.raises(OnCloudNError, match=r"B08\.tif: does not exist"):
        first.digital_number()


def test_bands_of_different_size_are_refused(published: Path) -> None:
    small = np.zeros((EDGE_PX // 2, EDGE_PX), dtype=np.uint16)
    write_band(published / "train_features" / "adwp" / "B04.tif", small)
    first = next(iter(read_chips(published)))
    with pytest.raises(OnCloudNError, match=r"B04\.tif"):
        first.digital_number()


def test_a_chip_without_a_label_at_a_held_out_place_is_not_trained_on(
    published: Path, tmp_path: Path
) -> None:
    held_out = next(f"place {i}" for i in range(100) if split_of(f"place {i}") == "val")
    metadata = published / "train_metadata.csv"
    metadata.write_text(metadata.read_text() + f"zzzz,{held_out},2020-01-01,az://somewhere\n")
    import_chips(published, tmp_path / "oncloudn")
    scenes = {scene.name: scene for scene in read_collection(tmp_path / "oncloudn")}
    assert (scenes["zzzz"].split, scenes["zzzz"].label) == ("val", "none")
    assert "zzzz" not in {i.scene.name for i in training_images(tmp_path / "oncloudn")}


def test_a_label_of_another_size_is_refused(published: Path) -> None:
    small = np.zeros((EDGE_PX // 2, EDGE_PX // 2), dtype=np.uint8)
    write_band(published / "train_labels" / "adwp.tif", small)
    with pytest.raises(OnCloudNError, match=r"adwp\.tif: is \(4, 4\) px"):
        next(iter(read_chips(published))).mask()


def test_metadata_without_chips_are_refused(published: Path) -> None:
    (published / "train_metadata.csv").write_text("id,location\nadwp,Chifunfu\n")
    with pytest.raises(OnCloudNError, match="has no column chip_id"):
        list(read_chips(published))


def test_pixels_without_data_are_no_truth(published: Path, tmp_path: Path) -> None:
    """The collection passes its own check: a label over nothing would be counted as cover."""
    for name in BAND_FILES:
        values = np.full((EDGE_PX, EDGE_PX), 1000, dtype=np.uint16)
        values[0] = 0
        write_band(published / "train_features" / "adwp" / name, values)
    import_chips(published, tmp_path / "oncloudn")
    assert list(scene_problems(tmp_path / "oncloudn")) == []
    scenes = {scene.name: scene for scene in read_collection(tmp_path / "oncloudn")}
    truth = scenes["adwp"].truth()
    assert truth is not None
    assert (truth[0] == 255).all()
    assert scenes["adwp"].cloud_fraction == pytest.approx(8 / 55, abs=1e-4)


def test_labelled_chips_without_a_place_are_not_split_by_chance(
    published: Path, tmp_path: Path
) -> None:
    (published / "train_metadata.csv").unlink()
    with pytest.raises(OnCloudNError, match=r"metadata\.csv: gives no location for chip adwp"):
        import_chips(published, tmp_path / "oncloudn")
    assert not (tmp_path / "oncloudn").exists()
