"""How a comparison is flown: into which folder, by which workers, and what an accident leaves."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rasterio
from typer.testing import CliRunner

import simulator.campaign
import simulator.comparison
from payload.card import MODELS_DIR
from payload.device import DEVICES_DIR
from simulator.campaign import (
    Campaign,
    RunRecord,
    compare,
    read_campaign,
    write_campaign,
)
from simulator.cli import app
from simulator.comparison import CampaignError, Variant
from simulator.mission import run_mission
from simulator.scenario import Scenario, ScenarioError


def fly_nothing(
    _scenario: str, variant: Variant, seed: int, out_dir: Path, _: object = None
) -> RunRecord:
    """Stand in for a mission that is flown."""
    folder = out_dir / f"{variant.policy}-{seed}"
    folder.mkdir(exist_ok=True)
    return RunRecord(variant, seed, folder.name, {"captures": float(seed)})


@pytest.fixture
def flown_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Comparisons fly nothing, in this process."""
    with ThreadPoolExecutor(1) as pool:
        whole = simulator.campaign.compare

        def flying(*asked: Any, **more: Any) -> Campaign:
            return whole(*asked, **{**more, "executor": pool})

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
@pytest.mark.parametrize(
    "file", ["targets/world_200.geojson", "threshold.yaml", "myriad2.yaml", "samples/clear.tif"]
)
def test_a_comparison_with_an_edited_file_is_another_one(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for suffix in (".yaml", ".onnx"):
        shutil.copyfile(MODELS_DIR / f"threshold{suffix}", mission / f"threshold{suffix}")
    shutil.copyfile(DEVICES_DIR / "myriad2.yaml", mission / "myriad2.yaml")
    named = ("--models", mission / "threshold.yaml", "--devices", mission / "myriad2.yaml")
    asked = (mission / "scenario.yaml", "--seeds", 1, *named)
    assert compared(*asked) == Path("runs/compare-example")
    shutil.copytree(mission, tmp_path / "before")
    _edit(mission / file)
    assert compared(*asked) == Path("runs/compare-example-2")
    shutil.copyfile(tmp_path / "before" / file, mission / file)
    assert compared(*asked) == Path("runs/compare-example")


def _edit(path: Path) -> None:
    """Change what a file says, but not whether it can be read."""
    if path.suffix == ".tif":
        with rasterio.open(path, "r+") as image:
            image.write(image.read() + 1)
        return
    with path.open("a", encoding="utf-8") as file:
        file.write("\n")


@pytest.mark.usefixtures("flown_at_once")
def test_one_model_under_two_names_is_refused_and_two_of_one_name_are_not(
    mission: Path, tmp_path: Path
) -> None:
    for suffix in (".onnx", ".yaml"):
        shutil.copy(MODELS_DIR / f"threshold{suffix}", tmp_path)
    graph, card = tmp_path / "threshold.onnx", tmp_path / "threshold.yaml"
    scenario, out = mission / "scenario.yaml", tmp_path / "out"
    words = ["compare", str(scenario), "--seeds", "1", "--out", str(out), "--models"]
    refused = CliRunner().invoke(app, [*words, f"{graph},{card}"])
    assert refused.exit_code == 2
    assert "model 'threshold' is named twice" in " ".join(refused.output.split())
    assert not out.exists()
    flown = CliRunner().invoke(app, [*words, f"{graph},threshold", "--json"])
    assert flown.exit_code == 0, flown.output


@pytest.mark.usefixtures("flown_at_once")
def test_a_comparison_of_another_version_is_another_one(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (mission / "scenario.yaml", "--policies", "prune", "--seeds", 1)
    assert compared(*asked) == Path("runs/compare-example")
    monkeypatch.setattr(simulator.comparison, "project_version", lambda: "0.0.1")
    assert compared(*asked) == Path("runs/compare-example-2")


@pytest.mark.usefixtures("flown_at_once")
def test_a_comparison_of_a_version_that_hashed_the_scenario_only_is_read_and_left_alone(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (mission / "scenario.yaml", "--policies", "prune", "--seeds", 1)
    old = compared(*asked)
    said = json.loads((old / "asked.json").read_text())
    kept = ("scenario", "scenario_sha256", "variants", "seeds")
    old_text = json.dumps({name: said[name] for name in kept}, indent=1) + "\n"
    (old / "asked.json").write_text(old_text)
    assert compared(*asked) == Path("runs/compare-example-2")
    assert (old / "asked.json").read_text() == old_text
    assert len(read_campaign(old).runs) == 1


@pytest.mark.usefixtures("flown_at_once")
def test_the_very_same_comparison_stays_in_its_folder(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (mission / "scenario.yaml", "--policies", "prune,oracle", "--seeds", 2)
    assert compared(*asked) == compared(*asked) == Path("runs/compare-example")


@pytest.mark.usefixtures("flown_at_once")
def test_a_named_folder_that_holds_another_comparison_is_refused(
    mission: Path, tmp_path: Path
) -> None:
    file, out = str(mission / "scenario.yaml"), str(tmp_path / "mine")
    assert compared(Path(file), "--policies", "prune", "--seeds", 2, "--out", out) == Path(out)
    words = ["compare", file, "--policies", "prune", "--seeds", "1", "--out", out]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "mine holds another comparison" in " ".join(result.output.split())
    assert len(read_campaign(Path(out)).runs) == 2


@pytest.mark.usefixtures("flown_at_once")
def test_what_is_no_comparison_of_ours_is_left_alone(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "compare-example").write_text("mine")
    folder = compared(mission / "scenario.yaml", "--policies", "prune", "--seeds", 1)
    assert folder == Path("runs/compare-example-2")


@pytest.mark.usefixtures("flown_at_once")
def test_a_worker_that_is_killed_is_told_in_a_sentence(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die_at_nine(
        _scenario: str, variant: Variant, seed: int, out_dir: Path, _: object
    ) -> RunRecord:
        if seed == 9:
            raise BrokenExecutor("A process in the process pool was terminated abruptly")
        return fly_nothing("", variant, seed, out_dir)

    monkeypatch.setattr(simulator.campaign, "run_variant", die_at_nine)
    words = ["compare", str(mission / "scenario.yaml"), "--policies", "prune", "--seeds", "3"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    told = " ".join(result.stderr.split())
    assert "a worker process was killed, most likely for want of memory, after 2 of 3" in told
    assert "give the same command again" in told


def test_a_comparison_cut_short_goes_on_where_it_stood(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flown: list[str] = []

    def fly(scenario: Scenario, out_dir: Path) -> Path:
        flown.append(f"{scenario.autonomy.policy} {scenario.seed}")
        return run_mission(scenario, out_dir)

    def stop(done: int, _total: int, _label: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    file, out = mission / "scenario.yaml", tmp_path / "out"
    file.write_text(re.sub(r"duration_h: \d+", "duration_h: 2", file.read_text()))
    monkeypatch.setattr(simulator.campaign, "run_mission", fly)
    with ThreadPoolExecutor(1) as pool:
        again = partial(compare, str(file), out, seeds=2, executor=pool)
        with pytest.raises(KeyboardInterrupt):
            again(policies=["bent_pipe", "oracle"], progress=stop)
        pool.submit(int).result()  # what was under way has ended
        before = list(flown)
        assert before[:2] == ["bent_pipe 7", "bent_pipe 8"]
        campaign = again(policies=["bent_pipe", "oracle"])
        assert flown[len(before) :] == [
            name for name in ("oracle 7", "oracle 8") if name not in before
        ]
        assert [run.seed for run in campaign.runs] == [7, 8, 7, 8]
        assert all((out / run.folder / "metrics.json").is_file() for run in campaign.runs)
        again(policies=["bent_pipe", "oracle"])
        assert len(flown) == 8  # a finished comparison is flown anew


def test_a_comparison_cut_short_is_not_given_up_for_another(mission: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    file, out = mission / "scenario.yaml", tmp_path / "out"
    file.write_text(re.sub(r"duration_h: \d+", "duration_h: 2", file.read_text()))
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            compare(str(file), out, policies=["prune"], seeds=2, executor=pool, progress=stop)
        pool.submit(int).result()  # what was under way has ended
        asked = (out / "asked.json").read_text()
        with pytest.raises(CampaignError, match="holds another comparison"):
            compare(str(file), out, policies=["oracle"], seeds=1, executor=pool)
    assert (out / "asked.json").read_text() == asked


def small_campaign() -> Campaign:
    variants = (Variant("a", "host", "prune"), Variant("", "host", "prune"))
    runs = [RunRecord(v, seed, "f", {"x": 1.5, "y": None}) for v in variants for seed in (1, 2)]
    return Campaign("example", variants, (1, 2), tuple(runs))


def test_a_campaign_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_campaign(small_campaign(), tmp_path)
    assert read_campaign(tmp_path) == small_campaign()


@pytest.mark.parametrize(
    ("written", "damaged"),
    [
        ('"x": 1.5', '"x": "much"'),
        ('{\n    "x": 1.5,\n    "y": null\n   }', "null"),
        ('"seed": 2', '"seed": 3'),
        ('"seeds": [\n  1,\n  2\n ]', '"seeds": [1]'),
        ('"model": "a"', '"model": ["a"]'),
        ("example", "\x80"),
    ],
)
def test_a_damaged_campaign_is_a_sentence(tmp_path: Path, written: str, damaged: str) -> None:
    write_campaign(small_campaign(), tmp_path)
    path = tmp_path / "campaign.json"
    text = path.read_text()
    assert written in text
    path.write_bytes(text.replace(written, damaged).encode("latin-1"))
    with pytest.raises(CampaignError, match=r"campaign\.json.*run the comparison again"):
        read_campaign(tmp_path)


@pytest.mark.usefixtures("flown_at_once")
def test_a_seed_that_no_scenario_may_have_costs_nothing(mission: Path, tmp_path: Path) -> None:
    file = mission / "scenario.yaml"
    file.write_text(re.sub(r"seed: \d+", f"seed: {2**63 - 2}", file.read_text()))
    with pytest.raises(ScenarioError, match="seed"):
        compare(str(file), tmp_path / "out", policies=["prune"], seeds=3)
    assert not (tmp_path / "out").exists()
