"""Every page as Streamlit's own harness runs it: on a real run, on broken ones, on nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.metric_text import GROUPS, number

PAGES = ("missions", "flight", "scenes", "budgets", "downlink", "models", "scenario")
TITLES = ("Missions", "Flight", "Scenes", "Budgets", "Downlink and autonomy", "Models", "Scenario")
OF_A_RUN = ("flight", "scenes", "budgets", "downlink")

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


def only_run(root: Path) -> Path:
    return next(path for path in root.iterdir() if path.is_dir())


@pytest.mark.parametrize(("page", "title"), zip(PAGES, TITLES, strict=True))
def test_page_opens_on_a_real_run(open_page: Open, runs: Path, page: str, title: str) -> None:
    app = open_page(runs, page)
    assert not app.exception
    assert not app.error
    assert [heading.value for heading in app.title] == [title]


@pytest.mark.parametrize("page", PAGES)
def test_empty_folder_teaches(open_page: Open, text_of: Said, tmp_path: Path, page: str) -> None:
    app = open_page(tmp_path / "none", page)
    assert not app.exception
    if page in ("missions", *OF_A_RUN):
        assert "nephoscope run first_light" in text_of(app)


def test_downlink_shows_the_metrics_of_the_run(open_page: Open, runs: Path) -> None:
    metrics = json.loads((only_run(runs) / "metrics.json").read_text())
    shown = [metric.value for metric in open_page(runs, "downlink").metric]
    names = [name for group in GROUPS.values() for name in group]
    assert shown == [number(name, metrics[name]) for name in names]


@pytest.mark.parametrize("page", OF_A_RUN)
def test_hostile_link_is_answered_with_a_sentence(
    open_page: Open, text_of: Said, runs: Path, page: str
) -> None:
    app = open_page(runs, page, run="../../etc")
    assert not app.exception
    assert "not in this folder of runs" in text_of(app)


@pytest.mark.parametrize(
    ("page", "table"),
    [("flight", "capture"), ("scenes", "capture"), ("budgets", "power"), ("downlink", "storage")],
)
def test_corrupt_parquet_is_a_sentence(open_page: Open, runs: Path, page: str, table: str) -> None:
    path = only_run(runs) / "events" / f"{table}.parquet"
    path.write_bytes(b"PAR1 and then nothing of use")
    manifest = only_run(runs) / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    app = open_page(runs, page)
    assert not app.exception
    assert any("cannot be read as Parquet" in error.value for error in app.error)


@pytest.mark.parametrize("page", OF_A_RUN)
def test_half_written_run_shows_what_there_is(
    open_page: Open, text_of: Said, runs: Path, page: str
) -> None:
    manifest = only_run(runs) / "manifest.json"
    document = json.loads(manifest.read_text())
    document |= {"status": "running", "pid": 2**22 + 1, "progress_s": 4 * 3600.0}
    manifest.write_text(json.dumps(document))
    app = open_page(runs, page)
    assert not app.exception
    assert not app.error
    assert "process is gone" in text_of(app)


def test_unknown_schema_version_is_a_sentence(open_page: Open, runs: Path) -> None:
    manifest = only_run(runs) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 99}))
    app = open_page(runs, "flight")
    assert not app.exception
    assert any("schema" in error.value and "99" in error.value for error in app.error)


def test_event_of_a_link_is_shown_with_its_reason(
    open_page: Open, text_of: Said, runs: Path
) -> None:
    app = open_page(runs, "flight", event="decision:0")
    assert "Reason" in text_of(app)
    assert "Everything about" in text_of(app)


@pytest.mark.parametrize("event", ["power; DROP TABLE capture:0", "capture:x", "capture:999999"])
def test_hostile_event_is_a_sentence(open_page: Open, runs: Path, event: str) -> None:
    app = open_page(runs, "flight", event=event)
    assert not app.exception
    assert app.warning


def test_scene_filters_narrow_the_gallery(open_page: Open, text_of: Said, runs: Path) -> None:
    app = open_page(runs, "scenes")
    captions = [c.value for c in app.caption if c.value.endswith("captures")]
    app.slider(key="error").set_value(100).run()
    assert not app.exception
    assert captions
    assert "No capture matches" in text_of(app)


def test_broken_scenario_is_shown_with_its_line(open_page: Open, text_of: Said, runs: Path) -> None:
    app = open_page(runs, "scenario")
    area = app.text_area[0]
    area.set_value(str(area.value).replace("duration_h: 168", "duration_h: -1")).run()
    assert not app.exception
    assert "wrong with this scenario" in text_of(app)
    assert app.button[-1].disabled


def test_run_that_was_written_to_is_read_again(open_page: Open, runs: Path) -> None:
    """What is remembered belongs to one state of the run folder."""

    def counted(app: AppTest) -> list[str]:
        return [caption.value for caption in app.caption if caption.value.endswith("captures")]

    app = open_page(runs, "scenes")
    path = only_run(runs) / "events" / "capture.parquet"
    table = pq.read_table(path)
    assert counted(app) == [f"{table.num_rows} captures"]
    pq.write_table(table.slice(0, 5), path)
    manifest = only_run(runs) / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert counted(app.run()) == ["5 captures"]
