"""Pixels that cannot change are looked at once; pixels that can are looked at every time."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from payload.card_library import load_card
from payload.device import load_device
from payload.frame import Frame
from payload.runtime import Payload


@pytest.fixture
def payload() -> Payload:
    return Payload(load_card("threshold"), load_device("myriad2"))


def reflectance(seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).uniform(0.05, 0.6, (4, 512, 512))
    return drawn.astype(np.float32)


def test_unchanging_pixels_give_the_same_answer_without_another_look(payload):
    frozen = reflectance(1)
    frozen.setflags(write=False)
    first, again = (payload.process(Frame(name, frozen)) for name in ("a", "b"))
    fresh = payload.process(Frame("c", reflectance(1)))
    for result in (again, fresh):
        np.testing.assert_array_equal(result.mask, first.mask)
        assert result.tile_sha256 == first.tile_sha256
        assert (result.cover, result.latency_s, result.energy_wh) == (
            first.cover,
            first.latency_s,
            first.energy_wh,
        )
    assert (first.model_calls, again.model_calls, fresh.model_calls) == (1, 0, 0)


def test_pixels_written_over_are_seen_anew(payload):
    changing = reflectance(2)
    before = payload.process(Frame("a", changing))
    changing[:] = reflectance(3)
    after = payload.process(Frame("b", changing))
    assert before.tile_sha256 != after.tile_sha256
    assert not np.array_equal(before.mask, after.mask)


def test_pixels_seen_through_a_window_that_others_may_write_are_seen_anew(payload):
    ground = reflectance(4)
    window = ground[:]
    window.setflags(write=False)
    before = payload.process(Frame("a", window))
    ground[:] = reflectance(5)
    after = payload.process(Frame("b", window))
    assert before.tile_sha256 != after.tile_sha256


def test_freed_pixels_are_forgotten(payload):
    hashes = set()
    for seed in range(6):
        frozen = reflectance(seed)
        frozen.setflags(write=False)
        hashes.add(payload.process(Frame(str(seed), frozen)).tile_sha256)
        del frozen
        gc.collect()
    assert len(hashes) == 6
