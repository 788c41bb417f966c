"""s2cloudless, a peer that cannot fly here: it needs ten Sentinel-2 bands, of which an
imager of blue, green, red and near infrared has three.

It serves as a source of weak labels and as a mark for speed. The package (extra `peers`, CC BY-SA
4.0, Sinergise) ships its boosted trees in the wheel and judges each pixel alone; smoothing and
dilation of the mask come after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SENTINEL2_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip
"""The 13 bands of a Sentinel-2 L1C product, in product order."""

NEEDED_BANDS = ("B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12")
"""The ten bands the trees look at, in the order they want them."""


class S2CloudlessError(ValueError):
    """s2cloudless cannot judge this image."""


@dataclass(frozen=True)
class MaskSettings:
    """How a probability becomes a mask: threshold, and radii of smoothing and dilation, px."""

    threshold: float
    average_over_px: int
    dilation_px: int


PACKAGE_SETTINGS = MaskSettings(threshold=0.4, average_over_px=1, dilation_px=1)
"""The package's own defaults (s2cloudless 1.7.3)."""


def probability(
    reflectance: NDArray[np.float32], bands: Sequence[str] = SENTINEL2_BANDS
) -> NDArray[np.float32]:
    """Cloud probability of each pixel, each judged alone.

    Parameters
    ----------
    reflectance : ndarray of float32, shape (n, len(bands), H, W)
        Top-of-atmosphere reflectance.
    bands : sequence of str
        Names of the bands given; all of `NEEDED_BANDS` must be among them.

    Returns
    -------
    ndarray of float32, shape (n, H, W)

    Raises
    ------
    S2CloudlessError
        A band is missing, the shape does not fit, or the package is not installed.
    """
    detector = _detector(PACKAGE_SETTINGS)
    clouds = detector.get_cloud_probability_maps(_arrange(reflectance, bands))
    return np.asarray(clouds, dtype=np.float32)


def mask(
    reflectance: NDArray[np.float32],
    bands: Sequence[str] = SENTINEL2_BANDS,
    settings: MaskSettings = PACKAGE_SETTINGS,
) -> NDArray[np.uint8]:
    """Cloud mask (n, H, W), 1 cloud, smoothed and dilated; parameters as in `probability`."""
    detector = _detector(settings)
    clouds = detector.get_cloud_masks(_arrange(reflectance, bands))
    return np.asarray(clouds, dtype=np.uint8)


def _arrange(reflectance: NDArray[np.float32], bands: Sequence[str]) -> NDArray[np.float32]:
    """(n, bands, H, W) -> (n, H, W, ten bands)."""
    missing = [band for band in NEEDED_BANDS if band not in bands]
    if missing:
        raise S2CloudlessError(
            f"s2cloudless needs the bands {', '.join(NEEDED_BANDS)}; missing: {', '.join(missing)}"
        )
    if reflectance.ndim != 4 or reflectance.shape[1] != len(bands):
        raise S2CloudlessError(
            f"reflectance has shape {reflectance.shape}, expected (n, {len(bands)}, height, width)"
        )
    chosen = reflectance[:, [list(bands).index(band) for band in NEEDED_BANDS]]
    return np.ascontiguousarray(np.moveaxis(chosen, 1, -1))


def _detector(settings: MaskSettings) -> Any:
    try:
        from s2cloudless import S2PixelCloudDetector
    except ImportError as problem:
        raise S2CloudlessError(
            "s2cloudless is not installed; install it with: pip install 'nephoscope[peers]'"
        ) from problem
    return S2PixelCloudDetector(
        threshold=settings.threshold,
        average_over=settings.average_over_px,
        dilation_size=settings.dilation_px,
    )
