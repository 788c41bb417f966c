"""Reading one band of a published data set."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError


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
