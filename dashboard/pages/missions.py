"""Missions: every run and campaign of the folder, how far each is, and what it was worth."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from dashboard import jobs
from dashboard.charts.comparison import metric_bars
from dashboard.job_panel import show_job
from dashboard.metric_text import (
    GROUPS,
    HEADLINES,
    definition,
    info,
    is_share,
    number,
    title,
    unit,
)
from dashboard.navigation import draw
from dashboard.runs_folder import (
    Folders,
    FoundRun,
    find_folders,
    labels_of,
    setup_of,
    stored_metrics,
)
from dashboard.shell import (
    choose_run,
    counted,
    figure,
    folders,
    metrics_of,
    plain,
    rows,
    runs_root,
)
from simulator.telemetry.manifest import RunFolderError

POLL_S = 2.0
MOST_COMPARED = 12
LONGEST_NAME = 40


def show() -> None:
    """Draw the page."""
    st.title("Missions", anchor=False)
    found = folders()
    if not found.runs:
        choose_run(found)
        return
    _overview(found)
    alive = [job for job in jobs.list_jobs(found.root) if jobs.is_alive(job)]
    for job in alive:
        show_job(job.job_id)
    going = any(run.state == "running" for run in found.runs)
    st.fragment(_live_runs, run_every=POLL_S if going else None)()
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    search = left.text_input(
        "Search",
        key="q",
        bind="query-params",
        icon=":material/search:",
        placeholder="name, policy, model, state, seed",
    )
    state = None
    if len(_states(found)) > 1:
        state = right.segmented_control(
            "State", _states(found), key="state", bind="query-params", label_visibility="collapsed"
        )
    shown = [run for run in found.runs if _matches(run, search or "", state)]
    if not shown:
        st.info("No run matches. Clear the search to see all of them.")
        return
    chosen = _table(shown)
    _chosen(chosen)
    _campaigns(found)


def _overview(found: Folders) -> None:
    complete = sum(run.state == "complete" for run in found.runs)
    going = sum(run.state == "running" for run in found.runs)
    words = [counted(len(found.runs), "run"), f"{complete} complete"]
    words += [f"{going} running"] if going else []
    words += [counted(len(found.campaigns), "campaign")] if found.campaigns else []
    st.caption(f"{', '.join(words)} in {plain(found.root)}")


def _live_runs() -> None:
    """Progress of runs that are still going; runs again by itself."""
    found = find_folders(runs_root())
    going = [run for run in found.runs if run.state == "running"]
    for run in going:
        st.progress(run.progress, text=f"{plain(run.run_id)}: {plain(run.detail)} {_so_far(run)}")
    before = st.session_state.get("were_running")
    st.session_state["were_running"] = {run.run_id for run in going}
    if before is not None and before - st.session_state["were_running"]:
        st.rerun()


SO_FAR = """
    SELECT (SELECT count(*) FROM capture) AS captures, (SELECT count(*) FROM product) AS products,
           (SELECT count(*) FROM downlink WHERE complete) AS delivered"""


def _so_far(run: FoundRun) -> str:
    """What a run under way has done, from the log as far as it is written."""
    try:
        done = rows(run, SO_FAR).iloc[0]
    except RunFolderError:
        return ""  # a part was merged while it was read; the next look succeeds
    return (
        f"{counted(int(done.captures), 'capture')}, {counted(int(done.products), 'product')}, "
        f"{int(done.delivered):,} on the ground."
    )


def _states(found: Folders) -> list[str]:
    return list(dict.fromkeys(run.state for run in found.runs))


def _matches(run: FoundRun, search: str, state: str | None) -> bool:
    if state and run.state != state:
        return False
    setup = setup_of(run)
    seed = str(run.manifest.seed) if run.manifest else ""
    names = [run.run_id, run.state, setup.policy, setup.planner, *setup.models, *setup.devices]
    text = " ".join([*names, "seed"]).lower()
    # A number means the seed: digits stand in the hash of nearly every run folder too.
    return all(
        word == seed if word.isdecimal() else word in text for word in search.lower().split()
    )


def _table(shown: list[FoundRun]) -> list[FoundRun]:
    """Show the runs; return those that are selected."""
    table = pd.DataFrame([_line(run) for run in shown])
    columns = {
        "progress": st.column_config.ProgressColumn(
            "simulated", format="percent", min_value=0.0, max_value=1.0, width="small"
        ),
        "duration": st.column_config.NumberColumn("hours", format="%.0f"),
        "started": st.column_config.DatetimeColumn("started (UTC)", format="YYYY-MM-DD HH:mm"),
        "run": st.column_config.TextColumn("run", width=_width_px(table["run"]), pinned=True),
    }
    for name in HEADLINES:
        measured_in = "" if is_share(name) else unit(name)
        columns[name] = st.column_config.NumberColumn(
            f"{title(name)}, {measured_in}" if measured_in else title(name),
            help=definition(name),
            format="percent" if is_share(name) else "%.4g",
        )
    st.caption("Select runs to compare them. A click on a heading sorts.")
    asked = st.query_params.get_all("selected")
    names = [run.run_id for run in shown]
    # Streamlit remembers row numbers: other rows are another table, chosen anew by name.
    selected = st.dataframe(
        table if table["campaign"].any() else table.drop(columns="campaign"),
        hide_index=True,
        column_config=columns,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [i for i, n in enumerate(names) if n in asked]}},
        key=f"runs_table-{hash(tuple(names))}",
        placeholder="-",
    )
    chosen = [shown[index] for index in selected["selection"]["rows"] if index < len(shown)]
    if [run.run_id for run in chosen] != asked:
        st.query_params["selected"] = [run.run_id for run in chosen]
    return chosen


def _width_px(names: Iterable[str]) -> int:
    """Wide enough for the longest name, which tells runs apart by its end."""
    return 32 + 8 * max(map(len, names))


def _short(name: str) -> str:
    """A name that leaves room for the metrics beside it, with its end."""
    if len(name) <= LONGEST_NAME:
        return name
    end = LONGEST_NAME // 2
    return f"{name[: LONGEST_NAME - end - 1]}…{name[-end:]}"


def _line(run: FoundRun) -> dict[str, object]:
    setup, metrics, manifest = setup_of(run), metrics_of(run), run.manifest
    return {
        "run": _short(run.path.name),
        "state": run.state,
        "progress": run.progress,
        "policy": setup.policy,
        "model": ", ".join(setup.models),
        "device": ", ".join(setup.devices),
        "seed": manifest.seed if manifest else None,
        "duration": manifest.duration_s / 3600 if manifest else None,
        **{name: metrics.get(name) for name in HEADLINES},
        "started": pd.to_datetime(manifest.created) if manifest else None,
        "campaign": run.campaign,
        "note": run.detail,
    }


def _chosen(chosen: list[FoundRun]) -> None:
    if not chosen:
        return
    if len(chosen) == 1:
        _one(chosen[0])
        return
    chosen = [run for run in chosen if stored_metrics(run)][:MOST_COMPARED]
    if len(chosen) < 2:
        st.info("A run that is not complete covers another time; select two complete ones.")
        return
    st.subheader("Side by side", anchor=False)
    names = [name for group in GROUPS.values() for name in group]
    metric = st.selectbox(
        "Metric", names, format_func=title, key="compare_metric", bind="query-params"
    )
    labels = labels_of(chosen)
    values = {
        label: stored_metrics(run).get(metric) for label, run in zip(labels, chosen, strict=True)
    }
    figure(
        "runs-side-by-side",
        metric_bars(metric, values),
        pd.DataFrame({"run": list(values), metric: list(values.values())}),
        f"{info(metric).meaning[:1].upper()}{info(metric).meaning[1:]}. Runs of different seeds "
        "or scenarios are no paired comparison: that is what a campaign gives.",
    )
    table = {"metric": [title(name) for name in names]}
    for label, run in zip(labels, chosen, strict=True):
        metrics = stored_metrics(run)
        table[label] = [number(name, metrics.get(name)) for name in names]
    st.dataframe(pd.DataFrame(table), hide_index=True)


def _one(run: FoundRun) -> None:
    st.subheader(plain(run.run_id), anchor=False)
    if run.state == "unreadable":
        st.error(plain(run.detail))
        return
    if run.detail:
        st.info(plain(run.detail))
    metrics = metrics_of(run)
    if metrics:
        with st.container(key="cards-headlines"):
            for name in HEADLINES:
                st.metric(
                    title(name), number(name, metrics.get(name)), help=definition(name), border=True
                )
    with st.container(horizontal=True):
        for page, label in (
            ("flight", "Flight"),
            ("scenes", "Scenes"),
            ("budgets", "Budgets"),
            ("downlink", "Downlink and autonomy"),
        ):
            st.page_link(f"pages/{page}.py", label=label, query_params={"run": run.run_id})


def _campaigns(found: Folders) -> None:
    if not found.campaigns:
        return
    st.subheader("Campaigns", anchor=False)
    for name in found.campaigns:
        members = [run for run in found.runs if run.campaign == name]
        complete = sum(run.state == "complete" for run in members)
        policies = ", ".join(dict.fromkeys(setup_of(run).policy for run in members))
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f"**{plain(name)}** · {complete} of {len(members)} runs complete · "
                f"{plain(policies)}"
            )
            st.page_link(
                "pages/models.py",
                label="Paired comparison",
                icon=":material/compare_arrows:",
                query_params={"campaign": name},
            )


draw(show)
