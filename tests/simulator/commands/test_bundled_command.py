"""`nephoscope scenarios`, `devices`, `stations`: what ships, as a user and a program read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from payload.device import DEVICES_DIR, list_devices
from simulator.cli import app
from simulator.ground.stations import catalogue
from simulator.scenario.checks import check_scenario
from simulator.scenario.loading import bundled_scenarios, load_scenario, placed_text


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("scenarios", list(bundled_scenarios())),
        ("devices", [device.name for device in list_devices()]),
        ("stations", list(catalogue())),
    ],
)
def test_a_list_names_all_that_ships_once(command: str, names: list[str]) -> None:
    shown = call(command)
    assert shown.exit_code == 0, shown.output
    first_words = [line.split()[0] for line in shown.stdout.splitlines() if line.strip()]
    assert [word for word in first_words if word in names] == names
    listed = json.loads(call(command, "--json").stdout)
    assert [item["name"] for item in listed] == names


def test_a_device_is_shown_with_the_source_of_each_figure() -> None:
    shown = call("devices", "myriad2").stdout
    assert "1.8 W: CloudScout on Phi-Sat-1 (memory)" in shown
    assert json.loads(call("devices", "myriad2", "--json").stdout)["active_power_w"] == 1.8


def test_brackets_in_a_profile_are_shown_as_they_stand(tmp_path: Path) -> None:
    text = (DEVICES_DIR / "myriad2.yaml").read_text(encoding="utf-8")
    text = text.replace("name: myriad2", "name: mine[v2]", 1)
    text = text.replace("- field: active_power_w", "- field: active_power_w [/peak]", 1)
    (tmp_path / "mine[v2].yaml").write_text(text, encoding="utf-8")
    shown = call("devices", str(tmp_path / "mine[v2].yaml"))
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("mine[v2]")
    assert "active_power_w [/peak]" in shown.stdout


@pytest.mark.parametrize("command", ["scenarios", "devices"])
def test_a_misspelt_name_is_answered_with_the_nearest(command: str) -> None:
    known = {"scenarios": "first_light", "devices": "myriad2"}[command]
    shown = call(command, known[:-1])
    assert shown.exit_code == 2
    assert f"did you mean {known}" in shown.output.replace("'", "")


@pytest.mark.parametrize("name", bundled_scenarios())
def test_a_printed_scenario_is_the_same_mission_in_any_folder(name: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    shown = call("scenarios", name)
    own.write_text(shown.stdout, encoding="utf-8")
    original, printed = load_scenario(name), load_scenario(own)
    check_scenario(printed)
    assert printed.resolve(printed.targets) == original.resolve(original.targets)
    assert printed.scene_folders() == original.scene_folders()
    away = {"targets": True, "scenes": True, "satellites": {"__all__": {"orbit"}}}
    assert printed.model_dump(exclude=away) == original.model_dump(exclude=away)
    assert [line for line in shown.stdout.splitlines() if line.startswith("#")] == [
        line for line in bundled_scenarios()[name].read_text("utf-8").splitlines()
        if line.startswith("#")
    ]  # fmt: skip


def test_only_files_that_are_there_get_whole_paths(tmp_path: Path) -> None:
    (tmp_path / "t.geojson").touch()
    (tmp_path / "mine").mkdir()
    file = tmp_path / "a.yaml"
    file.write_text(
        "name: mine  # mine\ntargets: t.geojson # t.geojson\n"
        "scenes: {collections: [mine, {path: $OTHER/mine, optional: true}, 'mine']}\n",
        encoding="utf-8",
    )
    placed = placed_text(file)
    assert placed == (
        f'name: mine  # mine\ntargets: "{tmp_path}/t.geojson" # t.geojson\n'
        f'scenes: {{collections: ["{tmp_path}/mine", {{path: $OTHER/mine, optional: true}}, '
        f'"{tmp_path}/mine"]}}\n'
    )
