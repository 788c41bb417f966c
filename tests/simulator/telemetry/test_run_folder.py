"""A run folder is readable at every moment of its life and says what it is."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.frame import content_sha256
from simulator.telemetry import event_log
from simulator.telemetry.events import EVENT_TYPES, Eclipse, Plan
from simulator.telemetry.host_events import HOST_EVENT_TYPES
from simulator.telemetry.manifest import Manifest, RunFolderError, file_sha256, run_folder_name
from simulator.telemetry.run_folder import RunFolder, RunWriter
from simulator.telemetry.runs import list_runs

Fill = Callable[[RunWriter], None]


def eclipse(t_s: float, end_s: float = 1.0) -> Eclipse:
    return Eclipse(t_s=t_s, satellite="s1", start_s=t_s, end_s=end_s, kind="umbra")


def write_eclipses(folder: Path, manifest: Manifest, times_s: list[float]) -> RunFolder:
    with RunWriter(folder, manifest=manifest) as writer:
        for index, t_s in enumerate(times_s):
            writer.write(eclipse(t_s, end_s=float(index)))
        writer.complete({})
    return RunFolder.open(folder)


def test_complete_run_has_one_file_per_type(mini_run: RunFolder) -> None:
    assert mini_run.manifest.status == "complete"
    for root, types in (("events", EVENT_TYPES), ("host_events", HOST_EVENT_TYPES)):
        found = sorted(path.name for path in (mini_run.path / root).iterdir())
        assert found == sorted(f"{name}.parquet" for name in types)
    assert mini_run.events("capture")["capture"].to_pylist() == ["c1", "c2", "c3", "c4"]
    for name, record in mini_run.manifest.files.items():
        assert file_sha256(mini_run.path / name) == record.sha256
    assert mini_run.manifest.files["events/capture.parquet"].rows == 4
    assert not list(mini_run.path.rglob("*.tmp"))


def test_a_type_without_rows_has_its_file_too(
    empty_run: Callable[[Path], RunFolder], tmp_path: Path
) -> None:
    run = empty_run(tmp_path / "empty")
    for name in EVENT_TYPES:
        assert (run.path / "events" / f"{name}.parquet").exists()
        assert run.events(name).num_rows == 0


def test_events_are_byte_identical_between_runs(
    build_run_once: Callable[[Path], RunFolder], tmp_path: Path
) -> None:
    one, two = (build_run_once(tmp_path / name).manifest.files for name in ("one", "two"))
    events = [name for name in one if name.startswith("events/")]
    assert len(events) == len(EVENT_TYPES)
    assert {n: one[n].sha256 for n in events} == {n: two[n].sha256 for n in events}


@settings(max_examples=15, deadline=None)
@given(
    times_s=st.lists(st.integers(0, 30).map(float), max_size=40),
    flush_rows=st.integers(1, 12),
    group_rows=st.integers(1, 9),
)
def test_sealing_sorts_stably_whatever_the_parts(
    tmp_path_factory: pytest.TempPathFactory,
    manifest_once: Manifest,
    times_s: list[float],
    flush_rows: int,
    group_rows: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_log, "FLUSH_ROWS", flush_rows)
        patch.setattr(event_log, "ROW_GROUP_ROWS", group_rows)
        run = write_eclipses(tmp_path_factory.mktemp("r") / "run", manifest_once, times_s)
        rows = run.events("eclipse")
    expected = sorted(enumerate(times_s), key=lambda pair: pair[1])
    assert rows["t_s"].to_pylist() == [t for _, t in expected]
    assert rows["end_s"].to_pylist() == [float(index) for index, _ in expected]


def test_a_reader_sees_flushed_parts_while_the_run_lasts(
    tmp_path: Path, manifest: Manifest, fill_run: Fill
) -> None:
    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        fill_run(writer)
        writer.flush()
        run = RunFolder.open(tmp_path / "run")
        assert (run.manifest.state, run.complete) == ("running", False)
        assert run.events("capture").num_rows == 4
        assert run.host_events("run").num_rows == 0
        assert run.horizon_s == run.events("power")["t_s"].to_pylist()[-1]
        open_tables = {name: run.events(name) for name in EVENT_TYPES}
        writer.complete({})
    sealed = RunFolder.open(tmp_path / "run")
    for name, table in open_tables.items():
        assert sealed.events(name).equals(table), name


def test_buffer_is_bounded_by_row_count(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "FLUSH_ROWS", 10)
    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        for index in range(25):
            writer.write(eclipse(float(index)))
        assert RunFolder.open(tmp_path / "run").events("eclipse").num_rows == 20
        writer.complete({})


def test_ctrl_c_keeps_everything_and_says_so(
    tmp_path: Path, manifest: Manifest, fill_run: Fill
) -> None:
    def interrupted_mission() -> None:
        with RunWriter(tmp_path / "run", manifest=manifest) as writer:
            fill_run(writer)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_mission()
    run = RunFolder.open(tmp_path / "run")
    assert run.manifest.state == "interrupted"
    assert run.events("capture").num_rows == 4
    (summary,) = list_runs(tmp_path)
    assert summary.state == "interrupted"
    assert "6.0 of 6.0 h" in summary.detail


def test_an_interrupted_flush_neither_loses_nor_repeats_rows(
    tmp_path: Path, manifest: Manifest, fill_run: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = event_log._write, []

    def interrupted_after_the_third(table: pa.Table, path: Path) -> None:
        write(table, path)
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        fill_run(writer)
        monkeypatch.setattr(event_log, "_write", interrupted_after_the_third)
        with pytest.raises(KeyboardInterrupt):
            writer.flush()
        writer.interrupt("Interrupted by the user.")
    run = RunFolder.open(tmp_path / "run")
    for name in ("capture", "inference", "decision", "product"):
        names = run.events(name)["capture"].to_pylist()
        assert len(names) == len(set(names)) == (3 if name == "product" else 4)


def test_an_exception_marks_the_run_failed(tmp_path: Path, manifest: Manifest) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        RunWriter(tmp_path / "run", manifest=manifest),
    ):
        raise ZeroDivisionError("of a test")
    assert RunFolder.open(tmp_path / "run").manifest.reason == "ZeroDivisionError: of a test"


def test_leaving_without_completing_is_a_failure(tmp_path: Path, manifest: Manifest) -> None:
    with RunWriter(tmp_path / "run", manifest=manifest):
        pass
    assert RunFolder.open(tmp_path / "run").manifest.state == "failed"


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from simulator.telemetry import event_log
from simulator.telemetry.events import Eclipse
from simulator.telemetry.manifest import new_manifest
from simulator.telemetry.run_folder import RunWriter

event_log.FLUSH_ROWS = 10
manifest = new_manifest(name="killed", seed=1, epoch="2024-06-01T00:00:00Z", duration_s=3600.0,
                        scenario_yaml="", models={}, scenes={})
with RunWriter(Path(sys.argv[1]), manifest=manifest) as writer:
    for index in range(25):
        writer.write(Eclipse(t_s=60.0 * index, satellite="s", start_s=0.0, end_s=1.0, kind="umbra"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_leaves_a_readable_folder(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_RUN, tmp_path / "run"], check=False)
    assert done.returncode == -signal.SIGKILL
    run = RunFolder.open(tmp_path / "run")
    assert run.events("eclipse").num_rows == 20
    assert run.horizon_s == 19 * 60.0
    (summary,) = list_runs(tmp_path)
    assert summary.state == "incomplete"
    assert "process is gone" in summary.detail
    assert "0.3 of 1.0 h" in summary.detail


def test_a_pid_used_again_is_not_the_writer(manifest: Manifest) -> None:
    assert manifest.writer_alive
    recycled = dataclasses.replace(manifest, process_started_s=manifest.process_started_s - 60)
    elsewhere = dataclasses.replace(manifest, host="another-machine")
    assert (recycled.state, elsewhere.state) == ("incomplete", "incomplete")


FULL_DISK_RUN = """
import resource, signal, sys
from pathlib import Path
from simulator.telemetry import event_log
from simulator.telemetry.events import Eclipse
from simulator.telemetry.manifest import RunFolderError, new_manifest
from simulator.telemetry.run_folder import RunWriter

event_log.FLUSH_ROWS = 10
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
manifest = new_manifest(name="full", seed=1, epoch="2024-06-01T00:00:00Z", duration_s=3600.0,
                        scenario_yaml="", models={}, scenes={})
try:
    with RunWriter(Path(sys.argv[1]), manifest=manifest) as writer:
        for index in range(25):
            if index == 15:
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
            writer.write(
                Eclipse(t_s=60.0 * index, satellite="s", start_s=0.0, end_s=1.0, kind="umbra"))
except RunFolderError as error:
    print(error)
    sys.exit(2)
"""


def test_a_disk_that_takes_no_more_keeps_what_was_written(tmp_path: Path) -> None:
    """A limit on file size makes the operating system refuse the bytes, as a full disk does."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK_RUN, tmp_path / "run"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stdout
    assert "--out" in done.stdout
    run = RunFolder.open(tmp_path / "run")
    assert run.manifest.state == "incomplete"
    assert run.events("eclipse").num_rows == 10
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 64


def test_full_disk_names_the_remedy(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(28, os.strerror(28))

    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        writer.write(eclipse(1.0))
        monkeypatch.setattr(event_log.pq, "write_table", refuse)
        with pytest.raises(RunFolderError, match=r"No space left on device\. Free space"):
            writer.flush()


def test_a_second_run_supersedes_the_first_only_when_complete(
    tmp_path: Path, manifest: Manifest
) -> None:
    folder, previous = tmp_path / "run", tmp_path / "run.previous"
    write_eclipses(folder, manifest, [1.0])
    with RunWriter(folder, manifest=manifest) as writer:
        assert RunFolder.open(previous).events("eclipse").num_rows == 1
        writer.interrupt("of a test")
    assert RunFolder.open(previous).complete
    write_eclipses(folder, manifest, [1.0, 2.0])
    assert RunFolder.open(folder).events("eclipse").num_rows == 2
    assert not previous.exists()


def test_a_running_run_is_not_overwritten(tmp_path: Path, manifest: Manifest) -> None:
    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        with pytest.raises(RunFolderError, match=f"being written by process {os.getpid()}"):
            RunWriter(tmp_path / "run", manifest=manifest)
        writer.complete({})


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="nothing in it is overwritten"):
        RunWriter(tmp_path, manifest=manifest)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_name_tells_runs_apart_by_what_decides_them(manifest: Manifest) -> None:
    name = run_folder_name(manifest)
    assert name.startswith("mini-")
    assert run_folder_name(dataclasses.replace(manifest, created="later", pid=1)) == name
    for change in (
        {"seed": 8},
        {"models": {"unet": "f" * 64}},
        {"scenario_sha256": "0"},
        {"inputs": {"targets": "f" * 64}},
    ):
        assert run_folder_name(dataclasses.replace(manifest, **change)) != name


def test_images_are_kept_once_and_pixel_for_pixel(mini_run: RunFolder) -> None:
    captures = mini_run.events("capture").to_pylist()
    inferences = mini_run.events("inference").to_pylist()
    for row in captures:
        truth = mini_run.truth(row["truth_sha256"])
        assert content_sha256(truth) == row["truth_sha256"]
        assert mini_run.rgb_path(row["frame_sha256"]).exists()
    for row in inferences:
        assert content_sha256(mini_run.mask(row["mask_sha256"])) == row["mask_sha256"]
    pictures = [path.name for path in (mini_run.path / "captures").iterdir()]
    assert len([name for name in pictures if name.startswith("rgb-")]) == 3
    assert np.unique(mini_run.truth(captures[3]["truth_sha256"])).tolist() == [0, 255]


def test_nothing_is_read_outside_the_folder(mini_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a SHA-256"):
        mini_run.truth("../../secret")
    outside = tmp_path / "outside.yaml"
    outside.write_text("secret: yes")
    (mini_run.path / "scenario.yaml").unlink()
    (mini_run.path / "scenario.yaml").symlink_to(outside)
    with pytest.raises(RunFolderError, match="leads out of the run folder"):
        _ = mini_run.scenario_yaml


def test_a_value_its_column_cannot_hold_names_event_and_column(
    tmp_path: Path, manifest: Manifest
) -> None:
    plan = Plan(
        t_s=0.0,
        satellite="s1",
        change="add",
        trigger="start",
        target="A",
        capture_s="soon",  # type: ignore[arg-type]
        expected_value=0.0,
        forecast_cover=0.0,
        planned_captures=0,
        reason="",
    )
    with RunWriter(tmp_path / "run", manifest=manifest) as writer:
        writer.write(plan)
        with pytest.raises(RunFolderError, match="event plan: column capture_s"):
            writer.flush()


def test_metrics_are_stored_with_a_complete_run(mini_run: RunFolder) -> None:
    stored = json.loads((mini_run.path / "metrics.json").read_text())
    assert stored == mini_run.metrics()
    assert stored["captures"] == 4
