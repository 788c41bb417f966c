"""The image files of scenes: what a GeoTIFF says of its own bands is believed.

Bands named ``B02``, ``B03``, ``B04`` and ``B08``, or blue, green, red and nir in whatever letters,
are found by name, in whatever order. Without names, four bands of which three are red, green and
blue by their colour interpretation are those and near infrared; four bands that say nothing are
blue, green, red and near infrared, and thirteen are those of Sentinel-2. A declared value of no
data becomes 0 in all bands. An opacity band is not near infrared.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from payload.frame import BANDS

SENTINEL2_BANDS: tuple[str, ...] = ("B02", "B03", "B04", "B08")
"""The names in a file of blue, green, red and near infrared."""


class SceneError(ValueError):
    """A scene collection cannot be used; the message names file, reason and remedy."""


@dataclass(frozen=True)
class SceneImage:
    """The pixels of a file with what it says of them.

    Attributes
    ----------
    path : Path
    values : ndarray, shape (bands, H, W)
    descriptions : tuple of str or None
        Names of the bands.
    nodata : float or None
    colours : tuple of ColorInterp
        What each band is said to be drawn as.
    """

    path: Path
    values: NDArray[Any]
    descriptions: tuple[str | None, ...]
    nodata: float | None
    colours: tuple[ColorInterp, ...]

    def four_bands(self) -> NDArray[Any]:
        """Blue, green, red and near infrared, shape (4, H, W); 0 without data.

        Raises
        ------
        SceneError
            The file does not have them.
        """
        bands = self.values[self._indices()]
        if self.nodata:
            bands = np.where((bands == self.nodata).any(axis=0), 0, bands)
        return bands

    def _indices(self) -> list[int]:
        count = len(self.values)
        names = [(name or "").lower() for name in self.descriptions]
        for bands in (tuple(band.lower() for band in SENTINEL2_BANDS), BANDS):
            if all(band in names for band in bands):
                return [names.index(band) for band in bands]
        if ColorInterp.alpha in self.colours:
            raise SceneError(
                f"{self.path}: band {count} is opacity by its colour interpretation; save blue, "
                f"green, red and near infrared, or name the bands {', '.join(SENTINEL2_BANDS)}"
            )
        if count == 4:
            return self._order_by_colour()
        if count == 13:
            return [1, 2, 3, 7]
        raise SceneError(
            f"{self.path}: has {count} bands, expected 4 (blue, green, red, nir) or the 13 of "
            "Sentinel-2; select the bands and save the image again"
        )

    def _order_by_colour(self) -> list[int]:
        """Four bands, of which the one that is no colour is near infrared."""
        visible = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
        if not all(self.colours.count(colour) == 1 for colour in visible):
            return [0, 1, 2, 3]
        order = [self.colours.index(colour) for colour in visible]
        return [*order, 6 - sum(order)]


def image_size_px(path: Path) -> tuple[int, int]:
    """Rows and columns of a file.

    Raises
    ------
    SceneError
        It cannot be opened.
    """
    with _open(path) as raster:
        return int(raster.height), int(raster.width)


def read_image(path: Path) -> SceneImage:
    """All of a file.

    Raises
    ------
    SceneError
        It cannot be opened or read.
    """
    with _open(path) as raster:
        try:
            return SceneImage(
                path, raster.read(), raster.descriptions, raster.nodata, raster.colorinterp
            )
        except RasterioError as error:
            raise SceneError(
                f"{path}: its pixels cannot be read ({error}); the file is damaged, restore it"
            ) from error
        except UnicodeDecodeError as error:
            raise SceneError(
                f"{path}: what it says of its bands cannot be read ({error}); the file is damaged, "
                "restore it"
            ) from error
        except MemoryError as error:
            raise SceneError(
                f"{path}: {raster.count} bands of {raster.height} x {raster.width} px do not fit "
                "into memory; cut the image into scenes, or restore the file if it is damaged"
            ) from error


def _open(path: Path) -> Any:
    with warnings.catch_warnings():
        # Patches cut by data set authors often have no position; that is no fault.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            return rasterio.open(path)
        except RasterioError as error:
            raise SceneError(
                f"{path}: cannot be opened as an image ({error}); restore the file or remove "
                "it from the manifest"
            ) from error
