"""What importers of published data sets share: bands, places without data, splits by place.

Neighbours must not sit on both sides of a split, so it is a place that is drawn, not a patch; its
hash draws, so that another download gives the same split.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from payload.frame import NO_DATA

VALIDATION_SHARE = 0.1


def read_band(path: Path, error: type[ValueError]) -> NDArray[np.generic]:
    """First band of a raster, shape (H, W).

    Parameters
    ----------
    path : Path
    error : type of ValueError
        Raised, with the file's name and the remedy, when it is missing or cannot be read.
    """
    if not path.is_file():
        raise error(f"{path}: does not exist; unpack the data set again")
    with warnings.catch_warnings():
        # Patches cut by data set authors often have no position; that is no fault.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as raster:
                return raster.read(1)
        except RasterioError as reason:
            raise error(f"{path}: cannot be read ({reason}); unpack it again") from reason


def truth_where_seen(mask: NDArray[np.uint8], image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """A mask (H, W) with no data where all bands (4, H, W) are 0, as scene collections have it."""
    return np.where(image.any(axis=0), mask, np.uint8(NO_DATA))


def split_of(place: str, validation_share: float = VALIDATION_SHARE) -> str:
    """``train`` or ``val`` for a place, by its hash: all patches of a place share a split."""
    digest = hashlib.sha256(place.encode("utf-8")).digest()
    return "val" if int.from_bytes(digest[:8], "big") / 2**64 < validation_share else "train"
