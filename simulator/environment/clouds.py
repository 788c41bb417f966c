"""Clouds whose truth is known exactly: made as optical thickness, then laid over real ground.

A field of optical thickness is drawn by spectral synthesis: white noise filtered to the power
spectrum that cloud liquid water shows, exponentiated, because optical thickness is close to
log-normal, and shifted so that exactly the asked share of pixels is cloud. Light follows the
two-stream solution for a layer that scatters without absorbing, laid over the ground by the
adding method; the layer also throws a shadow down-sun. The label therefore does not come from
the picture, and can be stated: cloud where the optical thickness reaches `CLOUD_THICKNESS`.

Sources
-------
Spectrum of cloud water, exponent about 5/3 in one dimension: Davis, Marshak, Wiscombe and
Cahalan 1996, J. Atmos. Sci. 53, 1538. Two-stream albedo of a non-absorbing layer,
A = (1 - g) t / (2 + (1 - g) t), and g = 0.85 for water cloud: Bohren 1987, Am. J. Phys. 55, 524.
Light spreads sideways inside a cloud, so that its picture is smoother than its water below some
200 m: Marshak, Davis, Wiscombe and Cahalan 1995, J. Geophys. Res. 100, 26247; the exponent there
is ours, chosen so that neighbouring pixels differ as they do in Sentinel-2 cloud (about 0.02).
Thin below 3.6: ISCCP classes, Rossow and Schiffer 1999, Bull. Am. Meteorol. Soc. 80, 2261.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from payload.scenes import CLEAR, CLOUD, SHADOW, THIN_CLOUD

CLOUD_THICKNESS = 0.6
"""Optical thickness from which a pixel is labelled cloud (thick or thin).

About where human labels of Sentinel-2 chips, and detectors trained on them, begin: such a veil
adds 0.03 to 0.05 to the reflectance of dark ground.
"""

THICK_THICKNESS = 3.6
"""Optical thickness from which cloud is labelled thick (ISCCP)."""

SHADOW_OPACITY = 0.35
"""Share of the direct sunlight lost from which clear ground is labelled shadow."""

ASYMMETRY = 0.85
MAX_THICKNESS = 60.0
TYPICAL_OVERCAST = 20.0
SPECTRAL_EXPONENT = 5.0 / 3.0
SMOOTH_EXPONENT = 4.0
SMOOTHING_SCALE_M = 200.0

PATH_REFLECTANCE = np.array([0.085, 0.055, 0.035, 0.015], dtype=np.float32)
"""What the air itself reflects in blue, green, red, nir; a shadow does not darken it.

Rounded values for a clear sky and a moderate sun, from the Rayleigh optical thickness of the
bands (0.16, 0.09, 0.04, 0.016) and a little haze.
"""

DIFFUSE_FRACTION = np.array([0.40, 0.32, 0.25, 0.18], dtype=np.float32)
"""Share of the light on shadowed ground that comes from the sky; ours, falls with wavelength."""


@dataclass(frozen=True)
class CloudType:
    """How a kind of cloud looks: `outer_scale` in shares of the frame edge, `contrast` of ln t."""

    name: str
    outer_scale: float
    contrast: float
    stretch: float
    height_m: float


CLOUD_TYPES: tuple[CloudType, ...] = (
    CloudType("cumulus", outer_scale=0.20, contrast=3.0, stretch=1.0, height_m=1200.0),
    CloudType("stratocumulus", outer_scale=0.35, contrast=2.8, stretch=1.15, height_m=1500.0),
    CloudType("frontal", outer_scale=0.90, contrast=3.0, stretch=1.4, height_m=2500.0),
)
"""Outer scale, contrast and stretch are ours, chosen by eye against Sentinel-2 pictures."""


@dataclass(frozen=True)
class CloudField:
    """A drawn layer of cloud.

    Attributes
    ----------
    thickness : ndarray of float32, shape (H, W)
        Optical thickness.
    type : CloudType
    sun_azimuth_deg : float
        Where the sun stands, clockwise from the top of the frame.
    sun_elevation_deg : float
    gsd_m : float
    """

    thickness: NDArray[np.float32]
    type: CloudType
    sun_azimuth_deg: float
    sun_elevation_deg: float
    gsd_m: float

    @property
    def cover(self) -> float:
        """Share of pixels labelled cloud, thick or thin."""
        return float((self.thickness >= CLOUD_THICKNESS).mean())


def draw_clouds(
    shape_px: tuple[int, int],
    cover: float,
    key: str,
    *,
    gsd_m: float = 10.0,
    sun_azimuth_deg: float = 160.0,
    sun_elevation_deg: float = 35.0,
) -> CloudField:
    """Draw a cloud layer that covers `cover` of the frame, to one pixel.

    Parameters
    ----------
    shape_px : (int, int)
        Height and width.
    cover : float
        Share of pixels to be labelled cloud, 0..1.
    key : str
        The same key gives the same layer, and layers of one key and different cover grow from
        the same pattern.
    gsd_m, sun_azimuth_deg, sun_elevation_deg : float
        Decide how far shadows fall.

    Raises
    ------
    ValueError
        `cover` is outside 0..1.
    """
    if not 0.0 <= cover <= 1.0:
        raise ValueError(f"cover is {cover}, expected a fraction from 0 to 1")
    rng = np.random.default_rng(
        np.frombuffer(hashlib.sha256(f"clouds|{key}".encode()).digest(), dtype=np.uint32)
    )
    cloud_type = CLOUD_TYPES[int(rng.integers(len(CLOUD_TYPES)))]
    pattern = _fractal_pattern(shape_px, cloud_type, gsd_m, rng)
    thickness = _thickness_for_cover(pattern, cover, cloud_type.contrast)
    return CloudField(thickness, cloud_type, sun_azimuth_deg, sun_elevation_deg, gsd_m)


def lay_over(
    ground: NDArray[np.float32], clouds: CloudField
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Lay clouds and their shadows over clear ground.

    Parameters
    ----------
    ground : ndarray of float32, shape (4, H, W)
        Reflectance of a clear scene.
    clouds : CloudField
        Of the same height and width.

    Returns
    -------
    reflectance : ndarray of float32, shape (4, H, W)
        The cloudy scene. Exactly `ground` where no cloud is near.
    truth : ndarray of uint8, shape (H, W)
        0 clear, 1 cloud, 2 thin, 3 shadow.
    """
    thickness = clouds.thickness
    albedo = layer_albedo(thickness)
    shadow = _shadow_opacity(clouds)
    lit = _shade_ground(ground, shadow)
    # Relief of the cloud top: the side towards the sun is brighter.
    cloud_light = albedo * (1.0 + 0.22 * _sunward_slope(clouds))
    reflectance = cloud_light + lit * (1.0 - albedo) ** 2 / (1.0 - albedo * lit)
    reflectance = np.where(thickness + shadow > 1e-3, reflectance, ground)
    truth = np.full(thickness.shape, CLEAR, dtype=np.uint8)
    truth[shadow >= SHADOW_OPACITY] = SHADOW
    truth[thickness >= CLOUD_THICKNESS] = THIN_CLOUD
    truth[thickness >= THICK_THICKNESS] = CLOUD
    return np.maximum(reflectance, 1e-4).astype(np.float32), truth


def layer_albedo(thickness: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two-stream albedo of a non-absorbing layer of the given optical thickness."""
    scaled = (1.0 - ASYMMETRY) * thickness
    return np.asarray(scaled / (2.0 + scaled), dtype=np.float32)


def _fractal_pattern(
    shape_px: tuple[int, int], cloud_type: CloudType, gsd_m: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Gaussian field of unit variance: flat over the outer scale, then two power laws."""
    height, width = shape_px
    angle = rng.uniform(0.0, math.pi)
    ky = fft.fftfreq(height)[:, None] * max(shape_px)
    kx = fft.rfftfreq(width)[None, :] * max(shape_px)
    along = kx * math.cos(angle) + ky * math.sin(angle)
    across = -kx * math.sin(angle) + ky * math.cos(angle)
    k = np.hypot(along * cloud_type.stretch, across / cloud_type.stretch)
    # A 1-D spectral exponent b means 2-D power ~ k^-(b+1), amplitude the square root of that.
    amplitude = (k**2 + (1.0 / cloud_type.outer_scale) ** 2) ** (-(SPECTRAL_EXPONENT + 1.0) / 4.0)
    smooth = max(shape_px) * gsd_m / SMOOTHING_SCALE_M
    amplitude *= (1.0 + (k / smooth) ** 2) ** (-(SMOOTH_EXPONENT - SPECTRAL_EXPONENT) / 4.0)
    amplitude[0, 0] = 0.0
    noise = fft.rfft2(rng.standard_normal(shape_px))
    pattern = fft.irfft2(noise * amplitude, s=shape_px)
    return np.asarray(pattern / pattern.std(), dtype=np.float64)


def _thickness_for_cover(
    pattern: NDArray[np.float64], cover: float, contrast: float
) -> NDArray[np.float32]:
    """Optical thickness with exactly round(cover x pixels) pixels at or over the threshold."""
    cloudy = round(cover * pattern.size)
    if cloudy == 0:
        return np.zeros(pattern.shape, dtype=np.float32)
    edge = float(np.sort(pattern, axis=None)[pattern.size - cloudy])
    # A nearly overcast sky lies far above its edge: keep its middle near TYPICAL_OVERCAST.
    if edge < 0.0:
        contrast = min(contrast, math.log(TYPICAL_OVERCAST / CLOUD_THICKNESS) / -edge)
    log_thickness = contrast * (pattern - edge)
    limit = math.log(MAX_THICKNESS / CLOUD_THICKNESS)
    log_thickness = np.where(
        log_thickness < 0.0,
        2.5 * log_thickness,  # a steep foot keeps the veil around a cloud narrow
        limit * np.tanh(log_thickness / limit),
    )
    thickness = CLOUD_THICKNESS * np.exp(np.maximum(log_thickness, -20.0))
    return np.asarray(np.where(thickness < 0.02, 0.0, thickness), dtype=np.float32)


def _shadow_opacity(clouds: CloudField) -> NDArray[np.float32]:
    """Share of direct sunlight that the layer takes from each ground pixel."""
    if not clouds.thickness.any():
        return np.zeros_like(clouds.thickness)
    # Forward-scattered light counts as direct: delta scaling with g^2.
    scaled = (1.0 - ASYMMETRY**2) * clouds.thickness
    opacity = 1.0 - np.exp(-scaled / math.sin(math.radians(clouds.sun_elevation_deg)))
    distance_px = (
        clouds.type.height_m / math.tan(math.radians(clouds.sun_elevation_deg)) / clouds.gsd_m
    )
    azimuth = math.radians(clouds.sun_azimuth_deg)
    # Away from the sun; rows grow downwards.
    shift_px = (distance_px * math.cos(azimuth), -distance_px * math.sin(azimuth))
    # The pattern is periodic, so the shadow of cloud outside the frame comes in by wrapping.
    moved = ndimage.shift(opacity, shift_px, order=1, mode="grid-wrap")
    return np.asarray(ndimage.gaussian_filter(moved, 2.0, mode="wrap"), dtype=np.float32)


def _shade_ground(ground: NDArray[np.float32], shadow: NDArray[np.float32]) -> NDArray[np.float32]:
    path = np.minimum(PATH_REFLECTANCE[:, None, None], 0.95 * ground)
    light = 1.0 - shadow * (1.0 - DIFFUSE_FRACTION[:, None, None])
    return np.asarray(path + (ground - path) * light, dtype=np.float32)


def _sunward_slope(clouds: CloudField) -> NDArray[np.float32]:
    """Slope of the cloud top towards the sun, squeezed into -1..1."""
    top = ndimage.gaussian_filter(np.log1p(clouds.thickness), 3.0, mode="wrap")
    down, right = np.gradient(top)
    azimuth = math.radians(clouds.sun_azimuth_deg)
    towards_sun = -down * math.cos(azimuth) + right * math.sin(azimuth)
    return np.asarray(np.tanh(-6.0 * towards_sun), dtype=np.float32)
