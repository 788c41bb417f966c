"""In each scenario of the library the limit it is named for really binds, by the run's metrics."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from simulator.mission import run_mission
from simulator.scenario import load_scenario
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder

DEVICE = "satellites.*.payload.device"
MODEL = "satellites.*.payload.model"
POLICY = "autonomy.policy"
LOOK_AHEAD = "satellites.0.look_ahead"


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunFolder]:
    """Flies a day and a half of a bundled scenario, audited; equal asks are flown once."""
    runs: dict[str, RunFolder] = {}

    def fly(name: str, changes: dict[str, object], hours: float = 36) -> RunFolder:
        key = f"{name} {hours} {sorted(changes.items())}"
        if key not in runs:
            scenario = load_scenario(name, {"duration_h": hours, MODEL: "threshold"} | changes)
            runs[key] = RunFolder.open(run_mission(scenario, tmp_path_factory.mktemp("library")))
            assert audit(runs[key]).passed
        return runs[key]

    return fly


def test_downlink_limited_fills_the_link_and_only_then_does_pruning_pay(flown):
    rate = "satellites.*.radio.rate_mbps"
    whole = flown("downlink_limited", {POLICY: "bent_pipe"}, hours=24).metrics()
    pruned = flown("downlink_limited", {POLICY: "prune"}, hours=24).metrics()
    wide = flown("downlink_limited", {POLICY: "bent_pipe", rate: 20}, hours=24).metrics()
    assert whole["station_utilisation"] > 0.95
    assert whole["backlog_mib"] > 0.0
    assert wide["station_utilisation"] < 0.5
    assert wide["clear_km2_delivered"] > whole["clear_km2_delivered"]
    assert whole["clear_km2_delivered"] < pruned["clear_km2_delivered"]
    assert pruned["clear_km2_delivered"] < wide["clear_km2_delivered"]


def test_power_limited_sheds_with_a_hungry_payload_and_not_without(flown):
    days_on = {"satellites.*.power.initial_fraction": 0.5}  # what the battery comes to in days
    hungry, frugal, none = (
        flown("power_limited", changes | days_on, hours=48).metrics()
        for changes in ({}, {DEVICE: "myriad2"}, {POLICY: "bent_pipe"})
    )
    assert hungry["low_power_h"] > 0.0
    assert hungry["battery_min_fraction"] < 0.3
    assert none["low_power_h"] == frugal["low_power_h"] == 0.0
    assert hungry["captures"] < min(none["captures"], frugal["captures"])
    assert hungry["clear_km2_delivered"] < frugal["clear_km2_delivered"]


def test_storage_limited_holds_captures_back_or_overflows_by_policy(flown):
    whole = flown("storage_limited", {POLICY: "bent_pipe"}).metrics()
    pruned = flown("storage_limited", {}).metrics()
    ranked = flown("storage_limited", {POLICY: "prioritise"}).metrics()
    roomy = flown("storage_limited", {"satellites.*.storage_gib": 2}).metrics()
    assert whole["storage_peak_fraction"] > 0.9
    assert pruned["storage_peak_fraction"] > 0.9
    assert whole["captures"] < pruned["captures"] < roomy["captures"]
    assert whole["storage_overflow_mib"] == pruned["storage_overflow_mib"] == 0.0
    assert ranked["storage_overflow_mib"] > 0.0
    assert ranked["clear_km2_delivered"] > pruned["clear_km2_delivered"]


def test_compute_limited_misses_deadlines_in_fp32_and_none_in_int8(flown):
    fp32 = flown("compute_limited", {MODEL: "unet-distilled"}).metrics()
    int8 = flown("compute_limited", {MODEL: "unet-distilled-int8"}).metrics()
    assert fp32["deadline_misses"] > fp32["captures"] / 4
    assert int8["deadline_misses"] == 0
    assert int8["captures"] == fp32["captures"]
    assert int8["clear_fraction_delivered"] > fp32["clear_fraction_delivered"]


def test_agile_constellation_images_more_than_a_slow_one_and_shares_an_antenna(flown):
    agile = flown("agile_constellation", {}, hours=16)
    slow = flown("agile_constellation", {"satellites.*.agility.slew_rate_deg_s": 0.2}, hours=16)
    assert agile.metrics()["captures"] > 1.2 * slow.metrics()["captures"]
    rows = agile.events("pass").to_pylist()
    assert {row["satellite"] for row in agile.events("capture").to_pylist()} == {
        f"neph-{n}" for n in range(1, 5)
    }
    overlapping = [
        (a, b)
        for a in rows
        for b in rows
        if a["satellite"] < b["satellite"] and a["aos_s"] < b["los_s"] and b["aos_s"] < a["los_s"]
    ]
    assert overlapping
    one = sorted(agile.events("downlink").to_pylist(), key=lambda row: row["start_s"])
    assert all(a["end_s"] <= b["start_s"] + 1e-6 for a, b in pairwise(one))


def test_the_ground_asks_whichever_satellite_gets_there_first(flown):
    run = flown("agile_constellation", {POLICY: "bent_pipe"}, hours=30)
    by_target: dict[str, list[str]] = {}
    for row in run.events("capture").to_pylist():
        by_target.setdefault(row["target"], []).append(row["satellite"])
    assert any(len(set(satellites)) > 1 for satellites in by_target.values())


@pytest.mark.skipif(
    "NEPHOSCOPE_SCENES" not in os.environ or not os.environ["NEPHOSCOPE_SCENES"],
    reason="snow comes from L8 Biome: NEPHOSCOPE_SCENES does not name a folder of scenes",
)
def test_snow_season_punishes_a_detector_that_knows_brightness_only(flown):
    whole = flown("snow_season", {POLICY: "bent_pipe"}, hours=60).metrics()
    bright = flown("snow_season", {}, hours=60).metrics()
    assert bright["false_discard_fraction_by_surface"]["snow_ice"] > 0.3
    assert bright["false_discard_fraction"] > 0.1
    assert bright["clear_km2_delivered"] < whole["clear_km2_delivered"]


def test_dynamic_targeting_satisfies_more_with_fewer_captures_than_blind_pointing(flown):
    looking = flown("dynamic_targeting", {}).metrics()
    blind = flown("dynamic_targeting", {LOOK_AHEAD: None}).metrics()
    assert looking["glances"] > looking["captures"] > 0
    assert blind["glances"] == blind["look_ahead_energy_wh"] == 0
    assert looking["captures"] < 0.8 * blind["captures"]
    assert looking["targets_satisfied"] > blind["targets_satisfied"]
    assert looking["clear_fraction_delivered"] > blind["clear_fraction_delivered"] + 0.05


def test_dynamic_targeting_turns_a_minute_or_two_ahead(flown):
    run = flown("dynamic_targeting", {})
    glances = run.events("glance").to_pylist()
    assert {row["outcome"] for row in glances} == {"seen"}
    assert all(60.0 < row["lead_s"] < 120.0 for row in glances)
    errors = [row["cover_seen"] - row["weather_cover"] for row in glances]
    assert 0.02 < sum(map(abs, errors)) / len(errors) < 0.1  # 0.1 in spread, less at 0 and 1
    changes = [row for row in run.events("plan").to_pylist() if row["trigger"] == "glance"]
    assert {row["change"] for row in changes} == {"add", "remove"}
    assert any("a glance ahead saw" in row["reason"] for row in changes)
    seen = {(row["target"], round(row["closest_s"])): row for row in glances}
    soon = [row for row in changes if row["capture_s"] - row["t_s"] < 120.0]
    assert len(soon) > len(seen) / 10


def test_a_dull_camera_is_worth_less_than_a_sharp_one(flown):
    sharp = flown("dynamic_targeting", {}).metrics()
    dull = flown("dynamic_targeting", {LOOK_AHEAD: {"cover_sigma": 0.8}}).metrics()
    assert dull["targets_satisfied"] < sharp["targets_satisfied"]


def test_land_mapping_covers_land_and_deltas_frame_by_frame(flown):
    run = flown("land_mapping", {}, hours=24)
    metrics = run.metrics()
    areas = {f["properties"]["area"]: f["properties"] for f in run.targets()["features"]}
    assert set(areas) == {"danube-delta", "nile-delta", "mekong-delta", "land"}
    assert metrics["periods_due"] == 0  # the first period of two and a half days is not over
    rows = run.events("coverage").to_pylist()
    land = [row["covered_fraction"] for row in rows if row["area"] == "land"]
    assert land == sorted(land)
    assert land[-1] > 0.05
    captures = run.events("capture").to_pylist()
    shares = Counter(row["target"].split("#")[0] for row in captures)
    assert shares["land"] > 100
    assert len(shares) > 1
