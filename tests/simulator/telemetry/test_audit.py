"""The auditor finds what was deleted or edited: by hash always, by physics mostly."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from simulator.telemetry.audit import audit
from simulator.telemetry.audit.accounts import check_metrics
from simulator.telemetry.audit.findings import RunLog
from simulator.telemetry.audit.report import CHECKS
from simulator.telemetry.audit.skies import nodal_period_s
from simulator.telemetry.events import EVENT_TYPES
from simulator.telemetry.metrics import METRICS, compute_metrics
from simulator.telemetry.run_folder import RunFolder, RunWriter, file_records

WITHOUT_GEOMETRY = tuple(name for name in CHECKS if name != "geometry")
"""The mini mission is not on any orbit; `test_audit_geometry` covers that check."""

PHYSICAL = (
    "energy",
    "storage",
    "imaging",
    "pixels",
    "processing",
    "contacts",
    "loop",
    "areas",
    "look-ahead",
)
MOST_DELETIONS = 4
LEARNED_WITHOUT_LINK = "the ground learns at the end of a contact, and none ends then"
UPLINK_WITHOUT_POWER = "the battery is empty, the radio is shed"

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def genuine(
    tmp_path_factory: pytest.TempPathFactory, build_run_once: Callable[[Path], RunFolder]
) -> RunFolder:
    return build_run_once(tmp_path_factory.mktemp("audit") / "mini")


@pytest.fixture
def copy(genuine: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(genuine.path, tmp_path / "copy")
    return RunFolder.open(tmp_path / "copy")


def rewrite(run: RunFolder, name: str, change: Callable[[Rows], Rows]) -> None:
    path = run.path / "events" / f"{name}.parquet"
    table = run.events(name)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)


def forge(run: RunFolder) -> RunFolder:
    """Give a changed run the metrics and hashes of a genuine one: only physics can tell now."""
    metrics = compute_metrics(RunFolder.open(run.path)).to_dict()
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    manifest = dataclasses.replace(run.manifest, files=file_records(run.path))
    (run.path / "manifest.json").write_text(manifest.to_json())
    return RunFolder.open(run.path)


def edited(value: Any) -> Any:
    """Another value of the same type: another target, another station, another number."""
    if value in ("A", ["A"]):
        return ["B"] if isinstance(value, list) else "B"
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [*value, value[0]] if value else value
    return value + 5


def failed(run: RunFolder, checks: tuple[str, ...] = WITHOUT_GEOMETRY) -> set[str]:
    return {check.name for check in audit(run, checks).checks if not check.passed}


def test_a_genuine_run_passes(genuine: RunFolder) -> None:
    report = audit(genuine, WITHOUT_GEOMETRY)
    assert report.passed, report.text()
    assert report.text().endswith("audit passed")
    assert all(genuine.events(name).num_rows for name in EVENT_TYPES), "a type is not covered"


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_deleted_row_and_every_edited_value_breaks_the_hash(
    copy: RunFolder, name: str
) -> None:
    path = copy.path / "events" / f"{name}.parquet"
    genuine = path.read_bytes()
    rows = copy.events(name).to_pylist()
    for index, row in enumerate(rows):
        rewrite(copy, name, lambda rows, i=index: rows[:i] + rows[i + 1 :])
        assert failed(copy, ("integrity",)), f"row {index} deleted"
        path.write_bytes(genuine)
        for column, value in row.items():
            if index > 0 and edited(value) != value:
                continue  # every row is deleted, every column edited once: the hash is one
            changed = row | {column: edited(value)}
            if changed == row:
                continue
            rewrite(copy, name, lambda rows, i=index, new=changed: [*rows[:i], new, *rows[i + 1 :]])
            assert failed(copy, ("integrity",)), f"{column} of row {index} edited"
            path.write_bytes(genuine)
    assert not failed(copy, ("integrity",))


PHYSICS: dict[str, dict[str, str]] = {
    "capture": {
        "target": "imaging",
        "attempt": "imaging",
        "period": "areas",
        "reacquisition": "imaging",
        "off_nadir_deg": "imaging",
        "roll_deg": "imaging",
        "slew_deg": "imaging",
        "bytes": "storage",
        "clear_px": "pixels",
        "cloud_px": "pixels",
        "cover": "pixels",
        "truth_sha256": "pixels",
        "stored": "storage",
    },
    "inference": {
        "start_s": "processing",
        "latency_s": "processing",
        "energy_wh": "processing",
        "queued_s": "processing",
        "tiles": "processing",
        "model_sha256": "processing",
        "status": "pixels",
        "cover_detected": "pixels",
        "clear_px_called_cloud": "pixels",
        "mask_sha256": "pixels",
    },
    "decision": {
        "bytes_kept": "pixels",
        "kept_blocks": "pixels",
        "action": "pixels",
        "clear_px_kept": "pixels",
        "clear_px_perfect": "pixels",
        "clear_px_false_discard": "pixels",
        "cover_detected": "pixels",
        "region_px": "pixels",
    },
    "product": {
        "kind": "loop",
        "bytes": "contacts",
        "clear_px": "pixels",
        "target": "contacts",
        "priority": "processing",
    },
    "downlink": {
        "bytes": "storage",
        "remaining_bytes": "contacts",
        "complete": "contacts",
        "start_s": "contacts",
        "station": "contacts",
    },
    "pass": {
        "aos_s": "contacts",
        "usable_s": "contacts",
        "transmit_s": "contacts",
        "capacity_bytes": "contacts",
        "bytes": "contacts",
        "outcome": "contacts",
    },
    "antenna": dict.fromkeys(
        ("t_s", "satellite", "station", "start_s", "end_s", "capacity_bytes"), "contacts"
    ),
    "power": {
        "charge_wh": "energy",
        "load_w": "energy",
        "payload_w": "energy",
        "generation_w": "energy",
        "generated_wh": "energy",
        "consumed_wh": "energy",
        "curtailed_wh": "energy",
        "payload_wh": "energy",
        "low_power": "energy",
        "look_ahead_w": "energy",
    },
    "storage": {
        "captured_bytes": "storage",
        "stored_bytes": "storage",
        "sent_bytes": "storage",
        "queued_bytes": "storage",
        "delta_bytes": "storage",
        "capture": "storage",
        "product": "storage",
        "derived_bytes": "storage",
        "compressed_bytes": "storage",
        "dropped_released_bytes": "storage",
    },
    "plan": {"planned_captures": "loop", "change": "loop", "target": "loop", "period": "loop"},
    "uplink": {"station": "loop", "targets": "loop", "periods": "loop", "satellite": "loop"},
    "glance": dict.fromkeys(
        (
            "target",
            "period",
            "looked_s",
            "closest_s",
            "lead_s",
            "pitch_deg",
            "forecast_cover",
            "weather_cover",
            "cover_seen",
            "outcome",
            "t_s",
        ),
        "look-ahead",
    ),
    "coverage": {
        "area": "areas",
        "target": "areas",
        "period": "areas",
        "frames": "areas",
        "frames_covered": "areas",
        "covered_fraction": "areas",
    },
    "ground": {
        "cover": "loop",
        "period": "loop",
        "t_s": "loop",
        "tasking_ready_s": "loop",
        "capture": "loop",
        "answer": "loop",
        "answer_ready_s": "loop",
        "mask_sha256": "loop",
    },
    "fault": {"end_s": "loop", "t_s": "loop", "kind": "loop"},
}
"""Edits that the physics alone catches, with the check that does, when hashes are forged too."""


@pytest.mark.parametrize("name", PHYSICS)
def test_physics_alone_catches_edits(copy: RunFolder, name: str) -> None:
    genuine = (copy.path / "events" / f"{name}.parquet").read_bytes()
    for column, check in PHYSICS[name].items():

        def edit_second(rows: Rows, column: str = column) -> Rows:
            index = min(1, len(rows) - 1)
            return [
                *rows[:index],
                rows[index] | {column: edited(rows[index][column])},
                *rows[index + 1 :],
            ]

        rewrite(copy, name, edit_second)
        assert check in failed(copy, (check,)), f"{name}.{column}"
        (copy.path / "events" / f"{name}.parquet").write_bytes(genuine)


@pytest.mark.parametrize("name", sorted(set(EVENT_TYPES) - {"eclipse", "uplink"}))
def test_physics_alone_catches_deleted_rows(copy: RunFolder, name: str) -> None:
    genuine = (copy.path / "events" / f"{name}.parquet").read_bytes()
    for index in range(min(copy.events(name).num_rows, MOST_DELETIONS)):
        rewrite(copy, name, lambda rows, i=index: rows[:i] + rows[i + 1 :])
        assert failed(copy, PHYSICAL), f"row {index} of {name}"
        (copy.path / "events" / f"{name}.parquet").write_bytes(genuine)


def messages_of_loop(run: RunFolder) -> set[str]:
    return {finding.message for finding in audit(run, ("loop",)).findings}


def with_scenario(run: RunFolder, change: Callable[[dict[str, Any]], None]) -> None:
    scenario = yaml.safe_load(run.scenario_yaml)
    change(scenario)
    (run.path / "scenario.yaml").write_text(yaml.safe_dump(scenario))


def test_only_in_real_time_may_the_last_frame_of_an_orbit_overrun_its_energy(
    copy: RunFolder,
) -> None:
    (elements,) = copy.orbits().values()
    spent_wh: Counter[int] = Counter()
    for row in copy.events("inference").to_pylist():
        spent_wh[int(row["start_s"] // nodal_period_s(elements))] += row["energy_wh"]
    most_wh = max(spent_wh.values())
    passed = {}
    for pace in ("virtual", "realtime"):

        def limit(scenario: dict[str, Any], pace: str = pace) -> None:
            payload = scenario["satellites"][0]["payload"]
            payload |= {"pace": pace, "energy_limit_wh_per_orbit": 0.99 * most_wh}

        with_scenario(copy, limit)
        passed[pace] = "processing" not in failed(RunFolder.open(copy.path), ("processing",))
    assert passed == {"virtual": False, "realtime": True}


def test_the_ground_may_learn_when_an_outage_cuts_the_pass_and_then_only(copy: RunFolder) -> None:
    first = copy.events("pass").to_pylist()[0]
    cut_s = first["los_s"] - 5.0
    outage = {"kind": "station_outage", "station": first["station"]}

    def cut(scenario: dict[str, Any]) -> None:
        scenario["ground"]["antenna_assignment"] = "priority"
        hours = {"from_h": cut_s / 3600, "to_h": first["los_s"] / 3600 + 1}
        scenario["faults"] = [*scenario.get("faults", []), outage | hours]

    with_scenario(copy, cut)
    assert LEARNED_WITHOUT_LINK in messages_of_loop(copy)

    def at_the_cut(rows: Rows) -> Rows:
        return [row | {"t_s": cut_s / 3600 * 3600} for row in rows]

    rewrite(copy, "ground", at_the_cut)
    assert LEARNED_WITHOUT_LINK not in messages_of_loop(copy)


def test_the_ground_may_learn_when_an_assignment_ends_and_then_only(copy: RunFolder) -> None:
    first = copy.events("pass").to_pylist()[0]
    end_s = first["los_s"] - 5.0
    rewrite(copy, "antenna", lambda rows: [rows[0] | {"end_s": end_s}, *rows[1:]])
    assert LEARNED_WITHOUT_LINK in messages_of_loop(copy)
    rewrite(copy, "ground", lambda rows: [row | {"t_s": end_s} for row in rows])
    assert LEARNED_WITHOUT_LINK not in messages_of_loop(copy)


def test_the_ground_may_learn_as_the_battery_runs_empty_and_then_only(copy: RunFolder) -> None:
    first = copy.events("pass").to_pylist()[0]

    def run_empty(rows: Rows) -> Rows:
        empty = {"low_power": True, "charge_wh": 0.0}
        return [row | empty if row["t_s"] >= first["aos_s"] else row for row in rows]

    rewrite(copy, "power", run_empty)
    assert {LEARNED_WITHOUT_LINK, UPLINK_WITHOUT_POWER} <= messages_of_loop(copy)
    rewrite(copy, "ground", lambda rows: [row | {"t_s": first["aos_s"]} for row in rows])
    assert LEARNED_WITHOUT_LINK not in messages_of_loop(copy)


def test_tasking_does_not_go_up_in_an_outage(copy: RunFolder) -> None:
    (uplink,) = copy.events("uplink").to_pylist()
    hours = {"from_h": uplink["t_s"] / 3600 - 1, "to_h": uplink["t_s"] / 3600 + 1}

    def out(scenario: dict[str, Any]) -> None:
        scenario["ground"]["antenna_assignment"] = "priority"
        outage = {"kind": "station_outage", "station": uplink["station"], **hours}
        scenario["faults"] = [*scenario.get("faults", []), outage]

    with_scenario(copy, out)
    assert f"there is no link over {uplink['station']} then" in messages_of_loop(copy)


def test_metrics_are_recomputed(copy: RunFolder) -> None:
    def slightly_more(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: slightly_more(inner) for key, inner in value.items()}
        return value * 1.000001 + 1e-6 if isinstance(value, int | float) else 1.0

    changed = {name: slightly_more(value) for name, value in copy.metrics().items()}
    (copy.path / "metrics.json").write_text(json.dumps(changed))
    log = RunLog(copy)
    found = {finding.message.split()[0] for finding in check_metrics(log)}
    assert found == set(METRICS)


@pytest.mark.parametrize("name", ["truth", "mask"])
def test_a_painted_picture_is_found(copy: RunFolder, name: str) -> None:
    pictures = sorted((copy.path / "captures").glob(f"{name}-*.png"))
    shutil.copyfile(pictures[0], pictures[1])
    assert {"integrity", "pixels"} <= failed(copy)


def test_missing_and_extra_files_are_found(copy: RunFolder) -> None:
    (copy.path / "events" / "uplink.parquet").unlink()
    (copy.path / "notes.txt").write_text("mine")
    found = {finding.where: finding.message for finding in audit(copy, ("integrity",)).findings}
    assert found == {
        "events/uplink.parquet": "the file is missing",
        "notes.txt": "the file is not in the manifest",
    }


def test_another_scenario_is_found(copy: RunFolder) -> None:
    text = copy.scenario_yaml.replace("seed: 7", "seed: 8")
    (copy.path / "scenario.yaml").write_text(text)
    messages = [finding.message for finding in audit(forge(copy), ("inputs",)).findings]
    assert messages == [
        "it is not the scenario of this run",
        "seed is 7, the scenario's is another",
    ]


def test_damaged_file_is_a_finding_not_a_crash(copy: RunFolder) -> None:
    (copy.path / "events" / "power.parquet").write_bytes(b"PAR1")
    report = audit(copy)
    assert not report.passed
    assert any("power.parquet cannot be read as Parquet" in f.message for f in report.findings)
    assert json.loads(json.dumps(report.to_dict()))["passed"] is False


def test_an_unfinished_run_says_so(
    tmp_path: Path, manifest: Any, fill_run: Callable[[RunWriter], None]
) -> None:
    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        fill_run(writer)
        writer.interrupt("Interrupted by the user.")
    run = RunFolder.open(tmp_path / "run")
    report = audit(run, ("integrity", *PHYSICAL))
    assert report.findings == ()
    assert not report.passed
    assert [check.name for check in report.checks if check.unchecked] == ["integrity"]
    assert report.text().endswith(
        f"the run is interrupted at {run.horizon_s / 3600:.1f} of 6.0 h; what it wrote until then "
        f"passes {len(PHYSICAL)} checks"
    )


def test_an_unfinished_run_is_still_found_wrong(
    tmp_path: Path, manifest: Any, fill_run: Callable[[RunWriter], None]
) -> None:
    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        fill_run(writer)
        writer.interrupt("Interrupted by the user.")
    for path in (tmp_path / "run" / "events" / "decision").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.slice(1), path)
    report = audit(RunFolder.open(tmp_path / "run"), ("processing",))
    assert any("there is none for this capture" in f.message for f in report.findings)
    assert "what it wrote until then fails 1 of 1 checks" in report.text()
