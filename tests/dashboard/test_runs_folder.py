"""What is listed, and what is refused: links out, broken manifests, names that lead elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dashboard.event_store import EventStore
from dashboard.runs_folder import find_folders, sibling_with_policy, stored_metrics
from simulator.telemetry.manifest import RunFolderError


def edit_manifest(run: Path, **changes: object) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def only_run(root: Path) -> Path:
    return next(path for path in root.iterdir() if path.is_dir())


def test_complete_run_is_listed_with_its_metrics(runs: Path) -> None:
    (run,) = find_folders(runs).runs
    assert run.state == "complete"
    assert run.run_id == only_run(runs).name
    assert stored_metrics(run)["captures"] > 0


def test_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert find_folders(tmp_path / "none").runs == ()


def test_root_may_be_a_single_run(runs: Path) -> None:
    folder = only_run(runs)
    assert [run.path for run in find_folders(folder).runs] == [folder]


@pytest.mark.parametrize(
    "name", ["..", "../runs", "/etc", "a/../../b", ".dashboard", "", "%2e%2e", "x\x00y"]
)
def test_names_are_looked_up_never_joined(runs: Path, name: str) -> None:
    assert find_folders(runs).run(name) is None


def test_link_out_of_the_folder_is_not_opened(runs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    only_run(runs).rename(outside)
    (runs / "linked").symlink_to(outside)
    (run,) = find_folders(runs).runs
    assert run.state == "unreadable"
    assert "link" in run.detail
    assert run.manifest is None


def test_unknown_schema_version_says_so(runs: Path) -> None:
    edit_manifest(only_run(runs), schema_version=99)
    (run,) = find_folders(runs).runs
    assert run.state == "unreadable"
    assert "schema_version is 99" in run.detail


def test_manifest_that_is_no_json(runs: Path) -> None:
    (only_run(runs) / "manifest.json").write_text('{"name": ')
    (run,) = find_folders(runs).runs
    assert run.state == "unreadable"
    assert "JSON" in run.detail


def test_half_written_run_says_that_its_process_is_gone(runs: Path) -> None:
    edit_manifest(only_run(runs), status="running", pid=2**22 + 1, progress_s=3600.0)
    (run,) = find_folders(runs).runs
    assert run.state == "incomplete"
    assert "process is gone" in run.detail
    assert 0 < run.progress < 1
    assert stored_metrics(run) == {}


def test_runs_below_a_folder_are_a_campaign_and_its_neighbours_are_not(runs: Path) -> None:
    single = only_run(runs)
    (runs / "alpha").mkdir()
    single.rename(runs / "alpha" / "member")
    found = find_folders(runs)
    assert list(found.campaigns) == ["alpha"]
    assert [(run.run_id, run.campaign) for run in found.runs] == [("alpha/member", "alpha")]


def test_reference_must_be_the_same_mission(runs: Path) -> None:
    found = find_folders(runs)
    assert sibling_with_policy(found, found.runs[0], "reschedule") is found.runs[0]
    assert sibling_with_policy(found, found.runs[0], "oracle") is None


def test_corrupt_parquet_is_named(runs: Path) -> None:
    path = only_run(runs) / "events" / "power.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=r"power\.parquet cannot be read as Parquet"):
        EventStore(only_run(runs)).rows("SELECT * FROM power")


def test_missing_parquet_of_a_complete_run_is_named(runs: Path) -> None:
    (only_run(runs) / "events" / "power.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"power\.parquet is missing"):
        EventStore(only_run(runs)).rows("SELECT * FROM power")


def test_linked_parquet_is_not_opened(runs: Path, tmp_path: Path) -> None:
    path = only_run(runs) / "events" / "power.parquet"
    path.rename(tmp_path / "power.parquet")
    path.symlink_to(tmp_path / "power.parquet")
    with pytest.raises(RunFolderError, match="link that leads out"):
        EventStore(only_run(runs)).rows("SELECT * FROM power")


@pytest.mark.parametrize("text", ["{}", '{"features": [{"properties": {}}]}', "[]"])
def test_targets_of_another_shape_are_named(runs: Path, text: str) -> None:
    (only_run(runs) / "targets.geojson").write_text(text)
    with pytest.raises(RunFolderError, match=r"targets\.geojson"):
        EventStore(only_run(runs)).rows("SELECT * FROM target")


def test_parquet_that_the_run_did_not_write_is_not_trusted(runs: Path) -> None:
    path = only_run(runs) / "events" / "power.parquet"
    pq.write_table(pq.read_table(path).slice(0, 5), path)
    with pytest.raises(RunFolderError, match="not the file that the run wrote"):
        EventStore(only_run(runs)).rows("SELECT t_s FROM power")


def test_type_younger_than_the_run_is_empty(runs: Path) -> None:
    run = only_run(runs)
    files = json.loads((run / "manifest.json").read_text())["files"]
    (run / "events" / "fault.parquet").unlink()
    edit_manifest(run, files={k: v for k, v in files.items() if k != "events/fault.parquet"})
    assert EventStore(run).rows("SELECT * FROM fault").empty


def test_folder_whose_name_looks_like_a_pattern_is_read(runs: Path) -> None:
    run = only_run(runs).rename(runs / "what[a]*name'")
    events = EventStore(run).rows("SELECT event_row FROM capture ORDER BY t_s")
    assert list(events["event_row"]) == list(range(len(events)))
    assert len(events) > 0


def test_growing_run_is_read_on(runs: Path) -> None:
    """Parts that appear are added, and rows are numbered in the order of time, not of writing."""
    run = only_run(runs)
    table = pq.read_table(run / "events" / "capture.parquet")
    (run / "events" / "capture.parquet").unlink()
    edit_manifest(run, status="running", files={})
    parts = run / "events" / "capture"
    parts.mkdir()
    pq.write_table(table.slice(2, 3), parts / "part-00001.parquet")
    store = EventStore(run)
    assert store.value("SELECT count(*) FROM capture") == 3
    pq.write_table(table.slice(0, 2), parts / "part-00002.parquet")
    assert store.value("SELECT count(*) FROM capture") == 3
    store.refresh()
    rows = store.rows("SELECT capture FROM capture ORDER BY event_row")
    assert list(rows["capture"]) == table["capture"].slice(0, 5).to_pylist()
