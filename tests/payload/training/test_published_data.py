"""What importers share: a place keeps its split, and what nobody saw is no truth."""

from __future__ import annotations

import numpy as np

from payload.training.published_data import split_of, truth_where_seen


def test_a_place_keeps_its_split_and_about_a_tenth_is_held_out() -> None:
    places = [f"place {i}" for i in range(2000)]
    held_out = [split_of(place) == "val" for place in places]
    assert held_out == [split_of(place) == "val" for place in places]
    assert 0.07 < np.mean(held_out) < 0.13


def test_pixels_without_data_are_no_truth() -> None:
    image = np.ones((4, 1, 3), np.uint16)
    image[:, 0, 1] = 0
    image[:3, 0, 2] = 0  # dark in three bands, but seen
    mask = np.array([[1, 1, 0]], np.uint8)
    assert truth_where_seen(mask, image).tolist() == [[1, 255, 0]]
