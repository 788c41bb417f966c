"""Budgets bind: power, energy, memory, deadline, storage, outages, and several satellites."""

from __future__ import annotations

import itertools

import pytest

from payload.device import DEVICES_DIR
from simulator.mission import run_mission
from simulator.scenario import load_scenario
from simulator.spacecraft.imaging import exposure_s
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder

TIME_TOLERANCE_S = 1e-3
EMPTY_WH = 1e-9
FEW_FRAMES = 4.01
EMPTIED_SOON_WH = 51.2


def rows(run, name):
    return run.events(name).to_pylist()


def satellite(name: str) -> str:
    return f"satellites__*__{name}"


def metrics(run):
    return run.metrics()


def test_a_hungry_satellite_sheds_and_recovers(fly):
    run = fly(
        **{satellite("power__panel_area_m2"): 0.022, satellite("power__battery_wh"): 12},
    )
    power = rows(run, "power")
    assert {row["low_power"] for row in power} == {True, False}
    assert all(row["payload_w"] == 0.0 == row["imager_w"] for row in power_after_shedding(power))
    assert metrics(run)["low_power_h"] > 0
    assert audit(run).passed


def test_sunlight_changes_where_shadows_begin_and_end_and_nowhere_else(fly):
    run = fly()
    edges_s = {row[edge] for row in rows(run, "eclipse") for edge in ("start_s", "end_s")}
    changes_s = [row["t_s"] for row in rows(run, "power") if row["reason"] == "sunlight changes"]
    assert set(changes_s) == edges_s - {0.0, run.horizon_s}  # shadows are cut off at both ends
    assert rows(run, "power")[-1]["reason"] == "end of the mission"


def power_after_shedding(power):
    """Rows strictly inside a low-power span: switching off takes its own rows at its start."""
    since = None
    for row in power:
        since = (since if since is not None else row["t_s"]) if row["low_power"] else None
        if since is not None and row["t_s"] > since:
            yield row


def test_a_week_of_sun_in_which_nothing_happens_passes_its_audit(fly):
    """Sunlight is no straight line over so many days."""
    run = fly(
        autonomy__policy="oracle",
        duration_h=168,
        satellites__0__orbit={"sun_synchronous": {"altitude_km": 800, "ltan_h": 6}},
        satellites__0__imager__min_sun_elevation_deg=80,
    )
    assert len(rows(run, "power")) < 5
    assert audit(run).passed, audit(run).text()


def test_too_little_memory_kills_and_the_mission_goes_on(fly):
    run = fly(**{satellite("payload__memory_limit_mib"): 20})
    assert {row["status"] for row in rows(run, "inference")} == {"out_of_memory"}
    assert {row["kind"] for row in rows(run, "fault")} == {"out_of_memory"}
    assert {row["action"] for row in rows(run, "decision")} == {"keep_unprocessed"}
    assert metrics(run)["payload_faults"] == len(rows(run, "fault")) > 0
    assert audit(run).passed


def test_a_deadline_too_short_leaves_frames_unprocessed(fly):
    run = fly(**{satellite("payload__frame_deadline_s"): 0.01})
    assert {row["status"] for row in rows(run, "inference")} == {"deadline_missed"}
    assert metrics(run)["deadline_misses"] == len(rows(run, "capture"))
    assert audit(run).passed


def test_waiting_past_the_edge_of_an_orbit_ends(fly):
    """6 times the period of this orbit divided by it is less than 6, as floats go."""
    run = fly(
        **{
            satellite("payload__energy_limit_wh_per_orbit"): 5e-5,
            satellite("payload__frame_deadline_s"): 20_000,
        }
    )
    assert {row["status"] for row in rows(run, "inference")} <= {"ok", "deadline_missed"}
    assert metrics(run)["frames_processed"] > 0
    assert audit(run).passed


def test_waiting_is_no_work_where_a_payload_idles_at_the_power_it_works_at(fly, tmp_path_factory):
    hungry = tmp_path_factory.mktemp("device") / "hungry.yaml"
    profile = (DEVICES_DIR / "myriad2.yaml").read_text("utf-8")
    profile = profile.replace("idle_power_w: 0.5", "idle_power_w: 1.8")
    hungry.write_text(profile.replace("name: myriad2", "name: hungry"), "utf-8")
    run = fly(
        duration_h=24,
        **{
            satellite("payload__device"): str(hungry),
            satellite("payload__energy_limit_wh_per_orbit"): 5e-5,
            satellite("payload__frame_deadline_s"): 20_000,
        },
    )
    assert any(row["queued_s"] > 1000 and row["energy_wh"] > 0 for row in rows(run, "inference"))
    assert audit(run).passed


def test_patience_with_the_payload_costs_no_captures(fly):
    few, many = (
        metrics(fly(**{satellite("payload__frame_deadline_s"): deadline_s}))
        for deadline_s in (60, 20_000)
    )
    assert many["captures"] == few["captures"]


def test_an_empty_battery_hears_and_tells_nothing(fly):
    """It runs empty after the first frames and before the first pass."""
    run = fly(
        autonomy__policy="prune",
        ground__processing_delay_h=0,
        **{
            satellite("power__panel_area_m2"): 0,
            satellite("power__battery_wh"): EMPTIED_SOON_WH,
            satellite("power__initial_fraction"): 1,
            satellite("power__low_power_fraction"): 0,
        },
    )
    empty_s = min(row["t_s"] for row in rows(run, "power") if row["charge_wh"] < EMPTY_WH)
    assert any(row["t_s"] < empty_s for row in rows(run, "decision"))
    assert all(row["aos_s"] > empty_s for row in rows(run, "pass"))
    assert rows(run, "pass")
    assert not rows(run, "ground")
    assert not rows(run, "uplink")
    report = audit(run)
    assert report.passed, report.text()


def test_an_empty_battery_sends_nothing(fly):
    run = fly(
        autonomy__policy="bent_pipe",
        **{
            satellite("power__panel_area_m2"): 0,
            satellite("power__battery_wh"): 140,
            satellite("radio__rate_mbps"): 0.05,
        },
    )
    empty = [row for row in rows(run, "power") if row["charge_wh"] < EMPTY_WH]
    assert empty
    empty_s = empty[0]["t_s"]
    assert all(row["radio_w"] == 0.0 for row in empty if row["t_s"] > empty_s)
    assert any(row["t_s"] < empty_s for row in rows(run, "downlink"))
    assert not [row for row in rows(run, "downlink") if row["t_s"] > empty_s]
    assert audit(run).passed


@pytest.mark.parametrize("duration_h", [0.0001, 0.053, 0.057])
def test_a_mission_ends_when_it_is_said_to(fly, duration_h):
    """These durations, in seconds, are not what 200 times a 200th of them makes."""
    run = fly(duration_h=duration_h)
    assert rows(run, "power")[-1]["t_s"] == run.manifest.duration_s == duration_h * 3600
    report = audit(run)
    assert report.passed, report.text()


def test_the_imager_is_on_to_warm_up_and_to_expose_only(small_scenario, fly):
    run, imager = fly(), small_scenario().satellites[0].imager
    on_s = sum(
        (after["t_s"] - before["t_s"]) * (before["imager_w"] > 0.0)
        for before, after in itertools.pairwise(rows(run, "power"))
    )
    each_s = imager.warmup_s + exposure_s(imager)
    assert 0.0 < on_s <= len(rows(run, "capture")) * each_s + TIME_TOLERANCE_S


def test_an_orbit_without_energy_left_makes_frames_wait(fly):
    run = fly(**{satellite("payload__energy_limit_wh_per_orbit"): 1e-6})
    assert {row["status"] for row in rows(run, "inference")} == {"deadline_missed"}
    assert sum(row["energy_wh"] for row in rows(run, "inference")) == 0.0


def test_work_cut_off_by_an_outage_counts_in_the_orbit_it_was_done_in(fly, tmp_path_factory):
    """600 s at 1.8 W are 0.3 Wh a frame; 260 s of one are done before the outage, all after it."""
    slow = tmp_path_factory.mktemp("device") / "slow.yaml"
    profile = (DEVICES_DIR / "myriad2.yaml").read_text("utf-8")
    profile = profile.replace("overhead_s_per_frame: 0.05", "overhead_s_per_frame: 600")
    slow.write_text(profile.replace("name: myriad2", "name: slow"), "utf-8")
    budget = {
        satellite("payload__device"): str(slow),
        satellite("payload__frame_deadline_s"): 40_000,
        satellite("payload__energy_limit_wh_per_orbit"): 0.36,
    }
    begun_s = rows(fly(**budget), "inference")[0]["start_s"]
    outage = {
        "kind": "payload_outage",
        "from_h": (begun_s + 260) / 3600,
        "to_h": begun_s / 3600 + 2,
    }
    run = fly(**budget, faults=[outage])
    first = rows(run, "inference")[0]
    assert first["latency_s"] == pytest.approx(860, abs=1)
    assert first["energy_wh"] > 0.36
    assert audit(run).passed


@pytest.mark.parametrize("policy", ["bent_pipe", "reschedule"])
def test_a_full_memory_drops_by_policy_and_says_so(fly, policy):
    run = fly(
        autonomy__policy=policy,
        **{satellite("storage_gib"): 0.013, satellite("radio__rate_mbps"): 0.02},
    )
    ledger = rows(run, "storage")
    settled = {row["t_s"]: row["stored_bytes"] for row in ledger}  # the last row of each instant
    assert max(settled.values()) <= ledger[0]["capacity_bytes"]
    if policy == "reschedule":
        assert ledger[-1]["dropped_overflow_bytes"] > 0
        assert metrics(run)["storage_overflow_mib"] > 0
        assert max(row["stored_bytes"] for row in ledger) > ledger[0]["capacity_bytes"]
    assert metrics(run)["storage_peak_fraction"] <= 1.0  # what is turned away was never in memory
    assert audit(run).passed


def test_a_station_outage_silences_its_passes(fly):
    outage = [{"kind": "station_outage", "station": "matera", "from_h": 0, "to_h": 72}]
    run = fly(faults=outage)
    assert {row["outcome"] for row in rows(run, "pass")} == {"outage"}
    assert not rows(run, "downlink")
    assert audit(run).passed


def test_the_ground_learns_nothing_from_a_pass_after_an_outage_cut_it(fly):
    whole = fly(autonomy__policy="prune")
    decisions_s = [row["t_s"] for row in rows(whole, "decision")]
    over, from_s = next(
        (row, (before_s + after_s) / 2)
        for row in rows(whole, "pass")
        for before_s, after_s in itertools.pairwise(decisions_s)
        if row["aos_s"] < before_s < after_s < row["los_s"]
    )
    hours = {"from_h": from_s / 3600, "to_h": over["los_s"] / 3600 + 1}
    outage = {"kind": "station_outage", "station": over["station"], **hours}
    run = fly(autonomy__policy="prune", faults=[outage])
    begins_s = outage["from_h"] * 3600
    learned = [row for row in rows(run, "ground") if over["aos_s"] < row["t_s"] <= over["los_s"]]
    assert {row["t_s"] for row in learned} == {begins_s}
    assert any(begins_s < row["t_s"] < over["los_s"] for row in rows(run, "decision"))
    report = audit(run)
    assert report.passed, report.text()


def test_a_payload_outage_is_a_fault_and_frames_go_unprocessed(fly):
    run = fly(faults=[{"kind": "payload_outage", "from_h": 0, "to_h": 12}])
    assert [row["kind"] for row in rows(run, "fault")] == ["payload_outage"]
    statuses = {row["status"] for row in rows(run, "inference") if row["t_s"] < 12 * 3600 - 120}
    assert statuses == {"deadline_missed"}
    assert "ok" in {row["status"] for row in rows(run, "inference")}
    assert audit(run).passed


def test_outages_that_overlap_are_each_written_down(fly):
    spans_h = [(0, 5), (3, 8), (3, 4), (10, 11)]
    run = fly(
        duration_h=12,
        faults=[{"kind": "payload_outage", "from_h": a, "to_h": b} for a, b in spans_h],
    )
    written_h = [(row["t_s"] / 3600, row["end_s"] / 3600) for row in rows(run, "fault")]
    assert sorted(written_h) == sorted(spans_h)
    report = audit(run)
    assert report.passed, report.text()


def test_an_outage_whose_start_is_met_a_rounding_error_late_is_written_down(fly):
    """The clock at the end of a wait, ``now + (start - now)``, is not always the start."""
    spans_h = [(2, 4.1), (8.7, 8.9)]
    now_s, start_s = 4.1 * 3600.0, 8.7 * 3600.0
    assert now_s + (start_s - now_s) != start_s
    run = fly(
        duration_h=9,
        faults=[{"kind": "payload_outage", "from_h": a, "to_h": b} for a, b in spans_h],
    )
    assert [row["t_s"] for row in rows(run, "fault")] == [2 * 3600.0, start_s]
    report = audit(run)
    assert report.passed, report.text()


def test_two_satellites_share_targets_and_an_antenna(small_scenario, fly):
    first = small_scenario().satellites[0].model_dump(mode="json", exclude_none=True)
    second = first | {"name": "neph-2"}
    run = fly(satellites=[first, second])
    assert {row["satellite"] for row in rows(run, "capture")} == {"neph-1", "neph-2"}
    by_satellite = {}
    for row in rows(run, "capture"):
        by_satellite.setdefault(row["target"], set()).add(row["satellite"])
    assert all(len(seen) == 1 for seen in by_satellite.values())
    sent = sorted(rows(run, "downlink"), key=lambda row: row["start_s"])
    assert all(a["end_s"] <= b["start_s"] + 1e-6 for a, b in itertools.pairwise(sent))
    assert audit(run).passed


def test_antennas_assigned_before_flight_carry_more_than_those_asked_for(small_scenario, fly):
    """The slow one of two satellites a minute apart comes first to the only antenna."""
    base = small_scenario()
    keplerian = {
        "semi_major_axis_km": 6888.137,
        "eccentricity": 0,
        "inclination_deg": 97.45,
        "raan_deg": 47.5,
        "arg_perigee_deg": 0,
    }
    one = base.satellites[0].model_dump(mode="json", exclude_none=True)
    satellites = [
        one
        | {
            "name": f"neph-{n}",
            "orbit": {"keplerian": keplerian | {"mean_anomaly_deg": 4 * n}},
            "radio": one["radio"] | {"rate_mbps": rate_mbps},
        }
        for n, rate_mbps in enumerate((0.1, 0.02))
    ]
    changes = {
        "satellites": satellites,
        "ground__stations": ["matera"],
        "faults": [{"kind": "station_outage", "station": "matera", "from_h": 20, "to_h": 22}],
        "targets": str(base.folder / "targets" / "world_200.geojson"),
        "duration_h": 36,
        "autonomy__policy": "bent_pipe",
    }
    asked = fly(**changes)
    assigned = fly(**changes, ground__antenna_assignment="optimal")
    assert not rows(asked, "antenna")
    contacts = rows(assigned, "antenna")
    assert {(row["satellite"], row["station"]) for row in contacts} == {
        ("neph-0", "matera"),
        ("neph-1", "matera"),
    }
    sent = [sum(row["bytes"] for row in rows(run, "downlink")) for run in (asked, assigned)]
    assert sent[1] > 1.2 * sent[0]
    (*stretches,) = assigned.host_events("antennas").to_pylist()
    assert sum(row["contacts"] for row in stretches) == len(contacts)
    assert all(row["bound"] >= row["value"] >= row["first_come_value"] for row in stretches)
    assert {row["ended"] for row in stretches} == {"proved"}
    for run in (asked, assigned):
        report = audit(run)
        assert report.passed, report.text()


def test_a_pass_lost_to_another_satellite_empties_no_memory(small_scenario, fly):
    """Where passes do free memory, planned captures fit: without one they must be given up."""
    section = small_scenario().satellites[0].model_dump(mode="json", exclude_none=True)
    room = {"storage_gib": FEW_FRAMES * small_scenario().satellites[0].imager.frame_bytes / 2**30}
    twins = [section | room | {"name": name} for name in ("first", "second")]
    run = fly(autonomy__policy="bent_pipe", satellites=twins)
    assert "no_antenna" in {row["outcome"] for row in rows(run, "pass")}
    assert all(row["stored"] for row in rows(run, "capture"))
    assert audit(run).passed


def test_a_plan_made_during_a_slew_leaves_room_for_the_frame_under_way(tmp_path):
    """A glance makes the plan anew while the satellite turns to the last frame that fits."""
    fields = {
        "duration_h": 10,
        "autonomy.policy": "prune",
        "satellites.*.payload.model": "threshold",
        "satellites.*.radio.rate_mbps": 0.01,
    }
    frame_gib = load_scenario("dynamic_targeting").satellites[0].imager.frame_bytes / 2**30
    room = {"satellites.*.storage_gib": 17.01 * frame_gib}
    run = RunFolder.open(run_mission(load_scenario("dynamic_targeting", fields | room), tmp_path))
    captures = rows(run, "capture")
    assert len(captures) == 17
    assert all(row["stored"] for row in captures)


def test_a_mission_may_end_while_glances_overlap(tmp_path):
    """The last ones have no row, and keep the camera on that an earlier one switched on."""
    fields = {
        "duration_h": 8.0725,
        "satellites.*.payload.model": "threshold",
        "satellites.*.look_ahead.decide_s": 60,
    }
    run = RunFolder.open(run_mission(load_scenario("dynamic_targeting", fields), tmp_path))
    assert rows(run, "power")[-1]["look_ahead_w"] > 0
    assert audit(run).passed
