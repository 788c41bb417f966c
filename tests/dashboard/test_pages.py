"""Every page as Streamlit's own harness runs it: on a real run, on broken ones, on nothing."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import jobs
from dashboard.charts import timeline
from dashboard.event_store import EventStore
from dashboard.metric_text import GROUPS, HEADLINES, number, title
from payload.card_file import save_card
from payload.card_library import load_card
from simulator.telemetry.manifest import file_sha256

PAGES = ("missions", "flight", "scenes", "budgets", "downlink", "models", "scenario")
TITLES = ("Missions", "Flight", "Scenes", "Budgets", "Downlink and autonomy", "Models", "Scenario")
DURATION_S = 8 * 3600.0
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


def test_models_page_bears_metrics_of_another_form(open_page: Open, runs: Path) -> None:
    file = only_run(runs) / "metrics.json"
    metrics = json.loads(file.read_text())
    file.write_text(json.dumps({**metrics, "false_discard_fraction_by_surface": [0.1]}))
    assert not open_page(runs, "models").exception


def test_references_are_flown_from_the_page_which_says_so(
    open_page: Open, text_of: Said, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _root, _title, command, **_: started.append(command))
    app = open_page(runs, "downlink")
    (button,) = (one for one in app.button if one.label == "Fly the references")
    button.click().run()
    assert not app.exception
    assert {command[3] for command in started} <= {"bent_pipe", "oracle"}
    assert started
    assert "Under way" in text_of(app)


@pytest.mark.parametrize("page", ["downlink", "models", "scenario"])
def test_dashboard_on_one_run_flies_nothing(
    open_page: Open, text_of: Said, runs: Path, page: str
) -> None:
    app = open_page(only_run(runs), page)
    assert not app.exception
    assert "a run is never altered" in text_of(app)
    assert runs.name in text_of(app)
    assert not {"Fly the references", "Run"} & {button.label for button in app.button}


def test_a_number_in_the_search_is_a_seed_and_no_part_of_a_hash(
    open_page: Open, text_of: Said, runs: Path
) -> None:
    folder = only_run(runs)
    seed = json.loads((folder / "manifest.json").read_text())["seed"]
    app = open_page(runs, "missions")
    app.text_input[0].set_value(f"seed {seed}").run()
    assert "No run matches" not in text_of(app)
    digit_of_hash = next(
        c for c in folder.name.rpartition("-")[2] if c.isdigit() and c != str(seed)
    )
    app.text_input[0].set_value(digit_of_hash).run()
    assert "No run matches" in text_of(app)


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


def test_gallery_shows_each_picture_once_and_the_worst_of_each_scene_first(
    open_page: Open, runs: Path
) -> None:
    events = EventStore(only_run(runs))
    fates = "SELECT DISTINCT frame_sha256, mask_sha256, action FROM capture LEFT JOIN inference "
    fates += "USING (capture) LEFT JOIN decision USING (capture)"
    pictures = int(events.value(f"SELECT count(*) FROM ({fates})"))
    captures = int(events.value("SELECT count(*) FROM capture"))
    assert pictures < captures
    app = open_page(runs, "scenes", order="largest error")
    assert f"{pictures} pictures of {captures} captures" in [c.value for c in app.caption]
    shown = [b.key.removeprefix("inspect-") for b in app.button if b.label == "Inspect"]
    scenes = events.rows("SELECT capture, scene FROM capture").set_index("capture")["scene"]
    first = list(scenes[shown])
    assert len(set(first)) == min(len(first), scenes.nunique())
    app.toggle(key="once").set_value(False).run()
    assert f"{captures} captures" in [c.value for c in app.caption]


def test_a_stopped_run_has_the_same_numbers_on_every_page(open_page: Open, runs: Path) -> None:
    manifest = only_run(runs) / "manifest.json"
    document = json.loads(manifest.read_text())
    document |= {"status": "interrupted", "reason": "Stopped.", "progress_s": 4 * 3600.0}
    manifest.write_text(json.dumps(document))
    of_run = {m.label: m.value for m in open_page(runs, "downlink").metric}
    missions = open_page(runs, "missions", selected=only_run(runs).name)
    of_list = {m.label: m.value for m in missions.metric}
    assert of_list
    assert of_list.items() <= of_run.items()
    assert missions.dataframe[0].value["clear_km2_delivered"].notna().all()


def test_choices_of_the_swap_form_stand_in_the_link(open_page: Open, runs: Path) -> None:
    choices = {"swap_mission": "first_light", "swap_policies": "prune", "swap_seeds": "3"}
    app = open_page(runs, "models", **choices)
    assert app.selectbox(key="swap_mission").value == "first_light"
    assert app.multiselect(key="swap_policies").value == ["prune"]
    assert app.number_input(key="swap_seeds").value == 3


def test_models_compare_over_one_mission_and_a_run_counts_once(
    open_page: Open, text_of: Said, runs: Path
) -> None:
    (run,) = runs.iterdir()
    shutil.copytree(run, runs / "campaign" / run.name)
    app = open_page(runs, "models")
    assert not app.exception
    (mission,) = app.selectbox(key="mission").options
    assert mission.startswith("short, ")
    assert mission.endswith(" h, reschedule")
    assert "mean over the complete runs of this mission (1 of each model)" in text_of(app)


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

    app = open_page(runs, "scenes", once="false")
    path = only_run(runs) / "events" / "capture.parquet"
    table = pq.read_table(path)
    assert counted(app) == [f"{table.num_rows} captures"]
    pq.write_table(table.slice(0, 5), path)
    manifest = only_run(runs) / "manifest.json"
    document = json.loads(manifest.read_text())
    document["files"]["events/capture.parquet"]["sha256"] = file_sha256(path)
    manifest.write_text(json.dumps(document))
    assert counted(app.run()) == ["5 captures"]


@pytest.mark.parametrize("page", ["missions", *OF_A_RUN])
def test_run_under_way_is_followed(open_page: Open, runs: Path, page: str) -> None:
    """Written by this very process, so that its writer is alive."""
    manifest = only_run(runs) / "manifest.json"
    document = json.loads(manifest.read_text())
    document |= {
        "status": "running",
        "host": platform.node(),
        "pid": os.getpid(),
        "process_started_s": psutil.Process().create_time(),
        "progress_s": 4 * 3600.0,
    }
    manifest.write_text(json.dumps(document))
    app = open_page(runs, page)
    assert not app.exception
    assert not app.error
    assert any("4.0 of 8.0 h" in bar.proto.text for bar in app.get("progress"))
    if page != "missions":
        assert app.toggle(key="follow").value
    if page == "flight":
        assert app.slider(key="t_h").value == 4.0
        document["progress_s"] = 5 * 3600.0
        manifest.write_text(json.dumps(document))
        assert app.run().slider(key="t_h").value == 5.0
        app.slider(key="t_h").set_value(2.0).run()
        document["progress_s"] = 6 * 3600.0
        manifest.write_text(json.dumps(document))
        assert app.run().slider(key="t_h").value == 2.0


def test_the_busiest_moment_may_round_past_the_end(open_page: Open, runs: Path) -> None:
    """A run that ended half a hundredth of an hour before what the slider would start at."""
    manifest = only_run(runs) / "manifest.json"
    started_at_h = open_page(runs, "flight").slider(key="t_h").value
    end_h = started_at_h - 0.005
    document = json.loads(manifest.read_text())
    document |= {"status": "interrupted", "progress_s": end_h * 3600.0}
    manifest.write_text(json.dumps(document))
    app = open_page(runs, "flight")
    assert not app.exception
    assert app.slider(key="t_h").value == pytest.approx(end_h)


def test_selected_runs_stand_in_the_link(open_page: Open, runs: Path) -> None:
    run_id = only_run(runs).name
    app = open_page(runs, "missions", selected=run_id)
    assert run_id in [heading.value.replace("\\", "") for heading in app.subheader]
    assert run_id in app.query_params["selected"]


def test_a_long_name_leaves_room_for_the_metrics(open_page: Open, runs: Path) -> None:
    run = only_run(runs)
    name, end = "m" * 64, run.name.rpartition("-")[2]
    run.rename(runs / f"{name}-{end}")
    app = open_page(runs, "missions", selected=f"{name}-{end}")
    assert f"{name}-{end}" in [heading.value.replace("\\", "") for heading in app.subheader]
    table = app.dataframe[0]
    assert table.value["run"][0].startswith("mmm")
    assert table.value["run"][0].endswith(end)
    assert json.loads(table.proto.columns)["run"]["width"] < 400


def test_runs_side_by_side_stand_under_labels_of_their_own(open_page: Open, runs: Path) -> None:
    """Runs that differ in device or planner, and one that differs in nothing but its folder."""
    first = only_run(runs)
    scenario = (first / "scenario.yaml").read_text()
    for name, before, after in (
        ("other-device", "device: myriad2", "device: host"),
        ("other-planner", "planner: greedy", "planner: fifo"),
        ("again", "", ""),
    ):
        assert before in scenario
        other = Path(shutil.copytree(first, runs / name))
        text = scenario.replace(before, after)
        (other / "scenario.yaml").write_text(text)
        manifest = json.loads((other / "manifest.json").read_text())
        manifest["scenario_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        (other / "manifest.json").write_text(json.dumps(manifest))
    names = [first.name, "other-device", "other-planner", "again"]
    app = open_page(runs, "missions", selected=names)
    assert not app.exception
    table = next(t.value for t in app.dataframe if t.value.columns[0] == "metric")
    assert set(table.columns[1:]) == {
        "reschedule, threshold, host, greedy, seed 7",
        "reschedule, threshold, myriad2, fifo, seed 7",
        first.name,
        "again",
    }


def test_estimate_says_on_how_many_seeds_it_rests(open_page: Open, tmp_path: Path) -> None:
    """One metric is defined everywhere, one in two seeds, one in a single seed of three."""
    everywhere, twice, once = HEADLINES[:3]
    defined = {everywhere: (1, 2, 3), twice: (1, 2), once: (1,)}
    variants = [{"model": "", "device": "", "policy": name} for name in ("bent_pipe", "prune")]
    runs = [
        {
            "variant": variant,
            "seed": seed,
            "folder": "",
            "metrics": {
                name: 0.1 * seed + rank if seed in seeds else None
                for name, seeds in defined.items()
            },
        }
        for rank, variant in enumerate(variants)
        for seed in (1, 2, 3)
    ]
    document = {"scenario": "few", "seeds": [1, 2, 3], "variants": variants, "runs": runs}
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "campaign.json").write_text(json.dumps(document))
    app = open_page(tmp_path, "models", campaign="few")
    assert not app.exception
    table = next(t.value for t in app.dataframe if "metric" in t.value).set_index("metric")
    for column in ("bent_pipe", "prune minus bent_pipe"):
        told = table[column]
        assert "seeds" not in told[title(everywhere)]
        assert told[title(twice)].endswith("(2 of 3 seeds)")
        assert told[title(once)].endswith("(1 of 3 seeds)")
        assert "[" not in told[title(once)]


def test_card_without_its_network_is_shown_but_not_offered(
    open_page: Open, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = replace(load_card("threshold"), name="absent", onnx="absent.onnx")
    place = tmp_path / "cache" / "nephoscope" / "models"
    place.mkdir(parents=True)
    save_card(card, place / "absent.yaml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    st.cache_data.clear()
    app = open_page(runs, "models")
    st.cache_data.clear()
    assert not app.exception
    table = app.dataframe[0].value
    assert not table.set_index("model")["flies"]["absent"]
    offered = app.multiselect(key="swap_models").options
    assert "threshold" in offered
    assert "absent" not in offered


def test_event_type_without_a_lane_gets_one(runs: Path) -> None:
    lane = timeline._lane_of("product")
    window = {"from_s": 0.0, "to_s": DURATION_S, "satellite": "", "bin_s": 1.0}
    marks = EventStore(only_run(runs)).rows(timeline.lane_query(lane), **window)
    assert marks["marks"].sum() > 0
    assert marks["label"].str.len().gt(0).all()


def test_scores_of_other_patches_stand_apart(
    open_page: Open, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card of one's own, scored on scenes of one's own that are called `all` too."""
    card = load_card("threshold")
    (score,) = (
        s for s in card.jaccard if (s.data_set, s.split, s.label) == ("all", "val", "human")
    )
    own = replace(score, protocol="pooled over 40 patches", value=0.99)
    place = tmp_path / "cache" / "nephoscope" / "models"
    place.mkdir(parents=True)
    save_card(replace(card, name="own", onnx="own.onnx", jaccard=(own,)), place / "own.yaml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    st.cache_data.clear()
    app = open_page(runs, "models")
    st.cache_data.clear()
    assert not app.exception
    offered = app.selectbox(key="data_set").options
    assert f"all, val, human labels, {own.protocol}" in offered
    assert f"all, val, human labels, {score.protocol}" in offered
    assert offered.count("l8biome, val, human labels") == 1
