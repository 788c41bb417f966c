"""A campaign on a page: means of its variants and their paired differences, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dashboard.charts.comparison import Interval, intervals
from dashboard.metric_text import GROUPS, HEADLINES, definition, title, with_interval
from dashboard.runs_folder import Folders
from dashboard.shell import counted, figure, plain

if TYPE_CHECKING:
    from simulator.campaign import Campaign, Estimate, Variant

FEWER = "What is not defined in every seed says in how many it is."


def show_campaign(found: Folders, name: str) -> None:
    """Draw the comparison of a campaign of the runs folder, or say why there is none yet."""
    from simulator.campaign import CampaignError, read_campaign

    st.subheader(f"Paired comparison: {plain(name)}", anchor=False)
    path = found.campaigns.get(name)
    if path is None:
        st.warning(f"The link names the campaign {plain(name)}, which is not in this folder.")
        return
    try:
        if not (path / "campaign.json").resolve().is_relative_to(found.root.resolve()):
            raise CampaignError(f"{path}: campaign.json is a link out of the runs folder.")
        campaign = read_campaign(path)
    except CampaignError as error:
        members = [run for run in found.runs if run.campaign == name]
        going = sum(run.state == "running" for run in members)
        if going:
            st.info(f"{counted(going, 'run')} of it are still going.")
        elif members and not (path / "campaign.json").exists():
            whole = sum(run.state == "complete" for run in members)
            st.info(
                f"It was stopped with {whole} of {len(members)} runs complete, before there was a "
                "comparison. Fly it again; Missions shows the runs there are."
            )
        else:
            st.error(plain(error))
        return
    _comparison(campaign)


def _comparison(campaign: Campaign) -> None:
    labels = campaign.labels
    names = [m for group in GROUPS.values() for m in group if m in campaign.metrics]
    left, right = st.columns(2)
    metric = left.selectbox("Metric", names, format_func=title, key="metric", bind="query-params")
    baseline_label = right.selectbox(
        "Against", list(labels.values()), key="baseline", bind="query-params"
    )
    baseline = next(v for v, label in labels.items() if label == baseline_label)
    seeds = len(campaign.seeds)
    word = f"{seeds} seeds" if seeds > 1 else "one seed, so no interval"
    means = [
        _interval(labels[v], found, seeds)
        for v in campaign.variants
        if (found := campaign.summary(v, metric)) is not None
    ]
    differences = [
        _interval(labels[v], found.estimate, seeds)
        for v in campaign.variants
        if v != baseline and (found := campaign.difference(v, baseline, metric)) is not None
    ]
    one, two = st.columns(2, gap="medium")
    with one:
        figure(
            "campaign-means",
            intervals(metric, means, differences=False),
            pd.DataFrame([vars(m) for m in means]),
            f"{definition(metric)}: mean over {word}, with 95 % interval. {FEWER}",
        )
    with two:
        figure(
            "campaign-differences",
            intervals(metric, differences, differences=True),
            pd.DataFrame([vars(d) for d in differences]),
            f"Difference to {baseline_label}, seed by seed, with 95 % bootstrap interval. Grey: "
            f"the interval holds zero, or a single seed gives none. {FEWER}",
        )
    if campaign.warning:
        st.warning(campaign.warning)
    st.caption(f"Means and differences with their 95 % intervals; pp: percentage points. {FEWER}")
    _comparison_table(campaign, labels, baseline)


def _comparison_table(campaign: Campaign, labels: dict[Variant, str], baseline: Variant) -> None:
    seeds = len(campaign.seeds)
    table: dict[str, list[str]] = {"metric": [title(name) for name in HEADLINES]}
    for variant, label in labels.items():
        table[label] = [
            _mean_text(name, campaign.summary(variant, name), seeds) for name in HEADLINES
        ]
        if variant != baseline:
            table[f"{label} minus {labels[baseline]}"] = [
                _mean_text(
                    name,
                    d.estimate if (d := campaign.difference(variant, baseline, name)) else None,
                    seeds,
                    difference=True,
                )
                for name in HEADLINES
            ]
    st.dataframe(pd.DataFrame(table), hide_index=True)


def _mean_text(
    metric: str, estimate: Estimate | None, seeds: int, *, difference: bool = False
) -> str:
    if estimate is None:
        return "-"
    found = _interval("", estimate, seeds)
    text = with_interval(metric, found.mean, found.low, found.high, difference=difference)
    return text + found.label


def _interval(label: str, estimate: Estimate, seeds: int) -> Interval:
    """The estimate to be shown; it says where it rests on fewer seeds than the campaign has."""
    if estimate.n < seeds:
        label += f" ({estimate.n} of {seeds} seeds)"
    if estimate.n < 2:
        return Interval(label, estimate.mean, None, None, estimate.n)
    return Interval(label, estimate.mean, estimate.low, estimate.high, estimate.n)
