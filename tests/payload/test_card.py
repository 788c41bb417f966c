"""Cards: reading back what was written, and answering mistakes with field, value and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from payload.card import InputSpec, JaccardRecord, ModelCard, ModelError, OutputSpec
from payload.card_file import save_card, save_unless_same
from payload.card_library import list_cards, load_card
from payload.whole_file import finished_or_nothing

HOUSE = ModelCard(
    name="student",
    description="A student: small, with a colon.",
    onnx="student.onnx",
    sha256="0" * 64,
    bytes=10,
    parameters=3,
    macs_per_px=2.5,
    precision="int8",
    training_data="patches",
    licence="Apache-2.0",
    provenance="a script",
)
FOREIGN = replace(
    HOUSE,
    package="some_package",
    tile_px=128,
    peak_memory_mib=12.5,
    peak_memory_provenance="declared",
    peak_memory_host="a board",
    notes="Fails on snow.",
    jaccard=(
        JaccardRecord("l8biome", "val", "human", "pooled", 0.5, (0.4, 0.6)),
        JaccardRecord("other", "val", "human", "pooled", 0.5),
    ),
    measurements={"latency_s": {"1": 0.5}},
    input=InputSpec(
        name="x",
        layout="NHWC",
        bands=("red", "green"),
        scale=10000.0,
        offset=-1.0,
        mean=(1.0, 2.0),
        std=(3.0, 4.0),
        multiple_px=64,
    ),
    output=OutputSpec("y", 3, (1, 2), "softmax", 0.4),
)


def written(tmp_path: Path, card: ModelCard) -> Path:
    path = tmp_path / f"{card.name}.yaml"
    save_card(card, path)
    return path


@pytest.mark.parametrize("card", [HOUSE, FOREIGN], ids=["house", "foreign"])
def test_reads_back_what_was_written(tmp_path: Path, card: ModelCard) -> None:
    assert load_card(written(tmp_path, card)) == replace(card, folder=tmp_path)


def test_card_of_the_house_contract_says_nothing_of_input_and_output(tmp_path: Path) -> None:
    content = yaml.safe_load(written(tmp_path, HOUSE).read_text())
    assert "input" not in content
    assert "output" not in content
    assert "folder" not in content


def test_committed_cards_load_and_include_the_baselines() -> None:
    names = [card.name for card in list_cards()]
    assert names == sorted(names)
    assert {"threshold", "ukis-csmask-l1c", "ukis-csmask-l2a"} <= set(names)


def test_onnx_file_stands_for_the_card_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, HOUSE)
    assert load_card(path.with_suffix(".onnx")).name == "student"


def test_hash_in_capital_letters_is_the_same_hash(tmp_path: Path) -> None:
    path = written(tmp_path, replace(HOUSE, sha256="AB" * 32))
    assert load_card(path).sha256 == "ab" * 32


def test_user_models_are_found_by_name_and_committed_ones_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "nephoscope" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    written(folder, HOUSE)
    written(folder, replace(HOUSE, name="threshold"))
    assert load_card("student").folder == folder
    assert load_card("threshold").onnx == "threshold.onnx"


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"'treshold'; did you mean 'threshold'\? Valid: "):
        load_card("treshold")


def test_path_without_a_card_is_answered_with_the_path() -> None:
    with pytest.raises(ModelError, match=r"no card nowhere/a\.yaml"):
        load_card("nowhere/a.onnx")


MISTAKES: list[Any] = [
    ("licence", None, "the field 'licence' is missing"),
    ("bytes", "many", "bytes is 'many', expected a whole number >= 0"),
    ("bytes", True, "bytes is True, expected a whole number"),
    ("macs_per_px", -1, "macs_per_px is -1, expected a number >= 0"),
    ("macs_per_px", float("inf"), "macs_per_px is inf, expected a number"),
    pytest.param("macs_per_px", 10**400, "expected a number >= 0", id="beyond any float"),
    ("precision", "int9", "precision is 'int9'; did you mean 'int8'?"),
    ("peak_memory_mib", 0, "peak_memory_mib is 0, expected a number above 0"),
    ("name", "other", "name is 'other', expected the file's stem 'student'"),
    ("tile_px", 100, "tile_px is 100, expected a multiple of input.multiple_px (32)"),
    ("sha256", "", "sha256 is '', expected a SHA-256: 64 hexadecimal digits"),
    ("sha256", "todo", "sha256 is 'todo', expected a SHA-256: 64 hexadecimal digits"),
    ("sha256", "0" * 63, "expected a SHA-256: 64 hexadecimal digits"),
    ("sha265", "x", "unknown field 'sha265'; did you mean 'sha256'?"),
    ("jaccard", {"value": 1}, "jaccard is {'value': 1}, expected a list"),
    ("jaccard", [{"value": 1}], "jaccard[0]: the field 'data_set' is missing"),
    ("measurements", 3, "measurements is 3, expected a mapping"),
    ("input", {"bands": ["blu"]}, "bands has 'blu'; did you mean 'blue'?"),
    ("input", {"bands": []}, "bands is [], expected some of blue, green, red, nir"),
    ("input", {"mean": [1, 2]}, "mean has 2 values, expected one for each of the 4 bands"),
    ("input", {"std": [1, 1, 0, 1]}, "std is [1.0, 1.0, 0.0, 1.0], expected values above 0"),
    ("input", {"layout": "CHW"}, "layout is 'CHW'; did you mean 'NCHW'?"),
    ("input", 4, "input: is 4, expected a mapping"),
    ("output", {"cloud_channels": [1]}, "cloud_channels is [1], expected at least one channel"),
    ("output", {"cloud_channels": []}, "cloud_channels is [], expected at least one channel"),
    ("output", {"channels": 2, "cloud_channels": [1, 1]}, "expected each channel once"),
    ("output", {"threshold": 1.0}, "threshold is 1, expected a probability between 0 and 1"),
    ("output", {"activation": "argmax"}, "all 1 channels mean cloud"),
]


@pytest.mark.parametrize(("field", "value", "message"), MISTAKES)
def test_mistake_is_answered_with_file_field_and_reason(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    path = written(tmp_path, HOUSE)
    content = yaml.safe_load(path.read_text())
    if value is None:
        del content[field]
    else:
        content[field] = value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load_card(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not valid YAML"),
        ("- a", "holds a list, expected a mapping"),
        ("", "holds a NoneType, expected a mapping"),
        ("provenance: 2024-13-45", r"a value cannot be read \(month must be in 1..12"),
        pytest.param("bytes: 1" + "0" * 5000, "a value cannot be read", id="5001 digits"),
        ("bytes: 1\nname: a\nbytes: 2", "the field 'bytes' is given twice; remove one"),
        ("input: {name: a, name: b}", "the field 'name' is given twice; remove one"),
    ],
)
def test_file_that_is_no_card_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "student.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        load_card(path)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "student.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not text in UTF-8"):
        load_card(path)


def test_card_under_another_suffix_is_asked_to_be_renamed(tmp_path: Path) -> None:
    path = written(tmp_path, HOUSE).rename(tmp_path / "student.yml")
    with pytest.raises(ModelError, match=r"ends in \.yaml; rename it student\.yaml"):
        load_card(path)


def test_interrupted_write_leaves_the_card_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, HOUSE)

    def half_written(path: Path) -> Iterator[IO[bytes]]:
        with finished_or_nothing(path) as file:
            yield file
            file.truncate(20)
            raise KeyboardInterrupt

    monkeypatch.setattr("payload.card_file.finished_or_nothing", contextmanager(half_written))
    with pytest.raises(KeyboardInterrupt):
        save_card(replace(HOUSE, notes="newer"), path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert load_card(path) == replace(HOUSE, folder=tmp_path)


def test_missing_onnx_and_missing_package_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"student\.onnx does not exist.*make it again"):
        _ = replace(HOUSE, folder=tmp_path).onnx_path
    for package in ("no_such_package", "no_such.package", ".package"):
        with pytest.raises(ModelError, match=r"pip install 'nephoscope\[peers\]'"):
            _ = replace(HOUSE, package=package).onnx_path


def test_new_card_replaces_only_the_card_of_another_file(tmp_path: Path) -> None:
    measured = replace(HOUSE, folder=tmp_path, peak_memory_mib=99.0)
    save_unless_same(measured)
    save_unless_same(replace(measured, peak_memory_mib=None))
    path = tmp_path / "student.yaml"
    assert load_card(path).peak_memory_mib == 99.0
    save_unless_same(replace(measured, sha256="1" * 64, peak_memory_mib=None))
    assert load_card(path).peak_memory_mib is None
