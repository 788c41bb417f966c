"""Writing a scene collection: what `payload.scenes` reads, from any public data set."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from payload.frame import BANDS
from payload.scenes import CLOUD, MANIFEST, NO_DATA, THIN_CLOUD, UNLABELLED


@dataclass(frozen=True)
class SceneRow:
    """One row of a manifest; columns as in `payload.scenes.Scene`."""

    name: str
    sensor: str
    level: str
    gsd_m: float
    height: int
    width: int
    label: str
    cloud_fraction: str
    split: str
    place: str
    date: str
    source: str
    licence: str
    notes: str = ""

    @classmethod
    def of(
        cls,
        *,
        name: str,
        sensor: str,
        level: str,
        gsd_m: float,
        image: NDArray[np.uint16],
        mask: NDArray[np.uint8] | None,
        label: str,
        split: str,
        source: str,
        licence: str,
        place: str = "",
        date: str = "",
    ) -> SceneRow:
        """Row of an image of shape (4, H, W) and its mask; size and cover are taken from them."""
        height, width = image.shape[1:]
        return cls(
            name=name,
            sensor=sensor,
            level=level,
            gsd_m=gsd_m,
            height=height,
            width=width,
            label=UNLABELLED if mask is None else label,
            cloud_fraction="" if mask is None else f"{cloud_fraction(mask):.4f}",
            split=split,
            place=place,
            date=date,
            source=source,
            licence=licence,
        )


def cloud_fraction(mask: NDArray[np.uint8]) -> float:
    """Thick and thin cloud over valid pixels of a mask; 0 where no pixel is valid."""
    valid = mask != NO_DATA
    cloud = (mask == CLOUD) | (mask == THIN_CLOUD)
    return float(cloud[valid].mean()) if valid.any() else 0.0


def write_image(path: Path, image: NDArray[np.uint16]) -> None:
    """Write reflectance x 10000, shape (4, H, W), with the bands' names."""
    _write(path, image.astype(np.uint16), BANDS)


def write_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write a mask, shape (H, W)."""
    _write(path, mask.astype(np.uint8)[None], ("mask",))


def write_collection(folder: Path, rows: Sequence[SceneRow]) -> None:
    """Write the manifest of a collection whose images are already in the folder."""
    columns = [field.name for field in fields(SceneRow)]
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _write(path: Path, bands: NDArray[np.generic], names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    with warnings.catch_warnings():
        # Patches of public data sets often have no position.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=bands.dtype,
            compress="deflate",
            predictor=2,
        ) as raster:
            raster.write(bands)
            raster.descriptions = tuple(names)
