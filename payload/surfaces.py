"""What lies under the clouds: the vocabulary of surfaces and two rules that name one.

False alarms of a cloud detector depend on the ground (snow, sand and roofs are bright), so
errors are told by surface. The manifest's word counts; where it says nothing, the name and the
notes may, and in the last resort the pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

UNKNOWN_SURFACE = "unknown"

SURFACES: tuple[str, ...] = (
    "barren", "desert", "forest", "grass_crops", "shrubland", "snow_ice", "urban", "water",
    "wetlands", UNKNOWN_SURFACE,
)  # fmt: skip
"""The biomes of the Landsat-8 cloud validation set (Foga et al. 2017), desert, and unknown."""

_SURFACE_OF_NAME: tuple[tuple[str, str], ...] = (
    ("barren", "barren"), ("forest", "forest"), ("grasscrops", "grass_crops"),
    ("shrubland", "shrubland"), ("snowice", "snow_ice"), ("urban", "urban"), ("water", "water"),
    ("wetlands", "wetlands"),
)  # fmt: skip
_SURFACE_OF_NOTES: tuple[tuple[str, str], ...] = (
    (r"\b(bright ice|snow surface|uniform snow)\b", "snow_ice"),
    (r"\b(bright sand|sand desert)\b", "desert"),
    (r"\bopen water\b", "water"),
)


def surface_of_row(row: Mapping[str, str]) -> str:
    """Surface of a manifest row: by column, else by notes, else by a biome in the name.

    The column ``surface`` wins. Without it, notes that speak of snow, bright sand or open
    water decide, because they were written for the patch and not for the whole Landsat scene.
    Then the biome that opens the name (``GrassCrops_00_1014``). Else ``unknown``, and
    `spectral_surface` can tell more from the pixels.
    """
    if row.get("surface"):
        return row["surface"]
    notes = row.get("notes", "").lower()
    for pattern, surface in _SURFACE_OF_NOTES:
        if re.search(pattern, notes):
            return surface
    name = row["name"].lower()
    for biome, surface in _SURFACE_OF_NAME:
        if name.startswith(biome):
            return surface
    return UNKNOWN_SURFACE


def spectral_surface(
    reflectance: NDArray[np.float32], truth: NDArray[np.uint8] | None = None
) -> str:
    """Guess the surface from pixels that are clear, or from the darker half without truth.

    A coarse rule of ours on the medians: snow by bright blue (only where truth says clear);
    water where green exceeds a dark near infrared (the sign of McFeeters' 1996 water index);
    vegetation by NDVI, forest being dark in red; desert by bright red over blue; else barren.

    Parameters
    ----------
    reflectance : ndarray of float32, shape (4, H, W)
        Blue, green, red, near infrared.
    truth : ndarray of uint8, shape (H, W), optional
        A mask as in `payload.scenes`.

    Returns
    -------
    str
        One of `SURFACES`; ``unknown`` when no clear ground is seen.
    """
    ground = np.any(reflectance != 0, axis=0)
    if truth is not None:
        ground &= truth == 0
    elif ground.any():
        ground &= reflectance[0] <= float(np.median(reflectance[0][ground]))
    if not ground.any():
        return UNKNOWN_SURFACE
    blue, green, red, nir = (float(np.median(band[ground])) for band in reflectance)
    if blue > 0.4:
        return "snow_ice" if truth is not None else UNKNOWN_SURFACE
    if green > nir and nir < 0.12:
        return "water"
    ndvi = (nir - red) / max(nir + red, 1e-6)
    if ndvi > 0.4:
        return "forest" if red < 0.06 else "grass_crops"
    if red > 0.28 and red > blue:
        return "desert"
    return "shrubland" if ndvi > 0.2 else "barren"
