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
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.event_store import EventStore
from dashboard.runs_folder import Folders, FoundRun, find_folders, setup_of
from simulator.telemetry.manifest import RunFolderError

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


@st.cache_resource(max_entries=6, show_spinner="Reading the events")
def _store(path: str, fingerprint: str) -> EventStore:  # noqa: ARG001 - part of the cache's key
    return EventStore(Path(path))


def open_store(run: FoundRun) -> EventStore:
    """The events of a run, kept until the run is written to again.

    Raises
    ------
    RunFolderError
        If it cannot be read.
    """
    if run.state == "unreadable":
        raise RunFolderError(run.detail)
    return _store(str(run.path), run.fingerprint)


@st.cache_data(max_entries=512, show_spinner=False)
def _answer(path: str, fingerprint: str, sql: str, parameters: dict[str, Any]) -> pd.DataFrame:
    return _store(path, fingerprint).rows(sql, **parameters)


def rows(run: FoundRun, sql: str, **parameters: object) -> pd.DataFrame:
    """Answer of a query on a run, remembered by the run's hash, the query and its parameters."""
    if run.state == "unreadable":
        raise RunFolderError(run.detail)
    return _answer(str(run.path), run.fingerprint, sql, parameters)


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
    if run.state != "complete":
        st.info(f"{_plain(run.detail)} What was written until then is shown.")
    return run


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
    """
    settings = {**_FIGURE_CONFIG["toImageButtonOptions"], "filename": name}  # type: ignore[dict-item]
    config = {**_FIGURE_CONFIG, "toImageButtonOptions": settings}
    state = st.plotly_chart(
        drawn,
        key=f"figure-{name}",
        config=config,
        on_select=on_select,
        selection_mode=selection_mode,
        alt=meaning,
    )
    left, right = st.columns([6, 1])
    left.caption(meaning)
    right.download_button(
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
