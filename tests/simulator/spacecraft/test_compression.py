"""Pixels come back from their JPEG 2000 stream as they went in, and cost what they cost."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from simulator.spacecraft.compression import (
    BlockSizes,
    code_stream,
    digital_numbers,
    mask_bytes,
    thumbnail_bytes,
)


def decoded(stream: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with MemoryFile(stream, ext=".j2k") as memory, memory.open() as image:
            return image.read()


@given(
    st.integers(1, 16),
    st.integers(1, 80),
    st.integers(1, 80),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_nothing_is_lost(bit_depth, height, width, noise, seed):
    rng = np.random.default_rng(seed)
    top = 2**bit_depth - 1
    ramp = np.add.outer(np.arange(height), np.arange(width)) / (height + width)
    drawn = (1 - noise) * ramp + noise * rng.random((4, height, width))
    numbers = np.rint(drawn * top).astype(np.uint16)
    assert np.array_equal(decoded(code_stream(numbers, bit_depth)), numbers)


def test_smooth_ground_costs_less_than_noise_and_noise_no_more_than_raw():
    rng = np.random.default_rng(3)
    smooth = np.full((4, 256, 512), 0.1, dtype=np.float32)
    smooth[:, :, 256:] = rng.uniform(0, 1.6, (4, 256, 256))
    flat, noisy = BlockSizes(4, 12).stored_bytes(smooth, "compression test", (0, 1))
    raw = 256 * 256 * 4 * 12 // 8
    assert flat < raw / 100
    assert 0.9 * raw < noisy <= raw


def test_bands_beyond_the_four_cost_as_much_as_these():
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (4, 256, 1))
    (four,) = BlockSizes(4, 12).stored_bytes(ramp, "ramp", (0,))
    (eight,) = BlockSizes(8, 12).stored_bytes(ramp, "ramp", (0,))
    assert eight == 2 * four


def test_digital_numbers_fill_the_scale_and_stop_there():
    numbers = digital_numbers(np.array([[[-0.1, 0.0, 0.8, 1.6, 3.0]]], dtype=np.float32), 12)
    assert numbers.ravel().tolist() == [0, 0, 2048, 4095, 4095]


def test_a_mask_and_a_thumbnail_are_tiny():
    rng = np.random.default_rng(5)
    mask = (rng.random((1024, 1024)) < 0.5).astype(np.uint8)
    assert mask_bytes(np.zeros_like(mask)) < 1000
    assert mask_bytes(mask) < 1.02 * 1024 * 1024 / 8
    frame = rng.random((4, 1024, 1024), dtype=np.float32)
    assert thumbnail_bytes(frame, 64) < thumbnail_bytes(frame, 256) < 3 * 256 * 256
