"""Augmentation changes what sensors and days change, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.training.augmentation import (
    NO_AUGMENTATION,
    SATURATION_HIGH,
    Augmentation,
    Batch,
    add_glint,
    augment,
    brightened,
    change_ground,
    cloud_over,
    flip_and_turn,
    paste_clouds,
    saturate,
    snowed,
    symmetry,
)


def batch_of(n: int = 4, edge: int = 16, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    reflectance = rng.uniform(0.05, 0.2, (n, 4, edge, edge)).astype(np.float32)
    target = np.zeros((n, 1, edge, edge), dtype=np.float32)
    target[::2, :, : edge // 2] = 1
    reflectance += 0.6 * target
    reflectance[:, :, -1, -1] = 0
    weight = np.ones_like(target)
    weight[:, :, -1, -1] = 0
    return Batch(reflectance, target, weight, target * 0.9, np.ones_like(target))


def arrays_of(batch: Batch) -> list[np.ndarray]:
    return [getattr(batch, field.name) for field in fields(batch)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_augmented_batch_stays_a_batch(seed: int) -> None:
    batch = batch_of()
    strong = Augmentation(
        paste_probability=1.0, saturation_probability=1.0, no_data_probability=0.5
    )
    changed = augment(batch, np.random.default_rng(seed), strong)
    for before, after in zip(arrays_of(batch), arrays_of(changed), strict=True):
        assert after.shape == before.shape
        assert after.dtype == np.float32
        assert np.all(np.isfinite(after))
    for fraction in (changed.target, changed.weight, changed.teacher):
        assert fraction.min() >= 0
        assert fraction.max() <= 1
    assert changed.reflectance.min() >= 0
    no_data = ~np.any(changed.reflectance != 0, axis=1, keepdims=True)
    assert no_data.any()
    assert np.all(changed.weight[no_data] == 0)


def test_the_same_generator_gives_the_same_batch_and_leaves_the_input_alone() -> None:
    batch, untouched = batch_of(), batch_of()
    one = augment(batch, np.random.default_rng(5))
    two = augment(batch, np.random.default_rng(5))
    other = augment(batch, np.random.default_rng(6))
    for a, b, before, after in zip(
        arrays_of(one), arrays_of(two), arrays_of(untouched), arrays_of(batch), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(one.reflectance, other.reflectance)


def test_no_augmentation_changes_nothing() -> None:
    batch = batch_of()
    same = augment(batch, np.random.default_rng(0), NO_AUGMENTATION)
    for before, after in zip(arrays_of(batch), arrays_of(same), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_the_eight_symmetries_differ_and_keep_every_pixel() -> None:
    patch = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    turned = [symmetry(patch, i) for i in range(8)]
    assert len({t.tobytes() for t in turned}) == 8
    assert all(sorted(t.ravel()) == list(range(9)) for t in turned)


def test_image_and_labels_turn_together() -> None:
    batch = batch_of()
    tied = replace(batch, target=batch.reflectance[:, :1], weight=batch.reflectance[:, 1:2])
    turned = flip_and_turn(tied, np.random.default_rng(3))
    np.testing.assert_array_equal(turned.target, turned.reflectance[:, :1])
    np.testing.assert_array_equal(turned.weight, turned.reflectance[:, 1:2])


def test_saturation_clips_each_band_under_its_highest_level() -> None:
    bright = np.full((6, 4, 3, 3), 2.0, dtype=np.float32)
    clipped = saturate(bright, np.random.default_rng(0), 1.0)
    assert np.all(clipped <= SATURATION_HIGH[:, None, None])
    np.testing.assert_array_equal(saturate(bright, np.random.default_rng(0), 0.0), bright)


def test_pasted_cloud_is_bright_and_labelled() -> None:
    batch = batch_of(n=2)
    cloudy, clear = 0, 1
    seeds = (
        seed
        for seed in range(100)
        if paste_clouds(batch, np.random.default_rng(seed), 1.0).target[clear].any()
    )
    pasted = paste_clouds(batch, np.random.default_rng(next(seeds)), 1.0)
    new_cloud = pasted.target[clear, 0] > 0.9
    assert new_cloud.any()
    assert np.all(pasted.reflectance[clear, 0][new_cloud] > batch.reflectance[clear, 0][new_cloud])
    assert np.all(pasted.reflectance[clear, :, -1, -1] == 0), "a gap in the ground stays a gap"
    np.testing.assert_array_equal(pasted.reflectance[cloudy], batch.reflectance[cloudy])


def test_cloud_is_not_pasted_from_a_patch_nobody_trusts() -> None:
    doubtful = replace(batch_of(n=2), weight=np.full((2, 1, 16, 16), 0.1, dtype=np.float32))
    for seed in range(10):
        pasted = paste_clouds(doubtful, np.random.default_rng(seed), 1.0)
        np.testing.assert_array_equal(pasted.reflectance, doubtful.reflectance)


def test_glint_brightens_clear_water_alike_in_all_bands_and_nothing_else() -> None:
    water = np.array([0.08, 0.06, 0.04, 0.02], dtype=np.float32)
    land = np.array([0.05, 0.08, 0.06, 0.35], dtype=np.float32)
    reflectance = np.broadcast_to(water[:, None, None], (1, 4, 8, 8)).copy()
    reflectance[0, :, :4] = land[:, None, None]
    target = np.zeros((1, 1, 8, 8), dtype=np.float32)
    target[0, 0, 6:] = 1
    added = add_glint(reflectance, target, np.random.default_rng(0), 1.0) - reflectance
    assert np.all(added[0, :, 4:6] > 0)
    np.testing.assert_allclose(added[0, 1:], added[0, :-1], atol=1e-6)
    assert not added[0, :, :4].any(), "land"
    assert not added[0, :, 6:].any(), "cloud"


@pytest.mark.parametrize("haze", [(-0.05, -0.05), (0.05, 0.05)])
def test_haze_moves_blue_most_and_near_infrared_least(haze: tuple[float, float]) -> None:
    batch = batch_of()
    changed = augment(batch, np.random.default_rng(0), replace(NO_AUGMENTATION, haze_range=haze))
    moved = np.abs(changed.reflectance - batch.reflectance).mean(axis=(0, 2, 3))
    assert np.all(np.diff(moved) < 0)


def test_snow_is_white_lower_in_near_infrared_and_thin_under_canopy() -> None:
    soil = np.array([0.08, 0.10, 0.14, 0.20], dtype=np.float32)
    forest = np.array([0.03, 0.05, 0.04, 0.35], dtype=np.float32)
    patch = np.stack(
        [np.where(np.arange(32) < 16, s, f) for s, f in zip(soil, forest, strict=True)]
    )
    patch = np.repeat(patch[:, None, :], 32, axis=1)
    fields_, woods = [], []
    for seed in range(30):
        snow = snowed(patch, np.random.default_rng(seed))
        fields_.append(snow[:, :, 2:10].mean(axis=(1, 2)))
        woods.append(snow[:, :, 22:30].mean(axis=(1, 2)))
    open_ground, under_trees = np.mean(fields_, axis=0), np.mean(woods, axis=0)
    assert open_ground[0] > 3 * soil[0]
    assert open_ground[3] / open_ground[0] < 0.5 * soil[3] / soil[0], "the colour of soil is gone"
    assert under_trees[0] < 0.8 * open_ground[0]


def test_bright_soil_gains_most_in_near_infrared_and_stays_below_cloud() -> None:
    soil = np.full((4, 4, 4), 0.2, dtype=np.float32)
    bright = brightened(soil, np.random.default_rng(0))
    gain = (bright / soil)[:, 0, 0]
    assert np.all(np.diff(gain) > 0)
    assert brightened(soil * 3, np.random.default_rng(0)).max() <= 0.65


def test_ground_changes_only_where_it_is_clear_and_has_data() -> None:
    batch = batch_of()
    changed = change_ground(batch.reflectance, batch.target, np.random.default_rng(0), 0.5, 0.5)
    cloudy = np.broadcast_to(batch.target == 1, changed.shape)
    np.testing.assert_allclose(changed[cloudy], batch.reflectance[cloudy], rtol=1e-6)
    assert np.all(changed[:, :, -1, -1] == 0)
    clear = ~cloudy & (batch.reflectance != 0)
    assert np.mean(np.abs(changed[clear] - batch.reflectance[clear]) > 0.01) > 0.25
    untouched = change_ground(batch.reflectance, batch.target, np.random.default_rng(0), 0.0, 0.0)
    np.testing.assert_array_equal(untouched, batch.reflectance)


def test_a_moved_cloud_leaves_its_ground_behind() -> None:
    """Half opaque cloud over dark ground, moved over bright ground: half of each shines through."""
    target = np.zeros((1, 8, 8), dtype=np.float32)
    target[:, :, 4:] = 1
    donor = np.full((4, 8, 8), 0.1, dtype=np.float32)
    donor[:, :, 4:6], donor[:, :, 6:] = 0.5, 0.9
    bright_ground = np.full((4, 8, 8), 0.3, dtype=np.float32)
    moved = cloud_over(bright_ground, donor, target)
    np.testing.assert_allclose(moved[:, :, :4], 0.3, atol=1e-5)
    np.testing.assert_allclose(moved[:, :, 4:6], 0.5 + 0.5 * (0.3 - 0.1), atol=1e-5)
    np.testing.assert_allclose(moved[:, :, 6:], 0.9, atol=1e-5)
    overcast = np.ones_like(target)
    np.testing.assert_array_equal(cloud_over(bright_ground, donor, overcast), donor)
