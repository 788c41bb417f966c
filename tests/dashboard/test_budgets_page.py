"""The Budgets page: what it draws of a part of a mission, what it says of nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.event_store import EventStore
from simulator.telemetry.manifest import file_sha256

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


def only_run(root: Path) -> Path:
    return next(path for path in root.iterdir() if path.is_dir())


def test_passes_that_are_not_drawn_are_said_to_be_there(
    open_page: Open, text_of: Said, runs: Path
) -> None:
    folder = only_run(runs)
    path, manifest = folder / "events" / "pass.parquet", folder / "manifest.json"
    rows = [
        {
            "t_s": n + 1.0, "satellite": "neph-1", "station": "matera", "aos_s": float(n),
            "los_s": n + 1.0, "max_elevation_deg": 40.0, "outcome": "idle", "usable_s": 1.0,
            "transmit_s": 0.0, "capacity_bytes": 1, "bytes": 0,
        }
        for n in range(2001)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
    document = json.loads(manifest.read_text())
    document["files"]["events/pass.parquet"]["sha256"] = file_sha256(path)
    manifest.write_text(json.dumps(document))
    said = text_of(open_page(runs, "budgets"))
    assert "The first 2,000 of 2,001 are drawn" in said


def test_figures_of_a_chosen_part_span_it_and_are_never_empty(open_page: Open, runs: Path) -> None:
    """A part so short that no change of load or sunlight lies in it."""
    part = [5.4, 5.41]
    events = EventStore(only_run(runs))
    between = "SELECT count(*) FROM power WHERE t_s / 3600 BETWEEN $from_h AND $to_h"
    assert events.value(between, from_h=part[0], to_h=part[1]) == 0
    app = open_page(runs, "budgets", part=[str(hour) for hour in part])
    assert not app.exception
    over_time = [
        drawn
        for chart in app.get("plotly_chart")
        if (drawn := json.loads(chart.proto.spec))["layout"]["xaxis"]["title"]["text"]
        == "mission time, h"
    ]
    assert len(over_time) >= len(("battery", "loads", "depth", "storage"))
    assert all(drawn["layout"]["xaxis"]["range"] == pytest.approx(part) for drawn in over_time)
    for drawn in over_time[:3]:
        assert all(trace["y"]["bdata"] for trace in drawn["data"] if trace.get("name") != "eclipse")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("reschedule", "No frame of neph-1 has reached"),
        ("bent_pipe", "bent\\_pipe asks for no mask"),
    ],
)
def test_idle_payload_computer_is_explained_by_the_policy(
    open_page: Open, text_of: Said, runs: Path, policy: str, said: str
) -> None:
    """A run whose frames were all worked on aboard another satellite."""
    run = only_run(runs)
    path, manifest = run / "events" / "inference.parquet", run / "manifest.json"
    table = pq.read_table(path)
    others = pa.array(["neph-2"] * table.num_rows)
    column = table.column_names.index("satellite")
    pq.write_table(table.set_column(column, table.schema.field("satellite"), others), path)
    scenario = run / "scenario.yaml"
    scenario.write_text(scenario.read_text().replace("policy: reschedule", f"policy: {policy}"))
    document = json.loads(manifest.read_text())
    document["files"]["events/inference.parquet"]["sha256"] = file_sha256(path)
    document["scenario_sha256"] = file_sha256(scenario)
    manifest.write_text(json.dumps(document))
    app = open_page(runs, "budgets")
    assert not app.exception
    assert said in text_of(app)


@pytest.mark.parametrize(
    ("written", "edited"),
    [
        (r"satellites:(.|\n)*", "satellites: [neph-1]\n"),
        (r"low_power_fraction: \S+", "low_power_fraction: 0.31"),
        (r"^", "{"),
    ],
)
def test_limits_of_another_scenario_are_not_shown(
    open_page: Open, runs: Path, written: str, edited: str
) -> None:
    path = only_run(runs) / "scenario.yaml"
    text, found = re.subn(written, edited, path.read_text(), count=1)
    assert found
    path.write_text(text)
    app = open_page(runs, "budgets")
    assert not app.exception
    assert "is not the scenario that was flown" in str(app.error[0].value)
