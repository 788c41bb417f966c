"""A folder that is none, or is damaged, is refused with its reason, and never spoils a listing."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from simulator.telemetry.audit import audit
from simulator.telemetry.events import SCHEMA_VERSION
from simulator.telemetry.manifest import RunFolderError
from simulator.telemetry.metrics import compute_metrics
from simulator.telemetry.run_folder import RunFolder
from simulator.telemetry.runs import list_runs


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"has no manifest.json.*nephoscope runs"):
        RunFolder.open(tmp_path)


def test_a_file_is_no_run_folder(mini_run: RunFolder) -> None:
    with pytest.raises(RunFolderError, match=r"scenario.yaml is not a run folder: it is a file"):
        RunFolder.open(mini_run.path / "scenario.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        (
            '{"schema_version": 99}',
            f"schema_version is 99, this version of nephoscope reads {SCHEMA_VERSION}",
        ),
        (
            json.dumps({"schema_version": SCHEMA_VERSION}),
            f"is not a manifest of schema {SCHEMA_VERSION}",
        ),
    ],
)
def test_damaged_manifest(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunFolderError, match=expected):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("created", None, "created is None, expected a string"),
        ("created", "x", "created is 'x', expected a time such as"),
        ("heartbeat", "noon", "heartbeat is 'noon', expected a time such as"),
        ("epoch", "yesterday", "epoch is 'yesterday', expected a time such as"),
        ("epoch", "", "epoch is '', expected a time such as"),
        ("progress_s", None, "progress_s is None, expected a number"),
        ("duration_s", "6 h", "duration_s is '6 h', expected a number"),
        ("seed", 7.5, "seed is 7.5, expected a whole number"),
        ("pid", True, "pid is True, expected a whole number"),
        ("models", ["unet"], r"models is \['unet'\], expected a JSON object of strings"),
        ("scenes", {"samples": 1}, "scenes is {'samples': 1}, expected a JSON object of strings"),
        ("files", {"a": {"sha256": "", "bytes": None}}, "files a: bytes is None"),
    ],
)
def test_a_manifest_with_a_field_of_another_kind_is_listed_with_the_reason(
    mini_run: RunFolder, field: str, value: object, expected: str
) -> None:
    whole = json.loads((mini_run.path / "manifest.json").read_text())
    broken = mini_run.path.with_name("broken")
    broken.mkdir()
    (broken / "manifest.json").write_text(json.dumps(whole | {field: value}))
    with pytest.raises(RunFolderError, match=expected):
        RunFolder.open(broken)
    listed = {run.path.name: run.state for run in list_runs(mini_run.path.parent)}
    assert listed == {"mini": "complete", "broken": "unreadable"}


@pytest.mark.parametrize("text", ["autonomy: 3", "satellites: 3", "satellites: [{payload: x}]"])
def test_listing_survives_a_damaged_scenario(mini_run: RunFolder, text: str) -> None:
    (mini_run.path / "scenario.yaml").write_text(text)
    (listed,) = list_runs(mini_run.path.parent)
    assert (listed.state, listed.setup.policy) == ("complete", "")


def test_damaged_events_name_the_file(mini_run: RunFolder) -> None:
    path = mini_run.path / "events" / "power.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=r"events/power.parquet cannot be read as Parquet"):
        mini_run.events("power")


def test_foreign_columns_name_the_file(mini_run: RunFolder) -> None:
    path = mini_run.path / "events" / "power.parquet"
    pa.parquet.write_table(pa.table({"t_s": [1.0]}), path)
    with pytest.raises(RunFolderError, match=r"power.parquet has columns \['t_s'\], expected"):
        mini_run.events("power")


def test_listing_survives_a_damaged_run(mini_run: RunFolder) -> None:
    broken = mini_run.path.with_name("broken")
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    listed = {run.path.name: run for run in list_runs(mini_run.path.parent)}
    assert listed["mini"].state == "complete"
    assert listed["broken"].state == "unreadable"
    assert "cannot be read as JSON" in listed["broken"].detail
    with pytest.raises(RunFolderError, match="is not a folder"):
        list_runs(mini_run.path / "nowhere")


def damage(run: RunFolder, name: str, text: str | None) -> None:
    """Write another text into a file of the run; none removes the file."""
    if text is None:
        (run.path / name).unlink()
    else:
        (run.path / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("events/downlink.parquet", None, "downlink.parquet is missing"),
        ("host_events/run.parquet", None, "run.parquet is missing"),
        ("scenario.yaml", "a: [1\nb: }", "scenario.yaml is not YAML"),
        ("scenario.yaml", "[]", "scenario.yaml holds no scenario"),
        ("scenario.yaml", "name: q", "autonomy.target_cloud_fraction is no number"),
        ("targets.geojson", "{}", "targets.geojson holds a target without a name"),
        ("targets.geojson", '{"features": [{"properties": null}]}', "a target without a name"),
        (
            "targets.geojson",
            '{"features": [{"properties": {"name": "po", "deadline_h": "soon"}}]}',
            "deadline_h of po is no number",
        ),
    ],
)
def test_metrics_of_a_damaged_run_are_refused_and_never_zero(
    mini_run: RunFolder, name: str, text: str | None, expected: str
) -> None:
    damage(mini_run, name, text)
    with pytest.raises(RunFolderError, match=expected):
        compute_metrics(RunFolder.open(mini_run.path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("events/power.parquet", None),
        ("scenario.yaml", "a: [1\nb: }"),
        ("scenario.yaml", "satellites: 3"),
        ("targets.geojson", '{"features": [3]}'),
    ],
)
def test_the_audit_of_a_damaged_run_reports_it(
    mini_run: RunFolder, name: str, text: str | None
) -> None:
    damage(mini_run, name, text)
    report = audit(RunFolder.open(mini_run.path))
    assert not report.passed
    assert next(check.name for check in report.checks if check.findings) == "integrity"
