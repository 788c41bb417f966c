"""Downlink and autonomy: what the mission was worth, what it lost, and what being clever added."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import jobs
from dashboard.charts import flows
from dashboard.delivery import BYTES, DELAYS, GROWTH, PIXELS, SATISFIED, STORY
from dashboard.jobs import JobError
from dashboard.metric_text import GROUPS, definition, number, title
from dashboard.navigation import draw
from dashboard.runs_folder import (
    Folders,
    FoundRun,
    setup_of,
    sibling_with_policy,
)
from dashboard.shell import (
    choose_run,
    figure,
    folders,
    ink,
    metrics_so_far,
    open_store,
    plain,
    rows,
    sentences,
)
from simulator.scenario import ScenarioError

REFERENCES = ("bent_pipe", "oracle")
STORY_TARGETS = 15


def show() -> None:
    """Draw the page."""
    st.title("Downlink and autonomy", anchor=False)
    found = folders()
    run = choose_run(found)
    if run is None:
        return
    metrics = metrics_so_far(run)
    _metric_cards(metrics)
    _by_surface(metrics)
    left, right = st.columns(2, gap="medium")
    with left:
        _bytes(run)
    with right:
        _pixels(run)
    _references(found, run, metrics)
    _delays(run)
    st.fragment(_stories)(run)


def _metric_cards(metrics: dict[str, object]) -> None:
    for heading, names in GROUPS.items():
        st.subheader(heading, anchor=False)
        with st.container(key=f"cards-{heading.replace(' ', '-').lower()}"):
            for name in names:
                st.metric(
                    title(name), number(name, metrics.get(name)), help=definition(name), border=True
                )


def _by_surface(metrics: dict[str, object]) -> None:
    names = ("false_cloud_fraction_by_surface", "false_discard_fraction_by_surface")
    tables = [metrics.get(name) for name in names]
    surfaces = sorted({surface for table in tables if isinstance(table, dict) for surface in table})
    if not surfaces:
        return
    with st.expander("By surface"):
        shown = {"surface": surfaces}
        for name, table in zip(names, tables, strict=True):
            values = table if isinstance(table, dict) else {}
            shown[title(name)] = [number(name, values.get(surface)) for surface in surfaces]
        st.dataframe(pd.DataFrame(shown), hide_index=True)


def _bytes(run: FoundRun) -> None:
    st.subheader("Where the bytes went", anchor=False)
    moved = rows(run, BYTES).set_index("change")["mib"].astype(float).to_dict()
    sources, outcomes = flows.byte_balance(moved)
    if not sources["captured"]:
        st.info("Nothing was captured yet.")
        return
    figure(
        "bytes",
        flows.sankey(flows.byte_streams(sources, outcomes), "MiB", ink=ink()),
        pd.DataFrame({"outcome": list(outcomes), "mib": list(outcomes.values())}),
        "Bytes captured, and previews made of them where there are any: sent (also of products not "
        "yet whole on the ground), waiting, saved, dropped, lost. The sum is what came in.",
    )


def _pixels(run: FoundRun) -> None:
    st.subheader("Where clear and cloudy pixels went", anchor=False)
    total = (rows(run, PIXELS).iloc[0].fillna(0.0) / 1e6).to_dict()
    outcomes = {
        "delivered": "delivered",
        "queued": "in the queue",
        "dropped": "dropped by policy",
        "released": "released by the ground",
        "waiting": "on board",
        "lost": "lost to full storage",
    }
    clear = {name: float(total[f"clear_{key}"]) for key, name in outcomes.items()}
    cloud = {name: float(total[f"cloud_{key}"]) for key, name in outcomes.items()}
    if not sum(clear.values()) + sum(cloud.values()):
        st.info("Nothing was captured yet.")
        return
    figure(
        "pixels",
        flows.sankey(flows.pixel_streams(clear, cloud), "Mpx", ink=ink()),
        pd.DataFrame(
            {"outcome": list(clear), "clear_mpx": clear.values(), "cloud_mpx": cloud.values()}
        ),
        "Truth-labelled pixels captured, in millions: clear (shadow included) and cloud. Delivered "
        "counts products whose last byte is on the ground.",
    )


def _references(found: Folders, run: FoundRun, metrics: dict[str, object]) -> None:
    st.subheader("What autonomy added", anchor=False)
    own = setup_of(run).policy
    others = {
        policy: other
        for policy in REFERENCES
        if policy != own and (other := sibling_with_policy(found, run, policy)) is not None
    }
    missing = [policy for policy in REFERENCES if policy != own and policy not in others]
    if missing:
        _offer(found, run, missing)
    end_h = open_store(run).run.horizon_s / 3600
    bin_h = max(end_h / 600, 1e-6)
    curves = [_growth(run, own or "this run", "this", bin_h)]
    curves += [_growth(other, policy, policy, bin_h) for policy, other in others.items()]
    left, right = st.columns(2, gap="medium")
    with left:
        figure(
            "clear-ground",
            flows.growth(curves, end_h),
            pd.concat(
                [pd.DataFrame({"run": c.label, "time_h": c.time_h, "km2": c.km2}) for c in curves]
            ),
            "Truth-clear ground on the ground so far; of each target its best delivered product "
            "counts. Laying all products of a target over each other gives the metric "
            f"({number('clear_km2_delivered', metrics.get('clear_km2_delivered'))} at the end).",
        )
    targets = int(rows(run, "SELECT count(*) FROM target").iat[0, 0])
    waiting = {own or "this run": _waiting(run, targets)}
    waiting |= {policy: _waiting(other, targets) for policy, other in others.items()}
    with right:
        figure(
            "time-to-clear",
            flows.survival(waiting, end_h),
            pd.concat([table.assign(run=label) for label, table in waiting.items()]),
            "Share of targets without an image under their cloud limit delivered in time. Those "
            "that still wait at the end are censored there (Kaplan-Meier); the dotted line is the "
            "median.",
        )


def _offer(found: Folders, run: FoundRun, missing: list[str]) -> None:
    words = " and ".join(f"`{policy}`" for policy in missing)
    if refused := jobs.why_not_into(found.root):
        st.info(f"This run stands alone, without {words} of its mission. {plain(refused)}")
        return
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.info(
        f"There is no run of this mission and seed under {words} in the folder, so this one stands "
        "alone. Fly it: weather and scenes will be the same."
    )
    if right.button("Fly the references", icon=":material/rocket_launch:"):
        try:
            _fly_references(found, run, missing)
        except (JobError, ScenarioError) as error:
            st.error(plain(error))
            return
        st.success(f"Under way: {words}. They are shown here once they are complete.")
        st.page_link("pages/missions.py", label="Watch them fly", icon=":material/visibility:")


def _fly_references(found: Folders, run: FoundRun, policies: list[str]) -> None:
    from dashboard.scenario_text import resolved_for_rerun

    text = resolved_for_rerun(run)
    for policy in policies:
        jobs.start(
            found.root,
            f"{policy} as a reference for {run.run_id}",
            ["run", "{scenario}", "--policy", policy, "--out", "{out}", "--quiet"],
            scenario_text=text,
        )


def _growth(run: FoundRun, label: str, role: str, bin_h: float) -> flows.Growth:
    table = rows(run, GROWTH, bin_h=bin_h)
    return flows.Growth(label, list(table["time_h"]), list(table["km2"]), role)


def _waiting(run: FoundRun, targets: int) -> pd.DataFrame:
    times = rows(run, SATISFIED)["time_h"]
    left = [1 - (index + 1) / max(1, targets) for index in range(len(times))]
    return pd.DataFrame({"time_h": times, "waiting": left})


def _delays(run: FoundRun) -> None:
    table = rows(run, DELAYS)
    st.subheader("How long images took to the ground", anchor=False)
    if table.empty:
        st.info("No product is whole on the ground yet: see Budgets for the passes.")
        return
    figure(
        "delivery-latency",
        flows.waits(table),
        table,
        "From exposure to the last byte on the ground, per delivered product.",
    )


def _stories(run: FoundRun) -> None:
    """Attempts target by target; runs again alone when one turns the page."""
    with sentences():
        _stories_of_page(run)


def _stories_of_page(run: FoundRun) -> None:
    st.subheader("The story of each target", anchor=False)
    targets = int(rows(run, "SELECT count(DISTINCT target) FROM capture").iat[0, 0])
    if not targets:
        st.info("No target was imaged yet.")
        return
    pages = -(-targets // STORY_TARGETS)
    page = 1
    if pages > 1:
        page = int(
            st.number_input(
                f"Targets, most attempts first: page of {pages}",
                1,
                pages,
                1,
                key="targets_page",
                bind="query-params",
                width=320,
            )
        )
    table = rows(run, STORY, most=STORY_TARGETS, skip=(min(page, pages) - 1) * STORY_TARGETS)
    figure(
        "stories",
        flows.story(table),
        table,
        "Every capture of the targets shown. Clear means that the true cover is under the target's "
        "limit; a triangle is a product whose last byte is on the ground.",
    )


draw(show)
