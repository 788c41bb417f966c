"""The nephoscope command: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import simulator.campaign
from simulator.campaign import Campaign, RunRecord
from simulator.cli import app
from simulator.commands import missions
from simulator.commands.display import VALUE_WITHOUT_FEATURE
from simulator.comparison import Variant
from simulator.scenario.explain import json_schema
from simulator.telemetry.metrics import METRICS
from simulator.telemetry.run_folder import RunFolder

COMMANDS = ("run", "compare", "validate", "schema", "metrics", "audit", "runs", "dashboard",
            "scenarios", "devices", "stations", "profile-device", "models", "train",
            "scenes")  # fmt: skip

PATIENCE_S = 120.0
"""How long a busy machine may take to start a mission."""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "110"})


@pytest.fixture(scope="session")
def flown(untouched_mission: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One day flown by `nephoscope run`: the result, the folder of runs and the run folder."""
    runs = tmp_path_factory.mktemp("flown") / "runs"
    scenario = runs.with_name("day.yaml")
    text = (untouched_mission / "scenario.yaml").read_text(encoding="utf-8")
    text = text.replace("duration_h: 168", "duration_h: 24")
    text = text.replace("targets/", f"{untouched_mission}/targets/")
    text = text.replace("[samples]", f"[{untouched_mission}/samples]")
    scenario.write_text(text, encoding="utf-8")
    result = call("run", scenario, "--out", runs)
    assert result.exit_code == 0, result.output
    (folder,) = runs.iterdir()
    return SimpleNamespace(result=result, runs=runs, folder=folder, scenario=scenario)


def test_help_names_every_command_of_the_contract() -> None:
    result = call("--help")
    assert result.exit_code == 0
    shown = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("│ ")]
    assert [name for name in shown if name in COMMANDS] == list(COMMANDS)


def test_help_imports_nothing_that_takes_long() -> None:
    heavy = (
        "numpy",
        "onnx",
        "onnxruntime",
        "skyfield",
        "pandas",
        "pyarrow",
        "rasterio",
        "pydantic",
    )
    script = (
        "import sys; from typer.testing import CliRunner; from simulator.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_run_shows_every_metric_of_what_was_flown_then_where_to_go_on(
    flown: SimpleNamespace,
) -> None:
    lines = flown.result.stdout.splitlines()
    shown = [line.split()[0] for line in lines if line.split()]
    not_flown = {"glances", "periods_due", "pixels_released", "area_coverage_fraction"}
    named = [name for name in shown if name in METRICS]
    assert named == [name for name in METRICS if name not in VALUE_WITHOUT_FEATURE]
    assert not_flown < set(VALUE_WITHOUT_FEATURE) < set(METRICS)
    assert f"run folder  {flown.folder}" in lines
    assert f"go on with  nephoscope dashboard {flown.runs}" in lines
    assert RunFolder.open(flown.folder).complete


def test_json_is_all_that_stands_on_stdout(flown: SimpleNamespace, tmp_path: Path) -> None:
    result = call("run", flown.scenario, "--out", tmp_path, "--json", "--policy", "bent_pipe")
    document = json.loads(result.stdout)
    assert Path(document["run"]).parent == tmp_path
    assert set(document["metrics"]) == set(METRICS)
    again = json.loads(call("metrics", document["run"], "--json").stdout)
    assert again == document


def test_quiet_prints_the_run_folder_alone(flown: SimpleNamespace, tmp_path: Path) -> None:
    result = call("run", flown.scenario, "--out", tmp_path, "--quiet", "--seed", 8)
    (folder,) = tmp_path.iterdir()
    assert result.stdout == f"{folder}\n"
    assert result.stderr == ""
    assert RunFolder.open(folder).manifest.seed == 8


def test_metrics_of_a_run_are_those_it_showed(flown: SimpleNamespace) -> None:
    table = call("metrics", flown.folder).stdout
    assert table.strip()
    assert table.strip() in flown.result.stdout


def test_audit_passes_and_fails_when_a_file_is_edited(
    flown: SimpleNamespace, tmp_path: Path
) -> None:
    assert call("audit", flown.folder).exit_code == 0
    copy = tmp_path / flown.folder.name
    subprocess.run(["cp", "-r", str(flown.folder), str(copy)], check=True)
    (copy / "events" / "pass.parquet").write_bytes(
        (flown.folder / "events" / "eclipse.parquet").read_bytes()
    )
    result = call("audit", copy, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["passed"] is False


def test_runs_lists_what_is_there(flown: SimpleNamespace) -> None:
    (run,) = json.loads(call("runs", flown.runs, "--json").stdout)
    assert run["run"] == str(flown.folder)
    assert (run["state"], run["scenario"], run["seed"]) == ("complete", "example", 7)
    assert (run["policy"], run["models"]) == ("reschedule", ["threshold"])
    table = call("runs", flown.runs).stdout
    assert all(word in table for word in ("complete", "reschedule", "threshold"))


def test_an_empty_folder_of_runs_is_said_to_be_empty(tmp_path: Path) -> None:
    assert "No run folder" in call("runs", tmp_path).stdout


def test_a_campaign_is_named_where_its_runs_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "compare-example").mkdir()
    (tmp_path / "compare-example" / "campaign.json").write_text("{}")
    shown = call("runs", tmp_path).stdout.replace("\n", " ")
    assert "nephoscope runs" in shown
    assert "compare-example" in shown
    assert "No run folder" not in shown


@pytest.mark.parametrize("command", ["runs", "dashboard", "metrics", "audit"])
def test_a_folder_that_is_not_there_is_refused(command: str, tmp_path: Path) -> None:
    result = call(command, tmp_path / "none")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert str(tmp_path / "none") in result.stderr.replace("\n", "")
    assert "Traceback" not in result.stderr


def test_schema_prints_the_json_schema() -> None:
    document = json.loads(call("schema").stdout)
    assert document.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    assert document == json_schema()


def test_validate_says_what_the_mission_has(mission: Path) -> None:
    result = call("validate", mission / "scenario.yaml")
    assert result.exit_code == 0
    assert "1 satellite, 1 station, 4 targets, 2 scenes" in result.stdout


def test_options_given_as_paths_start_at_the_working_folder(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"model": "cards/mine.yaml", "link": "replay:one.trace", "device": "host"}
    payload = missions.load(str(mission / "scenario.yaml"), options).satellites[0].payload
    assert payload.model == str(tmp_path / "cards" / "mine.yaml")
    assert payload.link == f"replay:{tmp_path / 'one.trace'}"
    assert payload.device == "host"


def test_the_dashboard_is_served_to_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    monkeypatch.setattr(missions.os, "execv", lambda _, command: commands.append(command))
    assert call("dashboard", tmp_path, "--port", 8600).exit_code == 0
    (command,) = commands
    assert command[command.index("--server.address") + 1] == "127.0.0.1"
    assert command[command.index("--server.port") + 1] == "8600"
    assert command[-2:] == ["--", str(tmp_path)]


def test_a_bug_is_not_dressed_up_as_a_user_error(
    mission: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ValueError("from the depths of a library")

    monkeypatch.setattr(missions, "load", break_down)
    result = call("validate", mission / "scenario.yaml")
    assert isinstance(result.exception, ValueError)
    assert result.exit_code == 1


def test_a_mistyped_command_gets_the_nearest_one() -> None:
    result = call("validat")
    assert result.exit_code == 2
    assert "validate" in result.stderr


@pytest.mark.usefixtures("ctrl_c_heeded")
def test_ctrl_c_leaves_a_folder_that_says_so(flown: SimpleNamespace, tmp_path: Path) -> None:
    long_mission = tmp_path / "long.yaml"
    text = flown.scenario.read_text(encoding="utf-8")
    long_mission.write_text(text.replace("duration_h: 24", "duration_h: 2000"), encoding="utf-8")
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "simulator.cli", "run", str(long_mission), "--out", str(runs)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True,
    )  # fmt: skip
    _wait_for_events(runs, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    (folder,) = runs.iterdir()
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert f"Interrupted. What was simulated until then is in {folder}." in stderr
    assert "Traceback" not in stderr
    assert RunFolder.open(folder).manifest.state == "interrupted"
    (listed,) = json.loads(call("runs", runs, "--json").stdout)
    assert listed["state"] == "interrupted"
    assert f"{folder.name}: Interrupted by the user." in call("runs", runs).stdout
    assert call("metrics", folder).exit_code == 0
    audited = call("audit", folder)
    assert audited.exit_code == 1
    assert "audit incomplete: the run is interrupted at" in audited.stdout.replace("\n", " ")


def _wait_for_events(runs: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the run folder of a process has its first events."""
    deadline = time.monotonic() + PATIENCE_S
    while not list(runs.glob("*/events/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the flying of a campaign by made-up runs; gives the arguments it was called with."""
    calls: list[dict[str, Any]] = []

    def fly_nothing(scenario: str, folder: Path, **arguments: Any) -> Campaign:
        calls.append({"scenario": scenario, "folder": folder, **arguments})
        variants = tuple(Variant("threshold", "myriad2", p) for p in arguments["policies"])
        seeds = tuple(range(7, 7 + arguments["seeds"]))
        runs = tuple(
            RunRecord(variant, seed, f"r{seed}", {
                "targets_satisfied_fraction": 0.1 * index + 0.01 * (seed % 3),
                "station_utilisation": 0.9 if seed % 2 else 0.9 + 0.001 * index,
            })
            for index, variant in enumerate(variants)
            for seed in seeds
        )  # fmt: skip
        return Campaign("example", variants, seeds, runs)

    monkeypatch.setattr(simulator.campaign, "compare", fly_nothing)
    return calls


def test_compare_shows_what_each_step_adds(mission: Path, compared: list[dict[str, Any]]) -> None:
    result = call("compare", mission / "scenario.yaml", "--policies", "bent_pipe,prune,oracle",
                  "--seeds", 6, "--out", mission / "campaign")  # fmt: skip
    assert result.exit_code == 0, result.output
    (asked,) = compared
    assert asked["policies"] == ["bent_pipe", "prune", "oracle"]
    assert (asked["models"], asked["devices"], asked["seeds"]) == ([], [], 6)
    lines = [line.strip() for line in result.stdout.splitlines()]
    start = lines.index("targets_satisfied_fraction")
    rows = lines[start + 1 : start + 4]
    assert [row.split()[0] for row in rows] == ["bent_pipe", "prune", "oracle"]
    oracle = rows[-1] + " "
    assert "+0.2 " in oracle
    assert "+0.1 " in oracle


@pytest.mark.parametrize(("seeds", "warned"), [(1, False), (2, True), (9, True), (10, False)])
def test_compare_warns_of_intervals_of_few_seeds(
    mission: Path, compared: list[dict[str, Any]], seeds: int, warned: bool
) -> None:
    result = call("compare", mission / "scenario.yaml", "--policies", "bent_pipe,prune",
                  "--seeds", seeds, "--out", mission / "campaign")  # fmt: skip
    assert len(compared) == 1
    assert (f"{seeds} seeds are few" in result.stderr) == warned
    assert ("95 % interval" in result.stdout) == (seeds > 1)


def test_compare_of_no_name_at_all_is_refused(
    mission: Path, compared: list[dict[str, Any]]
) -> None:
    result = call("compare", mission / "scenario.yaml", "--models", " , ")
    assert result.exit_code == 2
    assert "--models is ' , ', which names nothing" in result.stderr
    assert not compared


def test_compare_says_in_how_many_seeds_a_metric_has_a_value(
    mission: Path, compared: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = simulator.campaign.compare

    def fly_partly(*words: Any, **arguments: Any) -> Campaign:
        found = whole(*words, **arguments)
        runs = [
            replace(run, metrics={**run.metrics, "station_utilisation": None})
            if run.variant.policy == "prune" and run.seed != 8
            else run
            for run in found.runs
        ]
        return replace(found, runs=tuple(runs))

    monkeypatch.setattr(simulator.campaign, "compare", fly_partly)
    words = ("compare", mission / "scenario.yaml", "--policies", "bent_pipe,prune", "--seeds", 12)
    shown = call(*words, "--out", mission / "campaign")
    assert shown.stdout.count("(1 of 12 seeds)") == 3
    assert "station_utilisation has a value in 1 of 12 seeds only" in " ".join(shown.stderr.split())
    document = json.loads(call(*words, "--out", mission / "campaign", "--json").stdout)
    mean = document["variants"][1]["means"]["station_utilisation"]
    assert (mean["n"], mean["low"], mean["high"]) == (1, None, None)
    assert len(compared) == 2


@pytest.mark.parametrize(
    ("finished", "said"), [(False, "goes on from there"), (True, "flies all of it anew")]
)
def test_compare_says_how_an_interrupted_comparison_goes_on(
    mission: Path, monkeypatch: pytest.MonkeyPatch, finished: bool, said: str
) -> None:
    def interrupt(*_: Any, **__: Any) -> Campaign:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulator.campaign, "compare", interrupt)
    folder = mission / "campaign"
    folder.mkdir()
    if finished:
        (folder / "campaign.json").write_text("{}")
    shown = call("compare", mission / "scenario.yaml", "--policies", "prune", "--out", folder)
    assert shown.exit_code == 130
    assert said in " ".join(shown.stderr.split())


def test_compare_writes_a_thousand_out(
    mission: Path, compared: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = simulator.campaign.compare

    def fly_far(*words: Any, **arguments: Any) -> Campaign:
        found = made_up(*words, **arguments)
        runs = [replace(run, metrics={"clear_km2_delivered": 999.7}) for run in found.runs]
        return replace(found, runs=tuple(runs))

    monkeypatch.setattr(simulator.campaign, "compare", fly_far)
    shown = call("compare", mission / "scenario.yaml", "--policies", "prune", "--seeds", 1,
                 "--out", mission / "campaign")  # fmt: skip
    assert "1,000" in shown.stdout
    assert "e+" not in shown.stdout
    assert len(compared) == 1


def test_compare_without_names_compares_the_six_policies(
    mission: Path, compared: list[dict[str, Any]]
) -> None:
    result = call("compare", mission / "scenario.yaml", "--json", "--seeds", 2)
    document = json.loads(result.stdout)
    policies = ["bent_pipe", "discard", "prune", "prioritise", "reschedule", "oracle"]
    assert compared[0]["policies"] == policies
    assert compared[0]["folder"] == Path("runs/compare-example")
    assert [variant["policy"] for variant in document["variants"]] == policies
    gain = document["variants"][2]["minus_first"]["targets_satisfied_fraction"]
    assert gain["mean"] == pytest.approx(0.2)


def test_compare_refuses_a_misspelt_name_before_it_flies(
    mission: Path, compared: list[dict[str, Any]]
) -> None:
    result = call("compare", mission / "scenario.yaml", "--models", "threshold,treshold")
    assert result.exit_code == 2
    assert "did you mean 'threshold'" in result.stderr
    assert compared == []


@pytest.mark.parametrize("option", ["--models", "--devices", "--policies"])
def test_compare_blames_the_option_that_it_has(
    mission: Path, compared: list[dict[str, Any]], option: str
) -> None:
    result = call("compare", mission / "scenario.yaml", option, "nosuch")
    assert result.exit_code == 2
    assert f"option {option}" in [line.strip() for line in result.stderr.splitlines()]
    assert compared == []


def test_what_the_file_system_refuses_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    result = call("run", "first_light", "--out", file / "runs")
    assert result.exit_code == 2
    assert f"{file}" in "".join(result.output.split("\n"))
    assert "Traceback" not in result.output
