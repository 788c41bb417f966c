"""`nephoscope models`: thin over evaluation and profiling, clear when something is wrong."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from payload.card import MODELS_DIR, ModelCard, cache_dir
from payload.card_file import read_card, save_card
from payload.card_library import list_cards
from payload.scene_writer import SceneRow, write_collection, write_image, write_mask
from payload.training.evaluation import FIGURES
from simulator.cli import app

runner = CliRunner()

TERMINAL_COLUMNS = 100


@pytest.fixture
def labelled_scenes(tmp_path: Path) -> Path:
    """One scene of two halves: dark ground and bright cloud."""
    folder = tmp_path / "halves"
    image = np.full((4, 64, 64), 900, np.uint16)
    image[:, :, 32:] = 7000
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 1
    write_image(folder / "half.tif", image)
    write_mask(folder / "half.mask.tif", mask)
    row = SceneRow.of(
        name="half",
        sensor="Sentinel-2 MSI",
        level="L1C",
        gsd_m=10.0,
        image=image,
        mask=mask,
        label="human",
        split="val",
        source="made by a test",
        licence="CC0",
    )
    write_collection(folder, [row])
    return folder


ALL_VAL = ("all", "val", "human")


def test_list_shows_every_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # names of a user's own may be longer
    shown = json.loads(runner.invoke(app, ["models", "list", "--json"]).stdout)
    assert [card["name"] for card in shown] == [card.name for card in list_cards()]
    table = runner.invoke(app, ["models", "list"], env={"COLUMNS": "100"})
    assert table.exit_code == 0
    lines = [line for line in table.stdout.splitlines() if not line.startswith("By card only")]
    assert max(map(len, lines)) <= 100
    rows = {words[0]: words for words in map(str.split, lines) if words}
    for card in list_cards():
        assert f"{card.parameters:,}" in rows[card.name]
        pooled = [r for r in card.jaccard if (r.data_set, r.split, r.label) == ALL_VAL]
        assert all(f"{record.value:.3f}" in rows[card.name] for record in pooled)


def test_broken_card_in_the_cache_is_named_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    committed = [card.name for card in list_cards()]
    cache_dir().mkdir(parents=True)
    (cache_dir() / "mine.yaml").write_text("name: mine\n")
    for option in ("--json", "--markdown"):
        shown = runner.invoke(app, ["models", "list", option], env={"COLUMNS": "400"})
        assert shown.exit_code == 0
        assert all(name in shown.stdout for name in committed)
        said = " ".join(shown.stderr.split())
        assert "mine.yaml: the field 'description' is missing" in said
        assert "this card is left out" in said


def test_list_says_which_models_are_there_by_card_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    last = runner.invoke(app, ["models", "list"]).stdout.splitlines()[-1]
    reason, _, names = last.partition(": ")
    assert "not on this machine" in reason
    assert {"nnunet-teacher", "unet-resnet34"} <= set(names.split(", "))
    assert "threshold" not in names.split(", ")


def test_no_number_is_cut_where_the_terminal_is_narrow() -> None:
    wide, narrow = (
        runner.invoke(app, ["models", "list"], env={"COLUMNS": columns}).stdout
        for columns in ("200", "40")
    )
    assert narrow == wide


def test_markdown_has_every_score_on_human_labels() -> None:
    table = runner.invoke(app, ["models", "list", "--markdown"]).stdout
    for card in list_cards():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| {card.name} |"))
        scores = [record for record in card.jaccard if record.label == "human"]
        assert all(f"{r.data_set} {r.split} {r.value:.3f}" in row for r in scores)


def test_card_is_printed_as_it_is() -> None:
    printed = runner.invoke(app, ["models", "card", "threshold"]).stdout
    assert printed == (MODELS_DIR / "threshold.yaml").read_text(encoding="utf-8")


def test_evaluate_prints_records_and_pictures(labelled_scenes: Path, tmp_path: Path) -> None:
    for suffix in (".onnx", ".yaml"):
        shutil.copy(MODELS_DIR / f"threshold{suffix}", tmp_path)
    card, picture = tmp_path / "threshold.yaml", tmp_path / "cases.png"
    options = ["--scenes", str(labelled_scenes), "--record", "--pictures", str(picture), "--json"]
    done = runner.invoke(app, ["models", "evaluate", str(card), *options])
    assert done.exit_code == 0, done.output
    group = json.loads(done.stdout)["groups"][0]
    assert group["figures_value_low_high"]["jaccard"][0] == pytest.approx(1.0)
    assert picture.is_file()
    recorded = {r.data_set: r.value for r in read_card(card).jaccard}
    assert recorded["halves"] == pytest.approx(1.0)


def test_one_model_is_shown_with_every_figure_in_a_hundred_columns(labelled_scenes: Path) -> None:
    options = ["--scenes", str(labelled_scenes)]
    done = runner.invoke(app, ["models", "evaluate", "threshold", *options])
    assert done.exit_code == 0, done.output
    for figure in FIGURES:
        assert figure.replace("_", " ") in done.stdout
    assert "human, halves" in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= TERMINAL_COLUMNS


def test_score_of_one_collection_is_not_recorded_as_that_of_all(
    labelled_scenes: Path, tmp_path: Path
) -> None:
    for suffix in (".onnx", ".yaml"):
        shutil.copy(MODELS_DIR / f"threshold{suffix}", tmp_path)
    card = tmp_path / "threshold.yaml"
    before = {r.data_set: r for r in read_card(card).jaccard}
    options = ["--scenes", str(labelled_scenes), "--collection", "halves", "--record"]
    done = runner.invoke(app, ["models", "evaluate", str(card), *options])
    assert done.exit_code == 0, done.output
    after = {r.data_set: r for r in read_card(card).jaccard}
    assert after.pop("halves").value == pytest.approx(1.0)
    assert after == before


def test_score_of_other_scenes_stands_beside_that_of_these_and_is_not_listed_with_it(
    labelled_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_dir()
    folder.mkdir(parents=True)
    mine = dataclasses.replace(read_card(MODELS_DIR / "threshold.yaml"), name="mine")
    shutil.copy(MODELS_DIR / "threshold.onnx", folder / "mine.onnx")
    save_card(dataclasses.replace(mine, onnx="mine.onnx", folder=folder), folder / "mine.yaml")
    (shipped,) = (r for r in mine.jaccard if (r.data_set, r.split, r.label) == ALL_VAL)
    for _ in range(2):
        options = ["--scenes", str(labelled_scenes), "--record"]
        done = runner.invoke(app, ["models", "evaluate", "mine", *options])
        assert done.exit_code == 0, done.output
    after = read_card(folder / "mine.yaml").jaccard
    both = [r for r in after if (r.data_set, r.split, r.label) == ALL_VAL]
    assert both[0] == shipped
    assert [r.value for r in both[1:]] == [pytest.approx(1.0)]
    assert "of halves" in both[1].protocol
    table = runner.invoke(app, ["models", "list"], env={"COLUMNS": "100"}).stdout
    (line,) = (line for line in table.splitlines() if line.startswith("mine "))
    assert f"{shipped.value:.3f}" in line


def test_list_shows_a_card_whose_measurements_are_its_authors_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_dir()
    folder.mkdir(parents=True)
    own = dataclasses.replace(
        read_card(MODELS_DIR / "threshold.yaml"),
        name="own",
        measurements={"profile": "fast", "on": datetime.date(2026, 1, 2)},
    )
    save_card(own, folder / "own.yaml")
    for kind in ("--json", "--markdown"):
        done = runner.invoke(app, ["models", "list", kind])
        assert done.exit_code == 0, done.output
        assert "own" in done.stdout


@pytest.fixture
def bracketed_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """The threshold under a name with brackets, scored on a data set with brackets."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = cache_dir()
    folder.mkdir(parents=True)
    shipped = read_card(MODELS_DIR / "threshold.yaml")
    shutil.copy(MODELS_DIR / "threshold.onnx", folder)
    score = dataclasses.replace(shipped.jaccard[0], data_set="mine [/val]", label="human")
    card = dataclasses.replace(shipped, name="dyn[v2]", jaccard=(score,), folder=folder)
    save_card(card, card.path)
    return card


def test_brackets_in_the_names_of_models_and_collections_are_shown_as_they_stand(
    bracketed_card: ModelCard, labelled_scenes: Path
) -> None:
    scenes = labelled_scenes.rename(labelled_scenes.with_name("set[b]"))
    name, options = bracketed_card.name, ["--scenes", str(scenes)]
    for arguments, shown in (
        (["list"], ["dyn[v2] ", "mine [/val]"]),
        (["profile", name, "--rounds", "1"], ["dyn[v2] "]),
        (["evaluate", name, *options], ["dyn[v2], split val", "human, set[b]"]),
        (["evaluate", name, "threshold", *options], ["dyn[v2] ", "set[b] (1)", "minus dyn[v2]"]),
    ):
        done = runner.invoke(app, ["models", *arguments], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        assert all(text in done.stdout for text in shown), done.stdout


def test_several_models_are_compared_on_the_same_patches(labelled_scenes: Path) -> None:
    names = ["threshold", "unet-distilled-int8"]
    options = ["--scenes", str(labelled_scenes)]
    done = runner.invoke(app, ["models", "evaluate", *names, *options, "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert [e["model"] for e in shown["evaluations"]] == names
    jaccards = [
        e["groups"][0]["figures_value_low_high"]["jaccard"][0] for e in shown["evaluations"]
    ]
    (difference,) = shown["jaccard_differences"]
    assert difference["against"] == "threshold"
    assert difference["value_low_high"][0] == pytest.approx(jaccards[1] - jaccards[0], abs=1e-6)
    printed = runner.invoke(app, ["models", "evaluate", *names, *options]).stdout
    assert "minus threshold" in printed
    assert "Clear pixels called cloud" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "evaluate", "thresold"], "did you mean 'threshold'"),
        (["models", "evaluate", "threshold"], "NEPHOSCOPE_SCENES is not set"),
        (["models", "card", "nothing-like-it"], "unknown model"),
        (["models", "evaluate", "threshold", "--pictures", "x.txt"], "expected the name of a .png"),
    ],
)
def test_mistakes_end_with_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEPHOSCOPE_SCENES", raising=False)
    done = runner.invoke(app, arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_split_that_is_not_there_is_refused(labelled_scenes: Path) -> None:
    done = runner.invoke(
        app,
        ["models", "evaluate", "threshold", "--scenes", str(labelled_scenes), "--split", "test"],
    )
    assert done.exit_code == 2
    assert "no labelled scene has split 'test'" in " ".join(done.output.split())


def test_a_model_that_is_missing_is_missed_before_any_other_has_worked(
    labelled_scenes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    asked: list[str] = []
    monkeypatch.setattr(
        "payload.training.evaluation.evaluate", lambda model, *_: asked.append(model.card.name)
    )
    names = ["threshold", "nnunet-teacher"]
    done = runner.invoke(app, ["models", "evaluate", *names, "--scenes", str(labelled_scenes)])
    assert done.exit_code == 2
    assert "does not exist" in " ".join(done.output.split())
    assert asked == []


@pytest.mark.parametrize("command", ["evaluate", "profile"])
def test_two_models_of_one_name_are_not_told_apart_and_refused(
    command: str, tmp_path: Path
) -> None:
    for suffix in (".onnx", ".yaml"):
        shutil.copy(MODELS_DIR / f"threshold{suffix}", tmp_path)
    names = ["threshold", str(tmp_path / "threshold.yaml")]
    done = runner.invoke(app, ["models", command, *names])
    assert done.exit_code == 2
    assert "model 'threshold' is named twice" in " ".join(done.output.split())
