"""How a comparison is flown: into which folder, by which workers, and what an accident leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

import simulator.campaign
from simulator.campaign import RunRecord, Variant, read_campaign
from simulator.cli import app


def fly_nothing(_scenario: str, variant: Variant, seed: int, _out_dir: Path) -> RunRecord:
    """Stand in for a mission that is flown."""
    return RunRecord(variant, seed, f"{variant.policy}-{seed}", {"captures": float(seed)})


@pytest.fixture
def flown_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Comparisons fly nothing, in this process."""
    with ThreadPoolExecutor(1) as pool:
        flying = partial(simulator.campaign.compare, executor=pool)
        monkeypatch.setattr(simulator.campaign, "run_variant", fly_nothing)
        monkeypatch.setattr(simulator.campaign, "compare", flying)
        yield


def compared(scenario: Path, *options: object) -> Path:
    """Give the command `compare` and return the campaign folder it names."""
    words = ["compare", str(scenario), *map(str, options), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return Path(json.loads(result.stdout)["campaign"])


@pytest.mark.usefixtures("flown_at_once")
def test_another_comparison_never_takes_the_place_of_an_earlier_one(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = mission / "scenario.yaml"
    whole = compared(file, "--policies", "prune,oracle", "--seeds", 6)
    trial = compared(file, "--policies", "prune,oracle", "--seeds", 1)
    other = compared(file, "--policies", "prune,discard", "--seeds", 6)
    file.write_text(file.read_text().replace("max_attempts: ", "max_attempts: 1"))
    edited = compared(file, "--policies", "prune,oracle", "--seeds", 6)
    folders = [whole, trial, other, edited]
    names = ["compare-example", *(f"compare-example-{n}" for n in (2, 3, 4))]
    assert folders == [Path("runs") / name for name in names]
    assert [len(read_campaign(folder).runs) for folder in folders] == [12, 2, 12, 12]


@pytest.mark.usefixtures("flown_at_once")
def test_the_very_same_comparison_stays_in_its_folder(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (mission / "scenario.yaml", "--policies", "prune,oracle", "--seeds", 2)
    assert compared(*asked) == compared(*asked) == Path("runs/compare-example")


@pytest.mark.usefixtures("flown_at_once")
def test_what_is_no_comparison_of_ours_is_left_alone(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "compare-example").write_text("mine")
    folder = compared(mission / "scenario.yaml", "--policies", "prune", "--seeds", 1)
    assert folder == Path("runs/compare-example-2")
