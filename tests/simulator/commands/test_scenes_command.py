"""`nephoscope scenes`: what a user reads and which exit code a script gets."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from payload.scenes import SceneError
from simulator.commands.scenes import SCENES_VARIABLE, app

SAMPLES = Path(str(files("scenarios") / "samples"))
FEW = ("lake", "lake_010")


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.delenv(SCENES_VARIABLE, raising=False)
    return CliRunner()


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A collection of two of the samples."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in FEW:
        for suffix in (".tif", ".mask.tif"):
            shutil.copy(SAMPLES / f"{name}{suffix}", folder)
    lines = (SAMPLES / "manifest.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split(",")[0] in ("name", *FEW)]
    (folder / "manifest.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return folder


def test_list_tells_the_collections(runner: CliRunner) -> None:
    result = runner.invoke(app, ["list", "--json"])
    assert result.exit_code == 0
    (samples,) = json.loads(result.stdout)
    assert samples["collection"] == "samples"
    assert samples["kinds"] == "composite 30, real 7"


def test_where_no_collection_can_be_read_a_sentence_says_so(
    runner: CliRunner, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").write_text("name,gsd_m\nlake,10\n", encoding="utf-8")
    result = runner.invoke(app, ["list", "--folder", str(tmp_path)])
    assert isinstance(result.exception, SceneError)
    assert "none of these collections can be read" in str(result.exception)


def test_a_broken_collection_is_named_and_hides_no_other(
    runner: CliRunner, few: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.csv").write_text("name,gsd_m\nlake,10\n", encoding="utf-8")
    result = runner.invoke(app, ["list", "--json", "--folder", str(tmp_path)])
    assert result.exit_code == 0
    assert [c["collection"] for c in json.loads(result.stdout)] == ["few"]
    assert "this collection is left out" in " ".join(result.stderr.split())
    shutil.rmtree(few)
    alone = runner.invoke(app, ["list", "--folder", str(tmp_path)])
    assert isinstance(alone.exception, SceneError)


def test_list_tells_the_scenes_of_one(runner: CliRunner, few: Path) -> None:
    result = runner.invoke(app, ["list", "few", "--folder", str(few), "--json"])
    assert [scene["name"] for scene in json.loads(result.stdout)] == list(FEW)
    table = runner.invoke(app, ["list", "few", "--folder", str(few)])
    assert "lake_010" in table.stdout


@pytest.mark.parametrize("arguments", [["list", "few"], ["show", "lake"], ["show", "few/lake"]])
def test_collections_of_one_name_are_told_apart_by_their_folders(
    runner: CliRunner,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # the picture is written there
    other = tmp_path / "other" / "few"
    shutil.copytree(few, other)
    folders = ["--folder", str(few), "--folder", str(other)]
    result = runner.invoke(app, [*arguments, *folders])
    assert isinstance(result.exception, SceneError)
    assert f"{few}, {other}" in str(result.exception)
    assert str(result.exception).endswith("name one with --folder")
    same = ["--folder", str(few), "--folder", f"{few}/../few", "--json"]
    once = runner.invoke(app, [*arguments, *same])
    assert once.exit_code == 0


def test_a_folder_of_scenes_that_is_not_there_hides_no_sample(runner: CliRunner) -> None:
    result = runner.invoke(app, ["list", "--json"], env={SCENES_VARIABLE: "/nowhere"})
    assert result.exit_code == 0
    assert [c["collection"] for c in json.loads(result.stdout)] == ["samples"]
    said = " ".join(result.stderr.split())
    assert f"{SCENES_VARIABLE} /nowhere: holds no scene collection" in said


def test_show_draws_picture_and_mask_side_by_side(
    runner: CliRunner, few: Path, tmp_path: Path
) -> None:
    png = tmp_path / "lake.png"
    result = runner.invoke(app, ["show", "lake_010", "--folder", str(few), "--png", str(png)])
    assert result.exit_code == 0
    assert "composite" in result.stdout
    with Image.open(png) as picture:
        assert picture.size == (2 * 384, 384)


def test_brackets_in_a_manifest_are_shown_as_they_stand(
    runner: CliRunner, few: Path, tmp_path: Path
) -> None:
    manifest = few / "manifest.csv"
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = [row | {"notes": "haze [thin], see [/red]"} for row in csv.DictReader(stream)]
    with manifest.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    options = ["--folder", str(few), "--png", str(tmp_path / "lake.png")]
    result = runner.invoke(app, ["show", "few/lake", *options], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "haze [thin], see [/red]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nowhere"], "is not there"),
        (["list", "nowhere"], "there are samples"),
        (["check", "/nowhere"], "holds no scene collection"),
        (["show", "lake", "--png", "/nowhere/lake.png"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    runner: CliRunner, arguments: list[str], said: str
) -> None:
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, SceneError)  # the top command turns it into exit code 2
    assert said in str(result.exception)


def test_check_of_a_sound_collection(runner: CliRunner, few: Path) -> None:
    result = runner.invoke(app, ["check", str(few)])
    assert result.exit_code == 0
    assert "2 scenes in 1 collections: no problem" in result.stdout


def test_check_tells_problems_of_every_collection(
    runner: CliRunner, few: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.csv").write_text("name,gsd_cm\nlake,10\n", encoding="utf-8")
    (few / "lake_010.mask.tif").unlink()
    result = runner.invoke(app, ["check", str(tmp_path), "--json"])
    assert result.exit_code == 2
    problems = json.loads(result.stdout)["problems"]
    assert any("gsd_m" in problem for problem in problems)
    assert any("lake_010" in problem for problem in problems)


def test_check_tells_each_problem_and_fails(runner: CliRunner, few: Path) -> None:
    (few / "lake.mask.tif").unlink()
    (few / "lake_010.tif").write_bytes(b"")
    result = runner.invoke(app, ["check", str(few), "--json"])
    assert result.exit_code == 2
    assert len(json.loads(result.stdout)["problems"]) == 2
