"""Device profiles: the time and power arithmetic, and that every figure has a source."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from payload.card import InputSpec, ModelCard
from payload.device import (
    DEVICES_DIR,
    DeviceError,
    DeviceProfile,
    Source,
    TileLatency,
    list_devices,
    load_device,
)
from payload.model import CloudModel

RELATIVE_TOLERANCE = 1e-12

DEVICE = DeviceProfile(
    name="bench",
    description="made by a test",
    idle_power_w=1.0,
    active_power_w=5.0,
    memory_mib=512,
    gmac_s={"fp32": 10.0},
    speed_provenance="modelled",
    sources=(Source("gmac_s", "10", "a test", "assumed"),),
    overhead_s_per_frame=0.5,
    overhead_s_per_tile=0.25,
)


@pytest.fixture
def card(tmp_path: Path, card_of: Callable[..., ModelCard]) -> ModelCard:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"graph")
    return card_of(path, macs_per_px=1000.0)


def test_all_profiles_load_and_every_figure_has_a_source() -> None:
    profiles = {profile.name: profile for profile in list_devices()}
    assert {
        "host",
        "jetson-orin-nano-15w",
        "myriad2",
        "raspberry-pi-4",
        "zynq-ultrascale-dpu",
    } <= set(profiles)
    for profile in profiles.values():
        said = " ".join(source.field for source in profile.sources)
        for field in ("idle_power_w", "active_power_w", "memory_mib", "gmac_s"):
            assert field in said, f"{profile.name}: {field} has no source"
        if profile.overhead_s_per_frame or profile.overhead_s_per_tile:
            assert "overhead_s" in said, f"{profile.name}: overheads have no source"
        assert {"fp32", "int8"} == set(profile.gmac_s)


def test_latency_is_overheads_plus_arithmetic(card: ModelCard) -> None:
    arithmetic_s = 1000.0 * 512**2 / 10e9
    expected = 0.5 + 4 * (0.25 + arithmetic_s)
    assert DEVICE.latency_s(card, 4) == pytest.approx(expected, rel=RELATIVE_TOLERANCE)
    assert DEVICE.latency_provenance(card) == "modelled"


@pytest.mark.parametrize(
    ("edge_px", "multiple_px", "computed_px"),
    [(512, 32, 512), (256, 256, 512), (384, 384, 768), (1024, 1024, 1024), (352, 32, 512)],
)
def test_padding_of_a_graph_of_fixed_size_is_work_too(
    write_model: Callable[..., ModelCard],
    pixel_graph: Callable[..., onnx.ModelProto],
    monkeypatch: pytest.MonkeyPatch,
    edge_px: int,
    multiple_px: int,
    computed_px: int,
) -> None:
    graph = pixel_graph(np.ones((1, 4), np.float32), np.zeros(1, np.float32))
    card = write_model(graph, tile_px=edge_px, input=InputSpec(multiple_px=multiple_px))
    model, fed_px = CloudModel(card), []
    run = model._run
    monkeypatch.setattr(model, "_run", lambda feed: fed_px.append(feed[0, 0].size) or run(feed))
    model.probability(np.full((1, 4, 512, 512), 0.3, np.float32))
    assert sum(fed_px) == computed_px**2
    arithmetic_s = card.macs_per_px * computed_px**2 / 10e9
    assert DEVICE.tile_s(card) == pytest.approx(0.25 + arithmetic_s, rel=RELATIVE_TOLERANCE)


def test_measured_tile_goes_before_arithmetic_for_that_very_file(card: ModelCard) -> None:
    timed = replace(DEVICE, tile_latency_s=(TileLatency("m", card.sha256, 512, 0.125),))
    assert timed.latency_s(card, 2) == 0.5 + 2 * 0.125
    assert timed.latency_provenance(card) == "measured"
    retrained = replace(card, sha256="1" * 64)
    assert timed.latency_s(retrained, 2) == DEVICE.latency_s(retrained, 2)
    assert timed.latency_provenance(retrained) == "modelled"


def test_formula_on_a_measured_speed_is_still_a_model(card: ModelCard) -> None:
    assert replace(DEVICE, speed_provenance="measured").latency_provenance(card) == "modelled"
    assert replace(DEVICE, speed_provenance="declared").latency_provenance(card) == "declared"


def test_precision_without_a_speed_is_refused(card: ModelCard) -> None:
    with pytest.raises(DeviceError, match=r"gmac_s has no speed for int8, .* it has fp32"):
        DEVICE.tile_s(replace(card, precision="int8"))


def test_energy_is_active_power_times_time() -> None:
    assert DEVICE.energy_wh(3600.0) == pytest.approx(5.0, rel=RELATIVE_TOLERANCE)
    assert DEVICE.energy_wh(3600.0, 3.0) == pytest.approx(3.0, rel=RELATIVE_TOLERANCE)


def test_a_frame_lost_where_no_work_fits_the_limit_costs_nothing(card: ModelCard) -> None:
    assert DEVICE.lost_frame_s(card) == DEVICE.latency_s(card, 1)
    assert DEVICE.lost_frame_s(card, DEVICE.idle_power_w) == 0.0


@given(limit_w=st.floats(0.01, 20))
def test_duty_cycle_keeps_the_mean_at_the_limit(limit_w: float) -> None:
    duty = DEVICE.duty_fraction(limit_w)
    mean_w = duty * DEVICE.active_power_w + (1 - duty) * DEVICE.idle_power_w
    assert 0 <= duty <= 1
    if limit_w <= DEVICE.idle_power_w:
        assert duty == 0
    else:
        expected_w = min(limit_w, DEVICE.active_power_w)
        assert mean_w == pytest.approx(expected_w, rel=1e-9)


def test_no_limit_is_full_duty() -> None:
    assert DEVICE.duty_fraction(None) == 1.0


def test_unknown_device_is_answered_with_the_nearest() -> None:
    with pytest.raises(DeviceError, match="'myriad'; did you mean 'myriad2'"):
        load_device("myriad")


def test_path_without_a_profile_is_answered_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"board\.yaml: cannot be read"):
        load_device(tmp_path / "board.yaml")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("active_power_w", None, "the field 'active_power_w' is missing"),
        ("active_power_w", 0.1, "active_power_w is 0.1, expected a number >= 0.5"),
        ("idle_power_w", -1, "idle_power_w is -1, expected a number >= 0"),
        ("memory_mib", 0, "memory_mib is 0, expected a number above 0"),
        ("gmac_s", {}, "gmac_s is empty"),
        ("gmac_s", {"fp32": 0}, "fp32 is 0, expected a number above 0"),
        ("gmac_s", {"fp16": 3, "fp32": 1}, "unknown field 'fp16'"),
        ("gmac_s", None, "the field 'gmac_s' is missing"),
        ("speed_provenance", "guess", "speed_provenance is 'guess'"),
        ("sources", [], "sources is empty"),
        ("sources", [{"field": "a", "figure": "b", "source": "c"}], "'status' is missing"),
        ("name", "other", "expected the file's stem 'myriad2'"),
        ("power_w", 3, "unknown field 'power_w'"),
        ("tile_latency_s", [{"model": "m"}], "tile_latency_s[0]: the field 'sha256' is missing"),
        ("tile_latency_s", [{"model": "m", "sha256": "0f3a"}], "sha256 is '0f3a', expected a SHA"),
    ],
)
def test_mistake_in_a_profile_is_answered_with_file_field_and_reason(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    content = yaml.safe_load((DEVICES_DIR / "myriad2.yaml").read_text())
    if value is None:
        del content[field]
    else:
        content[field] = value
    path = tmp_path / "myriad2.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(DeviceError, match=re.escape(message)) as caught:
        load_device(path)
    assert str(caught.value).startswith(str(path))


def test_measured_table_is_read(tmp_path: Path) -> None:
    content = yaml.safe_load((DEVICES_DIR / "myriad2.yaml").read_text())
    row = {"model": "m", "sha256": "0" * 64, "tile_px": 512, "seconds": 0.5, "host": "here"}
    content["tile_latency_s"] = [row]
    path = tmp_path / "myriad2.yaml"
    path.write_text(yaml.safe_dump(content))
    assert load_device(path).tile_latency_s == (TileLatency("m", "0" * 64, 512, 0.5, "here"),)
