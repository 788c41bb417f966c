"""What every page shares: the runs folder, the choice of a run, figures that export, errors.

Errors of ours are shown as the sentences they are; anything else is a defect and is left to
Streamlit. Whatever a page lets one choose is bound to the page's address, so that it can be
shared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.event_store import EventStore
from dashboard.runs_folder import Folders, FoundRun, find_folders, setup_of, stored_metrics
from simulator.telemetry.manifest import RunFolderError
from simulator.telemetry.metrics import compute_metrics

STATE_BADGES = {
    "complete": ("green", ":material/check_circle:"),
    "running": ("blue", ":material/progress_activity:"),
    "interrupted": ("orange", ":material/pause_circle:"),
    "incomplete": ("orange", ":material/help:"),
    "failed": ("red", ":material/error:"),
    "unreadable": ("red", ":material/broken_image:"),
}

FIRST_STEPS = """
A mission needs three lines. In a terminal:

```
nephoscope run first_light
nephoscope compare downlink_limited --seeds 5
nephoscope dashboard
```

or press **Fly a scenario** below. A run folder appears here as soon as the run starts.
"""

FOLLOW_EVERY_S = 4.0

_FIGURE_CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "png", "scale": 2}}


def runs_root() -> Path:
    """The folder given after ``--`` on the command line, ``runs`` when none is."""
    parser = argparse.ArgumentParser(prog="dashboard/app.py", add_help=False)
    parser.add_argument("runs_dir", nargs="?", default="runs", type=Path)
    arguments, _ = parser.parse_known_args(sys.argv[1:])
    return Path(arguments.runs_dir).resolve()


def folders() -> Folders:
    """What is in the runs folder right now."""
    return find_folders(runs_root())


@contextmanager
def sentences() -> Iterator[None]:
    """Show an error of ours (a `ValueError` with a complete sentence) instead of a traceback."""
    try:
        yield
    except RunFolderError as error:
        st.error(_plain(str(error)), icon=":material/report:")


@dataclass
class _Kept:
    """An open run, and the state of its folder that was last looked at."""

    store: EventStore
    fingerprint: str


@st.cache_resource(max_entries=8, show_spinner=False)
def _kept(path: str, identity: str) -> _Kept:  # noqa: ARG001 - part of the cache's key
    return _Kept(EventStore(Path(path)), "")


def _store(run: FoundRun) -> EventStore:
    """The open run: a complete one is opened anew when it changed, a growing one is read on."""
    assert run.manifest is not None
    complete = run.state == "complete"
    identity = run.fingerprint if complete else f"{run.manifest.created} {run.manifest.pid}"
    kept = _kept(str(run.path), identity)
    if kept.fingerprint != run.fingerprint:
        if kept.fingerprint:
            kept.store.refresh()
        kept.fingerprint = run.fingerprint
    return kept.store


def open_store(run: FoundRun) -> EventStore:
    """The events of a run, kept until the run is written to again.

    Raises
    ------
    RunFolderError
        If it cannot be read.
    """
    if run.state == "unreadable":
        raise RunFolderError(run.detail)
    return _store(run)


@st.cache_data(max_entries=512, show_spinner=False)
def _answer(
    path: str,  # noqa: ARG001 - part of the cache's key, as is the next
    fingerprint: str,  # noqa: ARG001
    sql: str,
    parameters: dict[str, Any],
    _run: FoundRun,
) -> pd.DataFrame:
    return _store(_run).rows(sql, **parameters)


def rows(run: FoundRun, sql: str, **parameters: object) -> pd.DataFrame:
    """Answer of a query on a run, remembered by the run's hash, the query and its parameters."""
    if run.state == "unreadable":
        raise RunFolderError(run.detail)
    return _answer(str(run.path), run.fingerprint, sql, parameters, run)


STOPPED = ("interrupted", "failed", "incomplete")
"""States of a run that is over and not complete."""


def metrics_of(run: FoundRun) -> dict[str, Any]:
    """Metrics of a run that is over: as stored, or of the time it covers where it stopped short.

    Empty while it is still going, and where its events cannot be read.
    """
    if run.state not in STOPPED:
        return stored_metrics(run)
    try:
        return metrics_so_far(run)
    except RunFolderError:
        return {}


def metrics_so_far(run: FoundRun) -> dict[str, Any]:
    """Metrics of a run over the time that its events cover.

    Raises
    ------
    RunFolderError
        If they cannot be read.
    """
    return stored_metrics(run) or _computed(str(run.path), run.fingerprint, run)


@st.cache_data(max_entries=64, show_spinner=False)
def _computed(path: str, fingerprint: str, _run: FoundRun) -> dict[str, Any]:  # noqa: ARG001
    return compute_metrics(open_store(_run).run).to_dict()


def choose_run(found: Folders) -> FoundRun | None:
    """Let one choose a run; its name stands in the address as ``run``. None when there is none."""
    asked = st.query_params.get("run")
    names = [run.run_id for run in found.runs]
    if not names:
        _teach_first_steps(found.root)
        return None
    if asked is not None and asked not in names:
        st.warning(
            f"The link names the run {_plain(asked)!r}, which is not in this folder of runs; "
            "another one is shown. Only runs in the folder the dashboard was opened on can be read."
        )
    if st.session_state.get("run") not in names:
        st.session_state.pop("run", None)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    chosen = left.selectbox(
        "Run",
        names,
        index=_newest_complete(found),
        key="run",
        bind="query-params",
        persist_state="session",
    )
    run = found.run(chosen) or found.runs[0]
    with right:
        show_state(run)
    st.caption(plain(_words(run)))
    if run.state == "unreadable":
        st.error(_plain(run.detail), icon=":material/report:")
        return None
    if run.state == "running":
        _follow(run)
    elif run.state != "complete":
        st.info(f"{_plain(run.detail)} What was written until then is shown.")
    return run


def _follow(run: FoundRun) -> None:
    """Show how far a run under way is, and draw the page anew while it goes on."""
    going = st.toggle(
        "Follow the run",
        value=True,
        key="follow",
        help=f"Draws the page anew with what was written since, every {FOLLOW_EVERY_S:g} s.",
    )
    st.fragment(_progress, run_every=FOLLOW_EVERY_S if going else None)(
        run.run_id, run.fingerprint, going
    )


def _progress(run_id: str, drawn: str, going: bool) -> None:
    run = folders().run(run_id)
    if run is None:
        return
    st.progress(run.progress, text=_plain(run.detail) or "Complete.")
    if going and run.fingerprint != drawn and drawn != st.session_state.get("redrawn_for"):
        # Once for each state, so that a slow page is not asked for again before it is drawn.
        st.session_state["redrawn_for"] = drawn
        st.rerun()


def _newest_complete(found: Folders) -> int:
    """Prefer a complete run, and one of its own to one of a campaign."""
    ranks = [(run.state != "complete", bool(run.campaign)) for run in found.runs]
    return ranks.index(min(ranks))


def _words(run: FoundRun) -> str:
    if run.manifest is None:
        return ""
    setup = setup_of(run)
    models = f"{', '.join(setup.models)} on {', '.join(setup.devices)}"
    hours = f"{run.manifest.duration_s / 3600:g} h"
    craft = counted(setup.satellites, "satellite")
    return " · ".join([setup.policy, models, craft, hours, f"seed {run.manifest.seed}"])


def show_state(run: FoundRun) -> None:
    """A badge with the state of a run."""
    colour, icon = STATE_BADGES.get(run.state, ("gray", ":material/help:"))
    st.badge(run.state, color=colour, icon=icon)


def _teach_first_steps(root: Path) -> None:
    st.subheader("No run here yet")
    st.markdown(f"Runs are looked for in `{_plain(str(root))}`.")
    st.markdown(FIRST_STEPS)
    st.page_link("pages/scenario.py", label="Fly a scenario", icon=":material/rocket_launch:")


def figure(
    name: str,
    drawn: go.Figure,
    data: pd.DataFrame | Callable[[], pd.DataFrame],
    meaning: str,
    *,
    on_select: Callable[[], None] | str = "ignore",
    selection_mode: str = "points",
    height: Literal["content", "stretch"] = "content",
) -> Any:
    """Show a figure with what it means and the buttons that export it.

    Parameters
    ----------
    name : str
        File name of the exports; also the widget's key.
    drawn : Figure
        PNG is exported by the button in its corner.
    data : DataFrame or callable
        What is plotted, for the CSV; a callable is asked when the button is pressed.
    meaning : str
        One sentence: what is shown, by which definition.
    height : {"content", "stretch"}
        The figure's own height, or that of a box the style sheet of `app.py` gives a height.
    """
    settings = {**_FIGURE_CONFIG["toImageButtonOptions"], "filename": name}  # type: ignore[dict-item]
    config = {**_FIGURE_CONFIG, "toImageButtonOptions": settings}
    box = st.container(key=f"box-{name}", gap=None)
    state = box.plotly_chart(
        drawn,
        key=f"figure-{name}",
        height=height,
        config=config,
        on_select=on_select,
        selection_mode=selection_mode,
        alt=meaning,
    )
    below = st.container(horizontal=True, vertical_alignment="top", wrap=False)
    below.caption(meaning)
    below.download_button(
        "CSV",
        data=lambda: _csv(data),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=f"csv-{name}",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
        help="The data of this figure. PNG: the camera in the figure's corner.",
    )
    return state


def _csv(data: pd.DataFrame | Callable[[], pd.DataFrame]) -> bytes:
    table = data() if callable(data) else data
    return table.to_csv(index=False).encode()


def ink() -> str:
    """Colour of text inside a figure, where Streamlit's theme does not reach."""
    return "#f2f3f5" if st.context.theme.type == "dark" else "#1b1f27"


def utc(run: FoundRun, t_s: float) -> str:
    """Simulated time as UTC text."""
    if run.manifest is None:
        return ""
    moment = datetime.fromisoformat(run.manifest.epoch) + timedelta(seconds=float(t_s))
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def satellites(run: FoundRun) -> list[str]:
    """Names of the satellites of a run, in the order of its scenario."""
    found = rows(run, "SELECT DISTINCT satellite FROM track ORDER BY satellite")
    return [str(name) for name in found["satellite"]]


def _plain(text: str) -> str:
    """Text from a file, so that no character of it acts as Markdown or HTML."""
    for sign in "\\`*_{}[]<>#$:~|":
        text = text.replace(sign, "\\" + sign)
    return text


def plain(text: object) -> str:
    """Escape text that came from a file or a link before Markdown sees it."""
    return _plain(str(text))


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
