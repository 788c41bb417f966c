"""A run flown again from the dashboard is the same mission: its own files, found as a sibling."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from dashboard import jobs
from dashboard.runs_folder import FoundRun, find_folders, sibling_with_policy
from dashboard.scenario_text import bundled_folder, resolved_for_rerun, to_fly
from simulator.mission import run_mission
from simulator.scenario import ScenarioError, bundled_scenarios, load_scenario
from simulator.telemetry.manifest import run_folder_name

TARGETS = "targets/world_200.geojson"
"""A user's file of the same relative name as a bundled one."""


@pytest.fixture(scope="module")
def own_mission(tmp_path_factory: pytest.TempPathFactory, short_scenario: str) -> Path:
    """A folder with a scenario of a user's own, ``mission.yaml``, and its run in ``runs``."""
    place = tmp_path_factory.mktemp("own")
    values = yaml.safe_load(short_scenario)
    values |= {"name": "own", "duration_h": 2, "targets": TARGETS}
    values["scenes"]["collections"] = ["samples"]
    shutil.copytree(bundled_folder() / "samples", place / "samples")
    targets = json.loads((bundled_folder() / TARGETS).read_text(encoding="utf-8"))
    targets["features"] = targets["features"][::4]
    (place / TARGETS).parent.mkdir()
    (place / TARGETS).write_text(json.dumps(targets), encoding="utf-8")
    (place / "mission.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    run_mission(load_scenario(place / "mission.yaml"), place / "runs")
    return place


@pytest.fixture
def own_runs(own_mission: Path, tmp_path: Path) -> Path:
    """A copy of the folder of runs, to be changed."""
    return Path(shutil.copytree(own_mission / "runs", tmp_path / "runs"))


def only_run(root: Path) -> FoundRun:
    return find_folders(root).runs[0]


def forget_the_folder(run: FoundRun) -> None:
    """As a run written before folders were recorded."""
    path = run.path / "manifest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["scenario_folder"]
    path.write_text(json.dumps(document), encoding="utf-8")


def test_files_of_a_run_are_looked_for_beside_its_own_scenario(
    own_mission: Path, own_runs: Path
) -> None:
    values = yaml.safe_load(resolved_for_rerun(only_run(own_runs)))
    assert values["targets"] == str(own_mission / TARGETS)
    assert values["scenes"]["collections"][0]["path"] == str(own_mission / "samples")


def test_reference_flown_from_a_run_is_its_sibling(own_runs: Path, tmp_path: Path) -> None:
    run = only_run(own_runs)
    text = tmp_path / "job" / "scenario.yaml"
    text.parent.mkdir()
    text.write_text(resolved_for_rerun(run), encoding="utf-8")
    flown = run_mission(load_scenario(text, {"autonomy.policy": "bent_pipe"}), own_runs)
    sibling = sibling_with_policy(find_folders(own_runs), run, "bent_pipe")
    assert sibling is not None
    assert sibling.path == flown
    assert sibling_with_policy(find_folders(own_runs), sibling, "reschedule") is not None


def test_another_device_is_no_sibling(own_runs: Path, own_mission: Path) -> None:
    changes = {"satellites.*.payload.device": "raspberry-pi-4", "autonomy.policy": "bent_pipe"}
    run_mission(load_scenario(own_mission / "mission.yaml", changes), own_runs)
    found = find_folders(own_runs)
    run = next(run for run in found.runs if sibling_with_policy(found, run, "reschedule") is run)
    assert sibling_with_policy(found, run, "bent_pipe") is None


def test_file_of_the_same_name_is_never_flown_instead(own_runs: Path) -> None:
    forget_the_folder(only_run(own_runs))
    with pytest.raises(ScenarioError, match="not the file that own-") as caught:
        resolved_for_rerun(only_run(own_runs))
    assert [problem.field_path for problem in caught.value.problems] == ["targets"]


def test_run_without_a_folder_whose_files_are_the_same_is_flown(runs: Path) -> None:
    forget_the_folder(only_run(runs))
    assert yaml.safe_load(resolved_for_rerun(only_run(runs)))["name"] == "short"


def test_page_says_why_references_cannot_be_flown(
    open_page: Callable[..., AppTest], own_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_the_folder(only_run(own_runs))
    monkeypatch.setattr(jobs, "start", lambda *_, **__: pytest.fail("nothing may be started"))
    app = open_page(own_runs, "downlink")
    next(button for button in app.button if button.label == "Fly the references").click().run()
    assert not app.exception
    assert any("is not the file" in error.value for error in app.error)


def test_place_of_a_scenario_does_not_name_its_run(own_runs: Path) -> None:
    manifest = only_run(own_runs).manifest
    assert manifest is not None
    assert manifest.scenario_folder
    assert run_folder_name(replace(manifest, scenario_folder="")) == run_folder_name(manifest)


@pytest.mark.parametrize("name", bundled_scenarios())
def test_bundled_scenario_is_flown_without_the_optional_scenes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEPHOSCOPE_SCENES", raising=False)
    path = tmp_path / "moved.yaml"
    text = bundled_scenarios()[name].read_text(encoding="utf-8")
    path.write_text(to_fly(text, bundled_folder()), encoding="utf-8")
    original, moved = load_scenario(name), load_scenario(path)
    assert moved.scene_folders() == original.scene_folders()
    assert moved.missing_collections() == original.missing_collections()


def test_missing_collection_is_not_found_beside_the_bundled_scenarios(
    short_scenario: str, tmp_path: Path
) -> None:
    values = yaml.safe_load(short_scenario)
    values["scenes"]["collections"].append({"path": "samples", "optional": True})
    text = to_fly(yaml.safe_dump(values, sort_keys=False), tmp_path)
    *_, missing = yaml.safe_load(text)["scenes"]["collections"]
    assert missing == {"path": str(tmp_path / "samples"), "optional": True}


def test_variable_that_is_not_set_is_a_sentence_on_the_page(
    open_page: Callable[..., AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_TARGETS", raising=False)
    app = open_page(tmp_path / "runs", "scenario", scenario="first_light")
    area = app.text_area[0]
    area.set_value(str(area.value).replace(f"targets: {TARGETS}", "targets: $MY_TARGETS/a.geojson"))
    app.run()
    next(button for button in app.button if button.label == "Run").click().run()
    assert not app.exception
    assert any("MY_TARGETS is not set" in str(t.value.get("reason")) for t in app.dataframe)


def test_an_edited_scenario_is_never_flown_for_the_one_that_was(own_runs: Path) -> None:
    path = only_run(own_runs).path / "scenario.yaml"
    flown = path.read_text(encoding="utf-8")
    path.write_text(flown.replace("max_attempts: 6", "max_attempts: 1"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != flown
    with pytest.raises(ScenarioError, match="not the one that was flown"):
        resolved_for_rerun(only_run(own_runs))
