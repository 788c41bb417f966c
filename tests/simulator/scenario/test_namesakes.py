"""A run tells models and devices apart by name: two of one name in one mission are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from payload.card import MODELS_DIR
from payload.device import DEVICES_DIR
from simulator.scenario import Scenario, load_scenario
from simulator.scenario.checks import check_scenario


@pytest.fixture
def namesakes(mission: Path) -> Path:
    """Two cards and two device profiles of one name each; they differ in a word."""
    for folder, word in (("one", "first"), ("two", "second")):
        (mission / folder).mkdir()
        shutil.copy(MODELS_DIR / "threshold.onnx", mission / folder / "threshold.onnx")
        for source in (MODELS_DIR / "threshold.yaml", DEVICES_DIR / "myriad2.yaml"):
            text = source.read_text(encoding="utf-8")
            (mission / folder / source.name).write_text(f"# the {word}\n{text}", encoding="utf-8")
    return mission


def twins(mission: Path, **second: str) -> Scenario:
    """The mission with a second satellite whose payload differs by `second`."""
    first = load_scenario(mission / "scenario.yaml").source.values["satellites"][0]
    first["payload"] |= {"model": "one/threshold.yaml", "device": "one/myriad2.yaml"}
    other = first | {"name": "second", "payload": first["payload"] | second}
    return load_scenario(mission / "scenario.yaml", {"satellites": [first, other]})


def test_one_model_and_one_device_may_fly_twice(namesakes: Path) -> None:
    check_scenario(twins(namesakes))


def test_a_copy_is_the_same(namesakes: Path) -> None:
    shutil.copytree(namesakes / "one", namesakes / "copy")
    check_scenario(twins(namesakes, model="copy/threshold.yaml", device="copy/myriad2.yaml"))


@pytest.mark.parametrize(("kind", "name"), [("model", "threshold"), ("device", "myriad2")])
def test_namesakes_are_refused(namesakes: Path, kind: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"another {kind} of this mission is called {name}") as no:
        check_scenario(twins(namesakes, **{kind: f"two/{name}.yaml"}))
    (problem,) = no.value.problems  # type: ignore[attr-defined]
    assert problem.field_path == f"satellites[1].payload.{kind}"
    assert "rename one of them" in problem.remedy


def test_the_model_of_the_ground_is_one_of_them(namesakes: Path) -> None:
    changes = {"ground.screening": "two/threshold.yaml"}
    scenario = load_scenario(
        namesakes / "scenario.yaml",
        changes | {"satellites.*.payload.model": "one/threshold.yaml"},
    )
    with pytest.raises(ValueError, match="another model of this mission is called threshold"):
        check_scenario(scenario)
