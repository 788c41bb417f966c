"""The payload at work: masks that join, tiles inferred once, and costs that follow the rules."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from payload.card import ModelCard, ModelError
from payload.card_library import load_card
from payload.device import DeviceProfile, load_device
from payload.frame import NO_DATA, TILE_PX, Frame, block_cover, frame_cover
from payload.runtime import (
    BYTES_PER_MIB,
    Payload,
    PayloadError,
    cut_tiles,
    measure_peak_memory,
    own_peak_memory_mib,
)

GREEN_EDGE = 0.3
"""The test's model calls a pixel cloud from this green reflectance on."""

RELATIVE_TOLERANCE = 1e-12
POWER_TOLERANCE_W = 1e-9

PARENT_BALLAST_MIB = 400
FRESH_PROCESS_CEILING_MIB = 300

SMALL = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def device() -> DeviceProfile:
    return load_device("myriad2")


def pixels(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Random reflectance that keeps clear of the model's edge, with some pixels of no data."""
    generator = np.random.default_rng(seed)
    reflectance = generator.uniform(0.05, 0.25, (4, height, width))
    reflectance[1] += 0.2 * generator.integers(0, 2, (height, width)) + 0.002
    reflectance[:, generator.random((height, width)) < 0.05] = 0
    return reflectance.astype(np.float32)


def expected_mask(reflectance: NDArray[np.float32]) -> NDArray[np.uint8]:
    mask = (reflectance[1] >= GREEN_EDGE).astype(np.uint8)
    mask[(reflectance == 0).all(axis=0)] = NO_DATA
    return mask


@SMALL
@given(height=st.integers(1, 1100), width=st.integers(1, 700), seed=st.integers(0, 9))
def test_mask_of_any_size_equals_the_rule_on_the_whole_frame(
    green_model: ModelCard, device: DeviceProfile, height: int, width: int, seed: int
) -> None:
    reflectance = pixels(height, width, seed)
    result = Payload(green_model, device).process(Frame("f", reflectance))
    assert result.status == "ok"
    assert result.mask is not None
    assert result.block_cover is not None
    np.testing.assert_array_equal(result.mask, expected_mask(reflectance))
    np.testing.assert_array_equal(result.block_cover, block_cover(result.mask))
    assert result.cover == frame_cover(result.mask)
    assert len(result.tile_sha256) == math.ceil(height / TILE_PX) * math.ceil(width / TILE_PX)


def test_edge_tiles_are_filled_by_reflection() -> None:
    reflectance = pixels(TILE_PX + 100, 200)
    tiles = list(cut_tiles(reflectance))
    assert [(r.start, r.stop, c.start, c.stop) for r, c, _ in tiles] == [
        (0, 512, 0, 200),
        (512, 612, 0, 200),
    ]
    for _, _, tile in tiles:
        assert tile.shape == (4, TILE_PX, TILE_PX)
    filled = tiles[0][2]
    np.testing.assert_array_equal(filled[:, :, 200:400], filled[:, :, 199::-1])


def test_values_that_are_no_numbers_are_no_data(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    reflectance = np.full((4, 20, 20), 0.9, np.float32)
    reflectance[3, 2, 3] = np.nan
    result = Payload(green_model, device).process(Frame("f", reflectance))
    assert result.mask is not None
    assert result.mask[2, 3] == NO_DATA
    assert (result.mask == 1).sum() == 399


def test_frame_without_data_is_all_no_data(green_model: ModelCard, device: DeviceProfile) -> None:
    frame = Frame("f", np.zeros((4, 30, 30), np.float32))
    result = Payload(green_model, device).process(frame)
    assert result.mask is not None
    assert (result.mask == NO_DATA).all()
    assert result.cover == 1.0


def test_model_calls_equal_distinct_tiles(green_model: ModelCard, device: DeviceProfile) -> None:
    a, b = pixels(TILE_PX, TILE_PX, 1), pixels(TILE_PX, TILE_PX, 2)
    payload = Payload(green_model, device)
    first = payload.process(Frame("1", np.concatenate([a, b, a], axis=2)))
    second = payload.process(Frame("2", np.concatenate([b, a], axis=1)))
    assert first.tile_sha256[0] == first.tile_sha256[2] != first.tile_sha256[1]
    assert (first.model_calls, second.model_calls) == (2, 0)
    assert payload.model_calls == len({*first.tile_sha256, *second.tile_sha256}) == 2
    assert second.mask is not None
    np.testing.assert_array_equal(second.mask, np.concatenate([expected_mask(b), expected_mask(a)]))


def test_cache_is_bounded_and_drops_what_was_used_longest_ago(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    payload = Payload(green_model, device, cache_tiles=2)
    tiles = {name: pixels(64, 64, seed) for seed, name in enumerate("abc")}
    calls = [payload.process(Frame(n, tiles[n])).model_calls for n in "abacab"]
    assert calls == [1, 1, 0, 1, 0, 1]


def test_cache_hits_are_charged_like_inferences(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    payload = Payload(green_model, device)
    frame = Frame("f", pixels(600, 600))
    first, again = payload.process(frame), payload.process(frame)
    assert again.model_calls == 0
    assert again.latency_s == first.latency_s == device.latency_s(green_model, 4)
    assert again.energy_wh == first.energy_wh == device.energy_wh(first.latency_s)
    assert first.provenance == device.latency_provenance(green_model) == "modelled"


def test_one_changed_weight_changes_the_mask(
    write_model: Callable[..., ModelCard],
    pixel_graph: Callable[..., onnx.ModelProto],
    green_weights: tuple[NDArray[np.float32], NDArray[np.float32]],
    device: DeviceProfile,
) -> None:
    weights, bias = green_weights
    other = weights.copy()
    other[0, 1] = 60.0
    frame = Frame("f", pixels(64, 64))
    before = Payload(write_model(pixel_graph(weights, bias), "a"), device).process(frame)
    after = Payload(write_model(pixel_graph(other, bias), "b"), device).process(frame)
    assert before.model_sha256 != after.model_sha256
    assert before.cover > after.cover


def test_probability_of_one_half_is_cloud(
    write_model: Callable[..., ModelCard],
    pixel_graph: Callable[..., onnx.ModelProto],
    device: DeviceProfile,
) -> None:
    undecided = write_model(pixel_graph(np.zeros((1, 4), np.float32), np.zeros(1, np.float32)))
    frame = Frame("f", np.full((4, 16, 16), 0.5, np.float32))
    assert Payload(undecided, device).process(frame).cover == 1.0


def test_power_limit_stretches_the_frame_to_keep_the_mean(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    frame = Frame("f", pixels(64, 64))
    limit_w = 1.0
    free = Payload(green_model, device).process(frame)
    held = Payload(green_model, device, power_limit_w=limit_w).process(frame)
    assert device.idle_power_w < limit_w < device.active_power_w
    assert held.latency_s > free.latency_s
    assert held.energy_wh * 3600 / held.latency_s == pytest.approx(limit_w, abs=POWER_TOLERANCE_W)
    pause_wh = device.idle_power_w * (held.latency_s - free.latency_s) / 3600
    assert held.energy_wh - pause_wh == pytest.approx(free.energy_wh, rel=RELATIVE_TOLERANCE)
    assert held.cover == free.cover


def test_power_limit_that_is_not_reached_changes_nothing(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    frame = Frame("f", pixels(64, 64))
    free = Payload(green_model, device).process(frame)
    held = Payload(green_model, device, power_limit_w=device.active_power_w).process(frame)
    assert (held.latency_s, held.energy_wh) == (free.latency_s, free.energy_wh)


def test_power_limit_below_idle_refuses_the_frame(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    payload = Payload(green_model, device, power_limit_w=device.idle_power_w)
    result = payload.process(Frame("f", pixels(64, 64)))
    assert (result.status, result.mask, result.model_calls) == ("refused", None, 0)
    assert (result.latency_s, result.energy_wh) == (0.0, 0.0)
    assert math.isnan(result.cover)
    assert result.detail.startswith("power_limit_w is 0.5, not above the 0.5 W")
    assert payload.frames_processed == 0


def test_memory_limit_is_the_peak_of_the_card_plus_the_frame(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    frame = Frame("f", pixels(512, 512))
    need_mib = 80.0 + (4 * 4 + 1) * 512**2 / BYTES_PER_MIB
    fits = Payload(green_model, device, memory_limit_mib=need_mib).process(frame)
    dies = Payload(green_model, device, memory_limit_mib=need_mib - 0.001).process(frame)
    assert fits.status == "ok"
    assert fits.peak_memory_mib == dies.peak_memory_mib == need_mib
    assert (dies.status, dies.mask, dies.block_cover) == ("out_of_memory", None, None)
    assert dies.tile_sha256 == ()
    assert dies.latency_s == device.latency_s(green_model, 1)
    assert dies.energy_wh > 0
    assert "the frame needs 84 MiB, the limit is 84 MiB" in dies.detail


def test_memory_of_the_device_is_the_limit_where_none_is_given(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    small = replace(device, memory_mib=64)
    assert Payload(green_model, small).process(Frame("f", pixels(8, 8))).status == "out_of_memory"


def test_limit_above_the_memory_of_the_device_gives_it_no_more(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    small = replace(device, memory_mib=64)
    result = Payload(green_model, small, memory_limit_mib=512).process(Frame("f", pixels(8, 8)))
    assert (result.status, result.detail) == (
        "out_of_memory",
        "the frame needs 80 MiB, the limit is 64 MiB",
    )


def test_limit_without_a_measured_peak_is_refused(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    unmeasured = replace(green_model, peak_memory_mib=None)
    with pytest.raises(ModelError, match=r"no peak_memory_mib .* nephoscope models profile"):
        Payload(unmeasured, device, memory_limit_mib=512)
    assert Payload(unmeasured, device).process(Frame("f", pixels(8, 8))).status == "ok"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("memory_limit_mib", 0),
        ("power_limit_w", -1.0),
        ("time_scale", 0.0),
        ("power_limit_w", float("nan")),
        ("time_scale", float("inf")),
        ("timing", "guessed"),
    ],
)
def test_setting_that_makes_no_sense_is_refused(
    green_model: ModelCard, device: DeviceProfile, setting: str, value: object
) -> None:
    with pytest.raises(PayloadError, match=f"{setting} is "):
        Payload(green_model, device, **{setting: value})  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a second later each time it is read."""
    ticks = itertools.count()
    monkeypatch.setattr("payload.runtime.time.perf_counter", lambda: float(next(ticks)))


@pytest.mark.usefixtures("clock")
def test_measured_time_charges_a_cached_tile_what_it_cost(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    # Two reads around the frame and two around each inference: a frame with one new tile takes
    # 3 s, one with a cached tile 1 s of its own and the 1 s the tile cost.
    payload = Payload(green_model, device, timing="measured", time_scale=10.0)
    frame = Frame("f", pixels(32, 32))
    first, again = payload.process(frame), payload.process(frame)
    assert (first.host_latency_s, again.host_latency_s) == (3.0, 1.0)
    assert (first.latency_s, again.latency_s) == (30.0, 20.0)
    assert first.energy_wh == device.energy_wh(30.0)
    assert first.provenance == "modelled"


def test_time_of_this_very_machine_is_measured(
    green_model: ModelCard, device: DeviceProfile
) -> None:
    payload = Payload(green_model, device, timing="measured")
    result = payload.process(Frame("f", pixels(32, 32)))
    assert result.provenance == "measured"
    assert result.latency_s == result.host_latency_s > 0


def test_peak_memory_is_that_of_a_fresh_process_whatever_the_parent_holds() -> None:
    ballast = np.ones(PARENT_BALLAST_MIB * BYTES_PER_MIB, np.uint8)
    peak_mib = measure_peak_memory("threshold")
    del ballast
    assert own_peak_memory_mib() > PARENT_BALLAST_MIB
    tile_mib = 4 * 4 * TILE_PX**2 / BYTES_PER_MIB
    assert tile_mib < peak_mib < FRESH_PROCESS_CEILING_MIB


def test_measuring_an_unknown_model_says_so() -> None:
    with pytest.raises(ModelError, match=r"measuring its memory failed: .*unknown model 'nope'"):
        measure_peak_memory("nope")


def test_committed_baseline_flies(device: DeviceProfile) -> None:
    card = load_card("threshold")
    payload = Payload(card, device, memory_limit_mib=512, power_limit_w=5)
    result = payload.process(Frame("f", np.full((4, 64, 64), 0.5, np.float32)))
    assert (result.status, result.cover) == ("ok", 1.0)
    assert result.model_sha256 == card.sha256
