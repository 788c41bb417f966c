"""A sweep flies every setting with every seed, and stops when a mission fails."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path

import pytest

from simulator.sweep import Setting, sweep


@pytest.fixture
def short_mission(mission: Path) -> str:
    """An hour of the example."""
    file = mission / "scenario.yaml"
    file.write_text(re.sub(r"duration_h: \d+", "duration_h: 1", file.read_text()))
    return str(file)


MODELS = attrgetter("manifest.models")
"""A harvest that worker processes can import, as they could no function of this module."""

SETTINGS = [Setting(f"attempts {n}", {"autonomy.max_attempts": n}) for n in range(2, 7)]


def test_runs_come_in_the_order_asked(short_mission: str, tmp_path: Path) -> None:
    flown = sweep(
        short_mission,
        SETTINGS[:2],
        2,
        tmp_path / "out",
        jobs=2,
        harvest=MODELS,
    )
    assert [(run.label, run.seed) for run in flown.runs] == [
        ("attempts 2", 7), ("attempts 2", 8), ("attempts 3", 7), ("attempts 3", 8)
    ]  # fmt: skip
    assert [list(run.harvest) for run in flown.runs] == [["threshold"]] * 4


def test_settings_of_one_label_are_refused(short_mission: str, tmp_path: Path) -> None:
    settings = [Setting("x", {"autonomy.max_attempts": n}) for n in (2, 3)]
    with pytest.raises(ValueError, match="settings: 2 have the label 'x'"):
        sweep(short_mission, settings, 1, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_a_mission_that_fails_stops_the_sweep(short_mission: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sweep(
            short_mission, SETTINGS, 2, out, jobs=2, harvest=attrgetter("nothing"), keep_runs=True
        )
    begun = list(out.glob("*/*/manifest.json"))
    assert 1 <= len(begun) <= 2


@pytest.mark.parametrize("labels", [("gain +1", "gain -1", "gain ~1"), ("..", ".", "x" * 300)])
def test_settings_that_come_to_one_scenario_do_not_meet(
    short_mission: str, tmp_path: Path, labels: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    alike = [Setting(label, {}) for label in labels]
    flown = sweep(short_mission, alike, 1, out, jobs=1, keep_runs=True)
    assert [run.label for run in flown.runs] == list(labels)
    assert len(list(tmp_path.rglob("manifest.json"))) == len(labels)
    assert len(list(out.glob("*/*/manifest.json"))) == len(labels)
