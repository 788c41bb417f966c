"""Writing a scene collection: what `payload.scenes` reads, from any public data set."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from payload.frame import BANDS, NO_DATA
from payload.scenes import MANIFEST, UNLABELLED, SceneError, labelled_cloud
from payload.whole_file import finished_or_nothing


@dataclass(frozen=True)
class Position:
    """Where an image lies: coordinate reference system, and the map of its cells into that."""

    crs: CRS
    transform: Affine


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
    surface: str = ""

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
        surface: str = "",
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
            surface=surface,
        )

    @classmethod
    def read(cls, row: Mapping[str, str]) -> SceneRow:
        """A row of a manifest that is there; what it leaves out is empty.

        Raises
        ------
        SceneError
            A size is no number.
        """
        told: dict[str, Any] = {field.name: row.get(field.name, "") for field in fields(cls)}
        try:
            told["gsd_m"] = float(told["gsd_m"])
            told["height"], told["width"] = int(told["height"]), int(told["width"])
        except ValueError as error:
            raise SceneError(
                f"{MANIFEST}, scene {row['name']!r}: a size is no number ({error}); correct it, or "
                "name another folder"
            ) from None
        return cls(**told)


def cloud_fraction(mask: NDArray[np.uint8]) -> float:
    """Thick and thin cloud over valid pixels of a mask; 0 where no pixel is valid."""
    valid = mask != NO_DATA
    return float(labelled_cloud(mask[valid]).mean()) if valid.any() else 0.0


def write_image(path: Path, image: NDArray[np.uint16], position: Position | None = None) -> None:
    """Write reflectance x 10000, shape (4, H, W), with the bands' names."""
    _write(path, image.astype(np.uint16), BANDS, position)


def write_mask(path: Path, mask: NDArray[np.uint8], position: Position | None = None) -> None:
    """Write a mask, shape (H, W)."""
    _write(path, mask.astype(np.uint8)[None], ("mask",), position)


def write_collection(folder: Path, rows: Sequence[SceneRow]) -> None:
    """Write the manifest of a collection whose images are already in the folder.

    An interruption leaves the manifest that was there.
    """
    columns = [field.name for field in fields(SceneRow)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    with finished_or_nothing(folder / MANIFEST) as file:
        file.write(text.getvalue().encode("utf-8"))


def _write(
    path: Path, bands: NDArray[np.generic], names: Sequence[str], position: Position | None
) -> None:
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
            **({} if position is None else asdict(position)),
        ) as raster:
            raster.write(bands)
            raster.descriptions = tuple(names)
