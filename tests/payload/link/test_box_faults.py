"""Faults in the box: drawn from the seed alone, and really suffered by what computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.card import ModelCard
from payload.card_library import load_card
from payload.device import load_device
from payload.frame import FrameResult
from payload.link import open_link
from payload.link.bench import BenchPayload, bench_frame, identical
from payload.link.box import Box, UpsetCrashError
from payload.link.conversation import Timeouts
from payload.link.faults import (
    BoxFault,
    Exposure,
    FaultPlan,
    FaultPlanError,
    FrameFaults,
    flip_frame_bits,
    flip_weight_bits,
    in_south_atlantic_anomaly,
    keyed_uniform,
    weight_ranges,
)
from payload.link.faulty import FaultyLink
from payload.link.meter import Ina3221Meter, RaplMeter, find_meter
from payload.link.selftest import known_tile
from payload.link.settings import PayloadSettings
from payload.link.subprocess import SubprocessLink
from payload.link.tcp import failure_cost

SETTINGS = PayloadSettings("threshold", "myriad2")
DAY = Exposure(quiet_s=86400.0)
RELATIVE = 0.1
CLOUDING_SEED = 3
"""Flips a bit of the threshold model that changes its mask of the known tile."""
BREAKING_SEED = 1
"""Flips one that the model cannot run with at all: a band index out of range."""


def bits_per_frame(plan: FaultPlan, exposure: Exposure, frames: int = 400) -> float:
    drawn = [
        plan.for_frame("sat", f"f{n}", exposure=exposure, weight_bytes=1000).weight_bits
        for n in range(frames)
    ]
    return float(np.mean(drawn))


def test_draws_depend_on_the_key_and_nothing_else() -> None:
    plan = FaultPlan(seed=5, upsets_per_bit_day=1e-3, crash_per_frame=0.5, hang_per_frame=0.5)
    one = [plan.for_frame("a", f"f{n}", exposure=DAY, weight_bytes=500) for n in range(20)]
    other = [plan.for_frame("a", f"f{n}", exposure=DAY, weight_bytes=500) for n in range(20)]
    assert one == other
    assert one[::-1] != one
    assert len({faults.seed for faults in one}) == 20
    elsewhere = plan.for_frame("b", "f0", exposure=DAY, weight_bytes=500)
    assert elsewhere.seed != one[0].seed


def test_upsets_come_at_their_rate_and_more_often_inside_the_anomaly() -> None:
    plan = FaultPlan(seed=1, upsets_per_bit_day=1e-3, saa_factor=10.0)
    outside = bits_per_frame(plan, Exposure(quiet_s=86400.0))
    inside = bits_per_frame(plan, Exposure(quiet_s=0.0, anomaly_s=86400.0))
    assert outside == pytest.approx(8.0, rel=RELATIVE)
    assert inside == pytest.approx(80.0, rel=RELATIVE)
    assert not FaultPlan().for_frame("a", "f", exposure=DAY, weight_bytes=10**9).any


@given(st.integers(0, 2**31), st.text(max_size=8))
def test_a_keyed_draw_is_uniform_in_its_range(seed: int, name: str) -> None:
    assert 0 <= keyed_uniform("p", seed, name) < 1


def test_probabilities_are_met() -> None:
    draws = [keyed_uniform("crash", 3, "sat", n) < 0.25 for n in range(4000)]
    assert np.mean(draws) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("field", "value"),
    [("crash_per_frame", 1.5), ("upsets_per_bit_day", -1.0), ("saa_factor", 0.5)],
)
def test_a_plan_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(FaultPlanError, match=field):
        FaultPlan(**{field: value})


def test_the_anomaly_lies_over_brazil() -> None:
    assert in_south_atlantic_anomaly(-25.0, -45.0)
    assert in_south_atlantic_anomaly(-25.0, 315.0)
    assert not in_south_atlantic_anomaly(25.0, -45.0)
    assert not in_south_atlantic_anomaly(-25.0, 120.0)


def test_weights_are_found_where_onnx_finds_them() -> None:
    path = load_card("threshold").onnx_path
    model = path.read_bytes()
    found = sorted(model[start:end] for start, end in weight_ranges(model))
    expected = sorted(
        tensor.raw_data or np.asarray(tensor.float_data, np.float32).tobytes()
        for tensor in onnx.load(path).graph.initializer
        if tensor.raw_data or tensor.float_data
    )
    assert found == expected


def test_a_flip_changes_as_many_bits_as_asked_in_the_weights_only() -> None:
    model = load_card("threshold").onnx_path.read_bytes()
    flipped = flip_weight_bits(model, 1, seed=4)
    changed = [n for n, (a, b) in enumerate(zip(model, flipped, strict=True)) if a != b]
    assert len(changed) == 1
    assert any(start <= changed[0] < end for start, end in weight_ranges(model))
    assert bin(model[changed[0]] ^ flipped[changed[0]]).count("1") == 1
    with pytest.raises(FaultPlanError):
        flip_weight_bits(b"\xff" * 20, 1, seed=0)
    frame = bench_frame(height=64, width=64)
    upset = flip_frame_bits(frame, 3, seed=1)
    differing = frame.reflectance.view(np.uint32) ^ upset.reflectance.view(np.uint32)
    assert int(np.unpackbits(differing.view(np.uint8)).sum()) == 3


def test_a_box_suffers_slow_down_and_flips_and_is_cured_by_a_reset() -> None:
    box = Box(SETTINGS)
    sound = box.process(known_tile())
    box.inject(BoxFault.SLOW_DOWN, 3.0, 0)
    slow = box.process(known_tile())
    assert slow.latency_s == pytest.approx(3 * sound.latency_s)
    box.inject(BoxFault.FLIP_WEIGHTS, 1, CLOUDING_SEED)
    upset = box.process(known_tile())
    assert not np.array_equal(upset.mask, sound.mask)
    assert box.describe().model_sha256 == sound.model_sha256, "or its peer refuses it, for good"
    assert upset.model_sha256 == sound.model_sha256
    assert not np.array_equal(box.process(known_tile()).mask, sound.mask)
    box.reset()
    assert np.array_equal(box.process(known_tile()).mask, sound.mask)
    box.inject(BoxFault.FLIP_WEIGHTS, 1, BREAKING_SEED)
    with pytest.raises(UpsetCrashError):
        box.process(known_tile())
    with pytest.raises(ValueError, match="99"):
        box.inject(99, 0.0, 0)


def faulty_results(link: FaultyLink) -> list[FrameResult]:
    order = [
        FrameFaults(),
        FrameFaults(input_bits=500, seed=3),
        FrameFaults(weight_bits=1, seed=CLOUDING_SEED),
        FrameFaults(),
        FrameFaults(crash=True),
        FrameFaults(slow_down=2.5),
        FrameFaults(link_loss=True),
        FrameFaults(weight_bits=1, seed=BREAKING_SEED),
        FrameFaults(),
    ]
    results = []
    for number, faults in enumerate(order):
        link.suffer(faults)
        result = link.process(dataclasses.replace(known_tile(), frame_id=f"f{number}"))
        if result.status == "crashed":
            link.reset()
        results.append(
            dataclasses.replace(
                result,
                host_latency_s=0.0,
                peak_memory_mib=0.0,
                memory_provenance="modelled",
                model_calls=0,
            )
        )
    link.close()
    return results


def test_the_same_faults_befall_every_body_alike() -> None:
    plan = FaultPlan(reboot_s=12.0)
    at_hand = open_link("inprocess", model="threshold", device="myriad2")
    modelled = faulty_results(FaultyLink(at_hand, SETTINGS, plan))
    caged = SubprocessLink(SETTINGS)
    real = faulty_results(FaultyLink(caged, SETTINGS, plan, injectable=caged))
    statuses = ["ok", "ok", "ok", "ok", "crashed", "ok", "link_lost", "crashed", "ok"]
    assert [result.status for result in modelled] == statuses
    for one, other in zip(modelled, real, strict=True):
        assert identical(one, other)
    sound, noisy, upset, still_upset, crashed, slow, _, broken, cured = modelled
    assert not np.array_equal(noisy.mask, sound.mask)
    assert not np.array_equal(upset.mask, sound.mask)
    assert np.array_equal(still_upset.mask, upset.mask)
    assert crashed.latency_s < 12.0  # the reboot is not the frame's time
    assert slow.latency_s == pytest.approx(2.5 * sound.latency_s)
    assert np.array_equal(slow.mask, sound.mask)
    assert broken.latency_s == crashed.latency_s
    assert np.array_equal(cured.mask, sound.mask)


def test_flipped_weights_lift_no_memory_limit() -> None:
    limited = dataclasses.replace(SETTINGS, memory_limit_mib=30.0)
    at_hand = open_link(
        "inprocess", model="threshold", device="myriad2", memory_limit_mib=limited.memory_limit_mib
    )
    link = FaultyLink(at_hand, limited, FaultPlan())
    link.suffer(FrameFaults(weight_bits=1, seed=CLOUDING_SEED))
    assert [link.process(known_tile()).status for _ in range(2)] == ["out_of_memory"] * 2


@pytest.mark.parametrize("size_threshold", [0, 1024])
def test_upsets_of_a_model_without_all_weights_in_its_file_are_refused_before_flight(
    write_model: Callable[..., ModelCard],
    pixel_graph: Callable[..., onnx.ModelProto],
    size_threshold: int,
) -> None:
    """By ONNX's default the bias stays inside and the weights go out."""
    graph = pixel_graph(np.ones((1, 4096), np.float32), np.zeros(1, np.float32))
    card = write_model(graph)
    onnx.save(graph, card.onnx_path, save_as_external_data=True, size_threshold=size_threshold)
    assert any(weight_ranges(card.onnx_path.read_bytes())) == (size_threshold > 0)
    settings = dataclasses.replace(SETTINGS, model=str(card.path))
    at_hand = BenchPayload()
    with pytest.raises(FaultPlanError, match=r"upsets_per_bit_day is 0\.01, but pixel\.onnx of"):
        FaultyLink(at_hand, settings, FaultPlan(upsets_per_bit_day=0.01))  # type: ignore[arg-type]
    FaultyLink(at_hand, settings, FaultPlan(crash_per_frame=0.01))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        (FrameFaults(slow_down=3.0), "out_of_memory"),
        (FrameFaults(weight_bits=1, seed=CLOUDING_SEED), "out_of_memory"),
        (FrameFaults(crash=True), "crashed"),
    ],
)
def test_a_fault_ordered_for_a_payload_that_is_away_ends_no_mission(
    faults: FrameFaults, status: str
) -> None:
    """The child dies of its memory limit before it can be told to fail."""
    caged = SubprocessLink(
        dataclasses.replace(SETTINGS, memory_limit_mib=30.0),
        kind="rlimit",
        timeouts=Timeouts(answer_s=0.5, reconnect_s=1.0),
    )
    link = FaultyLink(caged, SETTINGS, FaultPlan(), injectable=caged)
    link.suffer(faults)
    assert link.process(known_tile()).status == status
    link.close()


@pytest.mark.parametrize(
    "lost", [FrameFaults(crash=True), FrameFaults(hang=True), FrameFaults(link_loss=True)]
)
def test_a_lost_frame_draws_no_more_than_the_power_limit(lost: FrameFaults) -> None:
    limited = dataclasses.replace(SETTINGS, power_limit_w=1.0)
    at_hand = open_link("inprocess", model="threshold", device="myriad2", power_limit_w=1.0)
    link = FaultyLink(at_hand, limited, FaultPlan(hang_s=0.0))
    link.suffer(lost)
    result = link.process(known_tile())
    first_tile_s = load_device("myriad2").latency_s(load_card("threshold"), 1)
    assert result.energy_wh * 3600.0 / result.latency_s == pytest.approx(1.0)
    assert result.latency_s == pytest.approx(first_tile_s * (1.8 - 0.5) / (1.0 - 0.5))


def test_a_frame_without_an_answer_is_charged_under_the_power_limit() -> None:
    cost = failure_cost(dataclasses.replace(SETTINGS, power_limit_w=1.0))
    assert cost.energy_wh * 3600.0 / cost.latency_s == pytest.approx(1.0)
    assert cost.mean_power_w == 1.0


def test_a_rapl_counter_that_goes_round_is_minded(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "energy_uj").write_text("3600000000\n")
    (zone / "max_energy_range_uj").write_text("7200000000\n")
    meter = find_meter(powercap=tmp_path, hwmon=tmp_path)
    assert isinstance(meter, RaplMeter)
    assert meter.read_wh() == pytest.approx(1.0)
    assert meter.difference_wh(1.9, 0.1) == pytest.approx(0.2)


def test_an_ina3221_is_integrated_over_time(tmp_path: Path) -> None:
    device = tmp_path / "hwmon3"
    device.mkdir()
    (device / "name").write_text("ina3221\n")
    (device / "in1_input").write_text("5000\n")
    (device / "curr1_input").write_text("2000\n")
    assert isinstance(find_meter(powercap=tmp_path, hwmon=tmp_path), Ina3221Meter)
    clock = iter([0.0, 1800.0])
    meter = Ina3221Meter(device, clock=lambda: next(clock))
    before = meter.read_wh()
    after = meter.read_wh()
    assert before is not None
    assert after is not None
    assert meter.difference_wh(before, after) == pytest.approx(5.0)  # 10 W for half an hour
    (device / "curr1_input").unlink()
    assert meter.read_wh() is None
    assert find_meter(powercap=tmp_path, hwmon=tmp_path) is None
