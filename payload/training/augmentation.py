"""What one image might have looked like to another sensor, on another day, at another size.

Cloud looks alike from every sensor; the numbers do not. Top-of-atmosphere reflectance carries
path radiance that surface reflectance has lost, strongest in blue; calibrations differ by some
per cent; some products are not corrected for sun elevation; older sensors saturate over bright
cloud. Each of these is drawn at random here, so that a network cannot lean on any of them. Clear
water may glint. Real cloud of one patch is also laid over the clear ground of another, thick or
thinned: the only way to see the same cloud over water, desert and forest with so few labelled
patches. Snow and bright soil, the two grounds most often taken for cloud and the two that are
scarcest among the scenes, are laid over clear ground likewise.

All functions take and return arrays and draw from the generator they are given; the same
generator state gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit

FloatArray = NDArray[np.float32]

HAZE_SPECTRUM = np.array([1.0, 0.62, 0.38, 0.14], dtype=np.float32)
"""Path radiance per band relative to blue: Rayleigh scattering goes with wavelength ** -4
(490, 560, 665, 842 nm give 1, 0.59, 0.29, 0.11), aerosol flattens it a little."""

SATURATION_LOW = np.array([0.35, 0.50, 0.45, 0.55], dtype=np.float32)
SATURATION_HIGH = np.array([1.00, 1.20, 1.20, 1.30], dtype=np.float32)
"""Range of the reflectance at which a simulated sensor saturates, per band."""


WATER_NIR_MAX = 0.12
"""Water is darker than this in the near infrared, and darker there than in green."""

GLINT_MAX = 0.15
"""Strongest glint added, reflectance; moderate, as most of the sea within a glint pattern has."""

SNOW_SPECTRUM = np.array([1.0, 0.99, 0.97, 0.85], dtype=np.float32)
"""Albedo of snow relative to blue: nearly white, lower in the near infrared, where grains of a
millimetre absorb (Warren 1982, Optical properties of snow, his figures for 0.1 to 1 mm)."""

SNOW_ALBEDO_RANGE = (0.45, 0.95)
"""Old and dirty to fresh."""

SOIL_SPECTRUM = np.array([0.62, 0.85, 1.05, 1.2], dtype=np.float32)
"""Brightening of soil per band: sand reflects ever more towards the near infrared."""

SOIL_GAIN_RANGE = (1.4, 2.6)
BRIGHTEST_SOIL = 0.65
"""Reflectance no sand exceeds."""

RELIEF_SIGMA_PX = 10.0
"""Brightness relative to its surroundings of this size is taken for relief: slopes and shade."""

DENSE_NDVI = 0.55
"""Vegetation index of a closed canopy, which hides the snow under it."""


@dataclass(frozen=True)
class Augmentation:
    """Strength of each change; a probability is per patch.

    Attributes
    ----------
    flip : bool
        Flips and quarter turns.
    gain_range : tuple of float
        Brightness of all bands together: sun elevation, calibration.
    band_gain_sigma, band_offset_sigma : float
        Standard deviation of gain and offset (reflectance) drawn per band.
    haze_range : tuple of float
        Path radiance in blue added; negative takes it away, as a surface product does.
    noise_sigma_max : float
        Largest standard deviation of noise (reflectance).
    saturation_probability, paste_probability, no_data_probability, glint_probability : float
        Clipping of bright pixels; clouds of another patch; a corner without data; sun glint on
        what water there is.
    snow_probability, bright_soil_probability : float
        Snow, or bright soil, in place of the clear ground.
    """

    flip: bool = True
    gain_range: tuple[float, float] = (0.8, 1.2)
    band_gain_sigma: float = 0.04
    band_offset_sigma: float = 0.006
    haze_range: tuple[float, float] = (-0.04, 0.04)
    noise_sigma_max: float = 0.006
    saturation_probability: float = 0.15
    paste_probability: float = 0.25
    no_data_probability: float = 0.04
    glint_probability: float = 0.25
    snow_probability: float = 0.08
    bright_soil_probability: float = 0.08


NO_AUGMENTATION = Augmentation(
    flip=False,
    gain_range=(1.0, 1.0),
    band_gain_sigma=0.0,
    band_offset_sigma=0.0,
    haze_range=(0.0, 0.0),
    noise_sigma_max=0.0,
    saturation_probability=0.0,
    paste_probability=0.0,
    no_data_probability=0.0,
    glint_probability=0.0,
    snow_probability=0.0,
    bright_soil_probability=0.0,
)


MODERATE = Augmentation(
    gain_range=(0.9, 1.1),
    band_gain_sigma=0.02,
    band_offset_sigma=0.003,
    haze_range=(-0.015, 0.015),
    noise_sigma_max=0.004,
    saturation_probability=0.08,
    glint_probability=0.1,
    snow_probability=0.05,
    bright_soil_probability=0.05,
)
"""Views already show other sensors and other hazes, judged as they look. A network of a hundred
thousand weights that must be blind to more than that has none left to see thin cloud with; a
teacher sees so few patches in an hour that it is not asked for more either."""


@dataclass(frozen=True)
class Batch:
    """Patches with their targets.

    Attributes
    ----------
    reflectance : ndarray of float32, shape (N, 4, P, P)
    target, weight, teacher : ndarray of float32, shape (N, 1, P, P)
        Cloud probability by the label; trust in it, 0..1; cloud probability by the teacher (equal
        to the target where the teacher has not looked).
    taught : ndarray of float32, shape (N, 1, P, P)
        0 where neither the teacher nor a label says anything, else 1.
    """

    reflectance: FloatArray
    target: FloatArray
    weight: FloatArray
    teacher: FloatArray
    taught: FloatArray

    @property
    def arrays(self) -> tuple[FloatArray, ...]:
        """All of them, in their order."""
        return self.reflectance, self.target, self.weight, self.teacher, self.taught


def augment(batch: Batch, rng: np.random.Generator, strength: Augmentation | None = None) -> Batch:
    """Change a batch as another sensor, day or place might have.

    Parameters
    ----------
    batch : Batch
    rng : numpy.random.Generator
        The only source of randomness.
    strength : Augmentation, optional
        Default strengths when None.

    Returns
    -------
    Batch
        New arrays; pixels without data stay 0 with weight 0.
    """
    strength = strength or Augmentation()
    batch = replace(
        batch,
        reflectance=change_ground(
            batch.reflectance,
            batch.target,
            rng,
            strength.snow_probability,
            strength.bright_soil_probability,
        ),
    )
    batch = paste_clouds(batch, rng, strength.paste_probability)
    if strength.flip:
        batch = flip_and_turn(batch, rng)
    valid = np.any(batch.reflectance != 0, axis=1, keepdims=True)
    reflectance = change_radiometry(batch.reflectance, rng, strength)
    reflectance = saturate(reflectance, rng, strength.saturation_probability)
    valid &= ~no_data_corners(reflectance.shape, rng, strength.no_data_probability)
    reflectance = add_glint(reflectance, batch.target, rng, strength.glint_probability)
    return replace(
        batch,
        reflectance=np.where(valid, np.maximum(reflectance, 1e-4), 0).astype(np.float32),
        weight=np.where(valid, batch.weight, 0).astype(np.float32),
    )


def flip_and_turn(batch: Batch, rng: np.random.Generator) -> Batch:
    """One of the eight symmetries of the square for each patch."""
    choices = rng.integers(0, 8, size=len(batch.reflectance))

    def turned(array: FloatArray) -> FloatArray:
        return np.stack([symmetry(patch, int(i)) for patch, i in zip(array, choices, strict=True)])

    return Batch(*(turned(array) for array in batch.arrays))


def symmetry(patch: FloatArray, index: int) -> FloatArray:
    """Symmetry 0..7 of a patch of shape (C, P, P): quarter turns, then a flip."""
    turned = np.rot90(patch, index % 4, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if index >= 4 else turned)


def change_radiometry(
    reflectance: FloatArray, rng: np.random.Generator, strength: Augmentation
) -> FloatArray:
    """Gain of all bands, gain and offset per band, haze and noise; shape (N, 4, P, P)."""
    n, bands = reflectance.shape[:2]
    per_patch, per_band = (n, 1, 1, 1), (n, bands, 1, 1)
    gain = np.exp(rng.uniform(*np.log(strength.gain_range), size=per_patch))
    gain = gain * (1 + strength.band_gain_sigma * rng.standard_normal(per_band))
    offset = strength.band_offset_sigma * rng.standard_normal(per_band)
    haze = rng.uniform(*strength.haze_range, size=per_patch) * HAZE_SPECTRUM[:, None, None]
    sigma = strength.noise_sigma_max * rng.random(per_patch)
    gain, offset, haze, sigma = (a.astype(np.float32) for a in (gain, offset, haze, sigma))
    noise = sigma * rng.standard_normal(reflectance.shape, dtype=np.float32)
    # Haze is path radiance below bright cloud too, but there little of it is left to see.
    veiled = reflectance + haze * np.clip(1 - reflectance, 0, 1)
    return np.asarray(veiled * gain + offset + noise, dtype=np.float32)


def saturate(reflectance: FloatArray, rng: np.random.Generator, probability: float) -> FloatArray:
    """Clip bright pixels per band, as early Landsat sensors do over cloud; shape (N, 4, P, P)."""
    n = len(reflectance)
    level = rng.uniform(SATURATION_LOW, SATURATION_HIGH, size=(n, len(SATURATION_LOW)))
    level = np.where(rng.random((n, 1)) < probability, level, np.inf)
    return np.asarray(np.minimum(reflectance, level[:, :, None, None]), dtype=np.float32)


def add_glint(
    reflectance: FloatArray, target: FloatArray, rng: np.random.Generator, probability: float
) -> FloatArray:
    """Sun glint on clear water: the same in all bands, stronger to one side, rough as waves are.

    The sea surface mirrors the sun nearly alike in all four bands (Hedley et al. 2005 build
    their correction on that), which makes bright water the one ground as grey as cloud.

    Parameters
    ----------
    reflectance : ndarray of float32, shape (N, 4, P, P)
    target : ndarray of float32, shape (N, 1, P, P)
        Cloud probability; cloudy pixels are left alone.
    """
    glinting = np.flatnonzero(rng.random(len(reflectance)) < probability)
    n, (height, width) = len(glinting), reflectance.shape[2:]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi, size=(n, 1, 1))
    strength = rng.uniform(0, GLINT_MAX, size=(n, 1, 1))
    slope = np.clip(0.6 + 0.5 * (x * np.cos(angle) + y * np.sin(angle)), 0, 1)
    waves = rng.gamma(4.0, 0.25, size=(n, height, width))
    green, nir = reflectance[glinting, 1], reflectance[glinting, 3]
    water = (nir < WATER_NIR_MAX) & (nir < green) & (target[glinting, 0] < 0.5)
    glinted = reflectance.copy()
    glinted[glinting] += np.where(water, strength * slope * waves, 0)[:, None].astype(np.float32)
    return glinted


def change_ground(
    reflectance: FloatArray,
    target: FloatArray,
    rng: np.random.Generator,
    snow_probability: float,
    bright_soil_probability: float,
) -> FloatArray:
    """Lay snow or bright soil where a patch is clear; its clouds stay as they are.

    Parameters
    ----------
    reflectance : ndarray of float32, shape (N, 4, P, P)
    target : ndarray of float32, shape (N, 1, P, P)
        Cloud probability: how much of a pixel is left alone.
    snow_probability, bright_soil_probability : float
        Per patch; a patch gets at most one of them.
    """
    drawn = rng.random(len(reflectance))
    changed = reflectance.copy()
    for i in np.flatnonzero(drawn < snow_probability + bright_soil_probability):
        patch = reflectance[i]
        ground = snowed(patch, rng) if drawn[i] < snow_probability else brightened(patch, rng)
        changed[i] = target[i] * patch + (1 - target[i]) * ground
    return np.where(np.any(reflectance != 0, axis=1, keepdims=True), changed, 0)


def snowed(patch: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A patch (4, P, P) under snow: relief shows through, canopies stand out, cover is uneven."""
    nir, red = patch[3], patch[2]
    relief = (nir + 0.05) / (gaussian_filter(nir, RELIEF_SIGMA_PX) + 0.05)
    canopy = np.clip((nir - red) / np.maximum(nir + red, 1e-3) / DENSE_NDVI, 0, 1)
    field = gaussian_filter(rng.standard_normal(nir.shape), rng.uniform(4, 20))
    field /= field.std() + 1e-6
    lying = expit(6 * (field + rng.uniform(-0.5, 2.5)))
    cover = lying * (1 - rng.uniform(0.2, 0.9) * canopy)
    albedo = rng.uniform(*SNOW_ALBEDO_RANGE) * SNOW_SPECTRUM[:, None, None]
    contrast = rng.uniform(0.2, 1.0)
    snow = albedo * np.clip(relief, 0.3, 1.3) ** contrast
    return np.asarray((1 - cover) * patch + cover * snow, dtype=np.float32)


def brightened(patch: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A patch (4, P, P) as if its soil were brighter and yellower: sand, salt, dry fields."""
    gain = rng.uniform(*SOIL_GAIN_RANGE) * SOIL_SPECTRUM[:, None, None]
    return np.minimum(patch * gain, np.maximum(patch, BRIGHTEST_SOIL)).astype(np.float32)


def no_data_corners(
    shape: tuple[int, ...], rng: np.random.Generator, probability: float
) -> NDArray[np.bool_]:
    """A slanted edge of the swath in some patches; True without data, shape (N, 1, P, P)."""
    n, _, height, width = shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi, size=(n, 1, 1))
    distance = rng.uniform(0.2, 1.2, size=(n, 1, 1))
    beyond = x * np.cos(angle) + y * np.sin(angle) > distance
    beyond &= rng.random((n, 1, 1)) < probability
    return np.asarray(beyond[:, None])


def paste_clouds(batch: Batch, rng: np.random.Generator, probability: float) -> Batch:
    """Lay the clouds of one patch over another's ground.

    The cloud comes without the donor's ground: its opacity ``a`` is read off its brightness, and
    ``donor + (1 - a) (ground - donor's median ground)`` is what the donor would show over the
    other ground. This replaces the ground as far as the donor's cloud probability, smoothed by a
    pixel, and a thickness drawn between thin and opaque say. The target becomes cloud where what
    was laid over it shows; where it hardly shows, the weight falls, as nobody could label it.
    """
    n = len(batch.reflectance)
    donors = rng.integers(0, n, size=n)
    wanted = rng.random(n) < probability
    thickness = rng.uniform(0.45, 1.0, size=n)
    arrays = [array.copy() for array in batch.arrays]
    for i in np.flatnonzero(wanted & (donors != np.arange(n))):
        if not _can_paste(batch, int(i), int(donors[i])):
            continue
        pasted = _pasted(batch, int(i), int(donors[i]), float(thickness[i]))
        for array, patch in zip(arrays, pasted, strict=True):
            array[i] = patch
    return Batch(*arrays)


def _can_paste(batch: Batch, ground: int, donor: int) -> bool:
    donor_cover = float(batch.target[donor].mean())
    trusted = float(batch.weight[donor].mean()) > 0.3
    return trusted and 0.03 < donor_cover < 0.97 and float(batch.target[ground].mean()) < 0.5


def _pasted(batch: Batch, ground: int, donor: int, thickness: float) -> tuple[FloatArray, ...]:
    opacity = thickness * gaussian_filter(batch.target[donor, 0], 1.0)[None]
    opacity = np.where(np.any(batch.reflectance[donor] != 0, axis=0), opacity, 0)
    moved = cloud_over(batch.reflectance[ground], batch.reflectance[donor], batch.target[donor])
    reflectance = (1 - opacity) * batch.reflectance[ground] + opacity * moved
    reflectance = np.where(np.any(batch.reflectance[ground] != 0, axis=0), reflectance, 0)
    laid = np.clip((opacity - 0.15) / 0.3, 0, 1)
    doubt = 1 - 4 * laid * (1 - laid) * 0.8
    weight = np.where(
        opacity > 0.05, np.minimum(batch.weight[donor], 1) * doubt, batch.weight[ground]
    )
    weight = np.where(np.any(reflectance != 0, axis=0), weight, 0)
    return (
        reflectance.astype(np.float32),
        np.maximum(batch.target[ground], laid).astype(np.float32),
        weight.astype(np.float32),
        np.maximum(batch.teacher[ground], laid).astype(np.float32),
        np.where(opacity > 0.05, 1, batch.taught[ground]).astype(np.float32),
    )


def cloud_over(ground: FloatArray, donor: FloatArray, donor_target: FloatArray) -> FloatArray:
    """What `donor` (4, P, P) would show if its clouds hung over `ground` (4, P, P).

    Opacity is how far a pixel's blue lies between the donor's median clear ground and its bright
    cloud (90th percentile); where the donor has no clear ground, its pixels are taken as they are.
    """
    cloudy, valid = donor_target[0] > 0.5, np.any(donor != 0, axis=0)
    clear = valid & (donor_target[0] < 0.2)
    if not clear.any() or not cloudy.any():
        return donor
    donor_ground = np.median(donor[:, clear], axis=1)[:, None, None]
    dark, bright = float(donor_ground[0, 0, 0]), float(np.percentile(donor[0, cloudy], 90))
    opacity = np.clip((donor[0] - dark) / max(bright - dark, 0.05), 0, 1)
    return np.asarray(donor + (1 - opacity) * (ground - donor_ground), dtype=np.float32)
