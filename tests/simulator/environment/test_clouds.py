"""Drawn clouds: the asked cover to one pixel, ground untouched without cloud, plausible light."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.scenes import CLEAR, CLOUD, SHADOW, THIN_CLOUD
from simulator.environment.clouds import (
    CLOUD_THICKNESS,
    THICK_THICKNESS,
    draw_clouds,
    lay_over,
    layer_albedo,
)

SHAPE_PX = (96, 128)
ONE_PIXEL = 1.0 / (SHAPE_PX[0] * SHAPE_PX[1])
GROUND = np.array([0.10, 0.09, 0.08, 0.20], dtype=np.float32)[:, None, None] * np.ones(
    (1, *SHAPE_PX), dtype=np.float32
)


@given(cover=st.floats(0.0, 1.0), key=st.text(max_size=8))
@settings(max_examples=25, deadline=None)
def test_the_label_covers_what_was_asked_to_one_pixel(cover: float, key: str) -> None:
    reflectance, truth = lay_over(GROUND, draw_clouds(SHAPE_PX, cover, key))
    labelled = np.isin(truth, (CLOUD, THIN_CLOUD)).mean()
    assert labelled == pytest.approx(cover, abs=ONE_PIXEL)
    assert np.isfinite(reflectance).all()
    assert reflectance.min() > 0.0
    assert reflectance.max() < 1.3


def test_no_cloud_leaves_the_ground_as_it_is() -> None:
    reflectance, truth = lay_over(GROUND, draw_clouds(SHAPE_PX, 0.0, "any"))
    np.testing.assert_array_equal(reflectance, GROUND)
    assert not truth.any()


def test_the_same_key_draws_the_same_and_another_draws_another() -> None:
    first, again, other = (draw_clouds(SHAPE_PX, 0.4, key).thickness for key in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > CLOUD_THICKNESS


def test_more_cover_grows_from_the_same_pattern() -> None:
    few = draw_clouds(SHAPE_PX, 0.2, "grow").thickness >= CLOUD_THICKNESS
    many = draw_clouds(SHAPE_PX, 0.6, "grow").thickness >= CLOUD_THICKNESS
    assert many[few].all()


def test_labels_follow_thickness() -> None:
    clouds = draw_clouds(SHAPE_PX, 0.5, "labels")
    _, truth = lay_over(GROUND, clouds)
    np.testing.assert_array_equal(truth == CLOUD, clouds.thickness >= THICK_THICKNESS)
    np.testing.assert_array_equal(
        truth == THIN_CLOUD,
        (clouds.thickness >= CLOUD_THICKNESS) & (clouds.thickness < THICK_THICKNESS),
    )


def test_cloud_is_bright_and_white_and_shadow_dark() -> None:
    ground = np.broadcast_to(GROUND[:, :1, :1], (4, 256, 256))
    reflectance, truth = lay_over(ground, draw_clouds((256, 256), 0.4, "light"))
    cloud, clear, shadow = (
        reflectance[:, truth == value].mean(axis=1) for value in (CLOUD, CLEAR, SHADOW)
    )
    assert (cloud > clear + 0.15).all()
    assert cloud.max() / cloud.min() < 1.25
    assert (shadow < clear).all()
    assert shadow[3] / clear[3] < shadow[0] / clear[0]  # skylight is blue


def test_albedo_is_that_of_two_streams() -> None:
    # (1 - g) t / (2 + (1 - g) t) at g = 0.85, t = 40: 6 / 8.
    np.testing.assert_allclose(layer_albedo(np.array([0.0, 40.0], np.float32)), [0.0, 0.75])


@pytest.mark.parametrize("cover", [-0.1, 1.1, float("nan")])
def test_a_cover_that_is_no_fraction_is_refused(cover: float) -> None:
    with pytest.raises(ValueError, match="expected a fraction"):
        draw_clouds(SHAPE_PX, cover, "any")
