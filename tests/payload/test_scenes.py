"""The scene-collection reader: what it reads, and what it says about what it cannot read."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from payload.scenes import (
    MANIFEST,
    SceneError,
    collection_folders,
    read_collection,
    read_scenes,
)
from payload.surfaces import spectral_surface, surface_of_row

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

HEIGHT_PX, WIDTH_PX = 6, 8
ROW = {
    "name": "first", "sensor": "Sentinel-2 MSI", "level": "L1C", "gsd_m": "10",
    "height": str(HEIGHT_PX), "width": str(WIDTH_PX), "label": "human",
    "cloud_fraction": "0.25", "split": "train", "notes": "",
}  # fmt: skip


def write_tif(
    path: Path, values: NDArray[np.generic], names: tuple[str, ...] = (), **options: object
) -> None:
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        **options,
    ) as raster:
        raster.write(values)
        if names:
            raster.descriptions = names


def write_manifest(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / MANIFEST).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    image = np.arange(4 * HEIGHT_PX * WIDTH_PX, dtype=np.uint16).reshape(4, HEIGHT_PX, WIDTH_PX)
    mask = np.zeros((1, HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
    mask[0, :, :2] = 1
    write_tif(folder / "first.tif", image * 100)
    write_tif(folder / "first.mask.tif", mask)
    write_manifest(folder, [ROW])
    return folder


def change_row(folder: Path, **changes: str) -> None:
    write_manifest(folder, [{**ROW, **changes}])


def test_a_scene_gives_reflectance_and_truth(folder: Path) -> None:
    collection = read_collection(folder)
    (scene,) = collection
    assert (collection.name, scene.full_name) == ("mine", "mine/first")
    reflectance, truth = scene.reflectance(), scene.truth()
    assert reflectance.dtype == np.float32
    assert reflectance.shape == (4, HEIGHT_PX, WIDTH_PX)
    np.testing.assert_allclose(reflectance[0, 0, :3], [0.0, 0.01, 0.02], rtol=1e-6)
    assert truth is not None
    assert (truth != 0).mean() == scene.cloud_fraction
    assert scene.clear_reflectance() is None
    assert len(scene.sha256) == 64
    assert collection.labelled == (scene,)


def test_thirteen_bands_give_the_four_by_name_whatever_their_order(folder: Path) -> None:
    names = ("B12", "B08", "B01", "B02", "B05", "B04", "B06", "B03", "B07", "B8A", "B09", "B10",
             "B11")  # fmt: skip
    stack = np.stack([np.full((HEIGHT_PX, WIDTH_PX), i * 1000, np.uint16) for i in range(13)])
    write_tif(folder / "first.tif", stack, names)
    reflectance = read_collection(folder).scenes[0].reflectance()
    expected = [names.index(band) / 10 for band in ("B02", "B03", "B04", "B08")]
    np.testing.assert_allclose(reflectance[:, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("B04", "B03", "B02", "B08"), {}),
        (("red", "green", "blue", "nir"), {}),
        (("Red", "Green", "Blue", "NIR"), {"photometric": "RGB", "alpha": "YES"}),
        ((), {"photometric": "RGB"}),
    ],
)
def test_four_bands_are_taken_by_what_the_file_calls_them(
    folder: Path, names: tuple[str, ...], options: dict[str, str]
) -> None:
    stack = np.stack([np.full((HEIGHT_PX, WIDTH_PX), i * 1000, np.uint16) for i in (3, 2, 1, 4)])
    write_tif(folder / "first.tif", stack, names, **options)
    reflectance = read_collection(folder).scenes[0].reflectance()
    np.testing.assert_allclose(reflectance[:, 0, 0], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_a_declared_value_of_no_data_is_no_reflectance(folder: Path) -> None:
    image = np.full((4, HEIGHT_PX, WIDTH_PX), 2000, np.uint16)
    image[1:, :, :3] = 65535
    write_tif(folder / "first.tif", image, nodata=65535)
    reflectance = read_collection(folder).scenes[0].reflectance()
    assert np.all(reflectance[:, :, :3] == 0)
    np.testing.assert_allclose(reflectance[:, :, 3:], 0.2, rtol=1e-6)


def test_opacity_is_not_near_infrared(folder: Path) -> None:
    image = np.full((4, HEIGHT_PX, WIDTH_PX), 2000, np.uint16)
    write_tif(folder / "first.tif", image, photometric="RGB", alpha="YES")
    with pytest.raises(SceneError, match=r"first\.tif: band 4 is opacity"):
        read_collection(folder).scenes[0].reflectance()


def test_names_of_bands_that_are_no_text_are_a_damaged_file(folder: Path) -> None:
    image = np.full((4, HEIGHT_PX, WIDTH_PX), 2000, np.uint16)
    write_tif(folder / "first.tif", image, ("B02", "B03", "B04", "B08"))
    whole = (folder / "first.tif").read_bytes()
    (folder / "first.tif").write_bytes(whole.replace(b"B02", b"\xff02"))
    with pytest.raises(SceneError, match=r"first\.tif: what it says of its bands cannot be read"):
        read_collection(folder).scenes[0].reflectance()


def test_an_image_larger_than_memory_is_refused(folder: Path) -> None:
    band = '<VRTRasterBand dataType="UInt16" band="{}"/>'
    edge = 'rasterXSize="20000000" rasterYSize="20000000"'
    bands = "".join(band.format(n) for n in range(1, 5))
    (folder / "first.tif").write_text(f"<VRTDataset {edge}>{bands}</VRTDataset>")
    with pytest.raises(SceneError, match=r"4 bands of 20000000 x 20000000 px do not fit"):
        read_collection(folder).scenes[0].reflectance()


def test_a_manifest_saved_by_a_spreadsheet_is_read(folder: Path) -> None:
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text(), encoding="utf-8-sig")
    assert [scene.name for scene in read_collection(folder)] == ["first"]


def test_a_clear_date_is_read_when_there_is_one(folder: Path) -> None:
    write_tif(folder / "first.clear.tif", np.full((4, HEIGHT_PX, WIDTH_PX), 5000, np.uint16))
    clear = read_collection(folder).scenes[0].clear_reflectance()
    assert clear is not None
    np.testing.assert_allclose(clear, 0.5)


def test_an_unlabelled_scene_has_no_truth(folder: Path) -> None:
    change_row(folder, label="none", cloud_fraction="")
    (folder / "first.mask.tif").unlink()
    scene = read_collection(folder).scenes[0]
    assert scene.truth() is None
    assert scene.cloud_fraction is None


def test_a_subfolder_is_read_by_its_parents_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    other = {**ROW, "collection": "other", "name": "absent"}
    write_manifest(folder.parent, [{**ROW, "collection": "mine"}, other])
    assert [scene.name for scene in read_collection(folder)] == ["first"]
    assert collection_folders(folder.parent) == (folder, folder.parent / "other")
    with pytest.raises(SceneError, match="several collections"):
        read_collection(folder.parent)


def test_several_collections_with_their_own_manifests(folder: Path) -> None:
    assert [scene.full_name for scene in read_scenes(folder.parent)] == ["mine/first"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "absent"}, "absent.tif does not exist"),
        ({"gsd_m": "ten"}, "gsd_m is 'ten'"),
        ({"gsd_m": "-1"}, "gsd_m is '-1'"),
        ({"gsd_m": "inf"}, "gsd_m is 'inf'"),
        ({"cloud_fraction": "40"}, "cloud_fraction is '40', expected a number from 0 to 1"),
        ({"surface": "moon"}, "surface 'moon' is not known"),
    ],
)
def test_a_bad_row_is_named_with_line_and_value(
    folder: Path, changes: dict[str, str], said: str
) -> None:
    change_row(folder, **changes)
    with pytest.raises(SceneError, match=said) as raised:
        read_collection(folder)
    assert "row 2" in str(raised.value)


def test_a_missing_mask_is_an_error(folder: Path) -> None:
    (folder / "first.mask.tif").unlink()
    with pytest.raises(SceneError, match=r"mask\.tif does not exist though label is 'human'"):
        read_collection(folder)


def test_a_missing_column_is_an_error(folder: Path) -> None:
    write_manifest(folder, [{key: value for key, value in ROW.items() if key != "level"}])
    with pytest.raises(SceneError, match="column 'level' is missing"):
        read_collection(folder)


def test_a_name_that_occurs_twice_is_an_error(folder: Path) -> None:
    write_manifest(folder, [ROW, ROW])
    with pytest.raises(SceneError, match="occurs twice"):
        read_collection(folder)


def test_a_folder_without_manifest_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "a" / "b"
    empty.mkdir(parents=True)
    with pytest.raises(SceneError, match=r"holds no manifest\.csv"):
        read_collection(empty)
    with pytest.raises(SceneError, match="no such folder"):
        read_collection(tmp_path / "c")
    with pytest.raises(SceneError, match="holds no scene collection"):
        read_scenes(empty)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, HEIGHT_PX, WIDTH_PX), np.float32), "expected uint16"),
        (np.zeros((3, HEIGHT_PX, WIDTH_PX), np.uint16), "has 3 bands"),
        (np.zeros((4, HEIGHT_PX, WIDTH_PX + 1), np.uint16), "the manifest says"),
    ],
)
def test_an_image_of_the_wrong_kind_is_an_error(
    folder: Path, image: NDArray[np.generic], said: str
) -> None:
    write_tif(folder / "first.tif", image)
    with pytest.raises(SceneError, match=said):
        read_collection(folder).scenes[0].reflectance()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.full((1, HEIGHT_PX, WIDTH_PX), 9, np.uint8), "value 9 has no meaning"),
        (np.zeros((1, HEIGHT_PX, WIDTH_PX), np.uint16), "one uint8 band"),
        (np.zeros((1, HEIGHT_PX, 3), np.uint8), "the manifest says"),
    ],
)
def test_a_mask_of_the_wrong_kind_is_an_error(
    folder: Path, mask: NDArray[np.generic], said: str
) -> None:
    write_tif(folder / "first.mask.tif", mask)
    with pytest.raises(SceneError, match=said):
        read_collection(folder).scenes[0].truth()


@pytest.mark.parametrize("kept_bytes", [0, 5, 200])
def test_an_unreadable_image_is_an_error(folder: Path, kept_bytes: int) -> None:
    image = folder / "first.tif"
    image.write_bytes(image.read_bytes()[:kept_bytes])
    with pytest.raises(SceneError, match=r"first\.tif"):
        read_collection(folder).scenes[0].reflectance()


@pytest.mark.parametrize(
    ("row", "surface"),
    [
        ({"name": "GrassCrops_00_1014", "notes": ""}, "grass_crops"),
        ({"name": "Barren_08_0207", "notes": "bright sand desert, labelled clear"}, "desert"),
        ({"name": "Barren_00_0214", "notes": "open water although Barren"}, "water"),
        ({"name": "Water_01", "notes": "bright ice or snow surface"}, "snow_ice"),
        ({"name": "Water_01", "notes": "", "surface": "urban"}, "urban"),
        ({"name": "101429", "notes": ""}, "unknown"),
    ],
)
def test_the_surface_follows_column_then_notes_then_name(row: dict[str, str], surface: str) -> None:
    assert surface_of_row(row) == surface


@pytest.mark.parametrize(
    ("bands", "surface"),
    [
        ((0.08, 0.06, 0.04, 0.02), "water"),
        ((0.08, 0.07, 0.05, 0.30), "forest"),
        ((0.10, 0.12, 0.10, 0.35), "grass_crops"),
        ((0.20, 0.28, 0.38, 0.45), "desert"),
        ((0.80, 0.80, 0.80, 0.70), "snow_ice"),
        ((0.00, 0.00, 0.00, 0.00), "unknown"),
    ],
)
def test_the_surface_by_its_spectrum(bands: tuple[float, ...], surface: str) -> None:
    pixels = np.array(bands, np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    assert spectral_surface(pixels, np.zeros((4, 4), np.uint8)) == surface


@pytest.mark.skipif(
    "NEPHOSCOPE_SCENES" not in os.environ, reason="NEPHOSCOPE_SCENES names no folder of scenes"
)
def test_real_scenes_have_the_cover_their_manifest_tells() -> None:
    scenes = [s for s in read_scenes(os.environ["NEPHOSCOPE_SCENES"]) if s.collection == "l8biome"]
    assert scenes
    for scene in scenes:
        truth = scene.truth()
        assert truth is not None
        valid = truth != 255
        assert scene.cloud_fraction == pytest.approx(
            float(np.isin(truth[valid], (1, 2)).mean()), abs=1e-4
        )
