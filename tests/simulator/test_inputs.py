"""The files a scenario names: their content decides what a run is called, their place does not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from payload.card import MODELS_DIR
from payload.device import DEVICES_DIR
from payload.link.trace import TRACE_FILE
from simulator.inputs import input_hashes
from simulator.mission import run_mission
from simulator.scenario import Scenario, load_scenario
from simulator.telemetry.manifest import read_manifest, run_folder_name

TLE = (
    "1 99001U 24001A   24153.00000000  .00000000  00000-0  00000+0 0    03\n"
    "2 99001  97.4640  47.4710 0000000   0.0000   0.1234 15.17621731    08\n"
)
"""One element set. A title line may stand before it, by which a test tells two files apart."""


@pytest.fixture
def named_files(mission: Path) -> Path:
    """A mission whose every input is a file of the user's own."""
    (mission / "cover.csv").write_text("target,t_h,cover\nalps,0,0.5\n")
    (mission / "orbit.tle").write_text("ONE\n" + TLE)
    for suffix in (".yaml", ".onnx"):
        shutil.copyfile(MODELS_DIR / f"threshold{suffix}", mission / f"threshold{suffix}")
    shutil.copyfile(DEVICES_DIR / "myriad2.yaml", mission / "myriad2.yaml")
    (mission / "trace").mkdir()
    (mission / "trace" / TRACE_FILE).write_text("{}\n")
    return mission


def scenario_of(folder: Path) -> Scenario:
    return load_scenario(
        folder / "scenario.yaml",
        {
            "weather": {"model": "series", "series": "cover.csv"},
            "ground.screening": "threshold.yaml",
            "satellites.0.orbit": {"tle": "orbit.tle"},
            "satellites.0.payload.model": "threshold.yaml",
            "satellites.0.payload.device": "myriad2.yaml",
            "satellites.0.payload.link": "replay:trace",
        },
    )


FIELD_OF_FILE: dict[str, tuple[str, Callable[[str], str]]] = {
    "targets/world_200.geojson": ("targets", lambda text: text.replace("11.2", "11.3")),
    "cover.csv": ("weather.series", lambda text: text.replace("0.5", "0.6")),
    "orbit.tle": ("satellites[0].orbit.tle", lambda text: text.replace("ONE", "TWO")),
    "threshold.yaml": ("satellites[0].payload.model", lambda text: text + "# other\n"),
    "myriad2.yaml": ("satellites[0].payload.device", lambda text: text + "# other\n"),
    f"trace/{TRACE_FILE}": ("satellites[0].payload.link", lambda text: text + "{}\n"),
}


@pytest.mark.parametrize("file", FIELD_OF_FILE)
def test_the_content_of_every_named_file_counts(named_files: Path, file: str) -> None:
    field, edit = FIELD_OF_FILE[file]
    before = input_hashes(scenario_of(named_files))
    path = named_files / file
    edited = edit(path.read_text())
    assert edited != path.read_text()
    path.write_text(edited)
    after = input_hashes(scenario_of(named_files))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {field} | ({"ground.screening"} if file == "threshold.yaml" else set())


def test_a_file_that_happens_to_bear_a_bundled_name_is_not_what_is_flown(mission: Path) -> None:
    bundled = {"satellites.0.payload.model": "threshold", "satellites.0.payload.device": "myriad2"}
    before = input_hashes(load_scenario(mission / "scenario.yaml", bundled))
    for name in bundled.values():
        (mission / name).write_text("notes of mine\n")
    assert input_hashes(load_scenario(mission / "scenario.yaml", bundled)) == before


def test_where_the_files_lie_does_not_count(named_files: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(named_files, tmp_path / "elsewhere" / "mission"))
    assert input_hashes(scenario_of(moved)) == input_hashes(scenario_of(named_files))


def test_an_omm_counts_and_bundled_names_are_files_too(mission: Path) -> None:
    (mission / "orbit.json").write_text("{}")
    scenario = load_scenario(
        mission / "scenario.yaml", {"satellites.0.orbit": {"omm": "orbit.json"}}
    )
    assert set(input_hashes(scenario)) == {
        "targets",
        "satellites[0].orbit.omm",
        "satellites[0].payload.model",
        "satellites[0].payload.device",
    }


def test_a_run_of_other_targets_leaves_the_earlier_run_alone(mission: Path) -> None:
    path = mission / "targets" / "world_200.geojson"
    scenario = load_scenario(mission / "scenario.yaml", {"duration_h": 1})
    first = run_mission(scenario, mission / "runs")
    again = run_mission(scenario, mission / "runs")
    path.write_text(path.read_text().replace("11.2", "11.3"))
    other = run_mission(scenario, mission / "runs")
    assert first == again != other
    assert sorted((mission / "runs").iterdir()) == sorted([first, other])
    manifest = read_manifest(first)
    assert manifest.inputs == {**input_hashes(scenario), "targets": manifest.inputs["targets"]}
    assert manifest.inputs["targets"] != read_manifest(other).inputs["targets"]
    assert run_folder_name(manifest) == first.name
    assert run_folder_name(dataclasses.replace(manifest, inputs={})) != first.name
