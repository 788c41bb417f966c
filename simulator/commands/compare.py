"""`nephoscope compare`: variants of one mission flown with the same seeds, and their differences.

Every variant sees the same weather and scenes, so a difference is what the variant changed. It
is shown against the first variant and against the one above, which says what each step of the
policy table adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from simulator.commands import display
from simulator.commands.missions import checked, from_here, show_notes

if TYPE_CHECKING:
    from simulator.campaign import Campaign, Difference, Estimate

HEADLINES = (
    "targets_satisfied_fraction",
    "clear_km2_delivered",
    "clear_fraction_delivered",
    "false_discard_fraction",
    "payload_energy_wh",
    "station_utilisation",
)
"""Metrics shown in the terminal; the JSON output and the campaign folder have all of them."""

FOUR_DIGITS = 999.5
"""From here on a number rounds to four digits, which three of them would write as 1e+03."""

SPELT = {"model": "models", "device": "devices", "policy": "policies"}
"""What options of `run` are called here, where each takes several values."""


def compare(
    scenario: str,
    out_dir: Path | None,
    *,
    models: str,
    devices: str,
    policies: str,
    seeds: int,
    cluster: str,
    as_json: bool,
) -> int:
    """Fly every variant with every seed, show means and paired differences; return the exit code.

    Parameters
    ----------
    out_dir : Path or None
        None for ``runs/compare-NAME``, numbered where that holds another comparison.
    models, devices, policies : str
        Names separated by commas; empty for the scenario's own. When all three are empty, the six
        policies are compared.
    cluster : str
        Address of a Dask scheduler; empty for the cores of this machine.
    """
    named = {
        "model": _names("--models", models),
        "device": _names("--devices", devices),
        "policy": _names("--policies", policies),
    }
    if not any(named.values()):
        from simulator.scenario import POLICIES

        named["policy"] = list(POLICIES)
    _check(scenario, named)

    from simulator.campaign import compare as fly_all
    from simulator.comparison import asked_of, folder_for
    from simulator.telemetry.runs import CAMPAIGN_NAME

    asked: dict[str, Any] = {
        "models": named["model"],
        "devices": named["device"],
        "policies": named["policy"],
        "seeds": seeds,
    }
    folder = out_dir or folder_for(asked_of(scenario, **asked), Path("runs"))
    try:
        with _workers(cluster) as executor, display.progress_bar(shown=not as_json) as report:
            campaign = fly_all(
                scenario,
                folder,
                **asked,
                executor=executor,
                progress=lambda done, total, label: report(done / total, label),
            )
    except KeyboardInterrupt:
        where = escape(str(folder))
        left = f"Finished runs are in {where}; the same command goes on from there."
        if (folder / CAMPAIGN_NAME).exists():
            left = f"{where} keeps the comparison of before; the same command flies all of it anew."
        display.err().print(f"[yellow]Interrupted.[/] {left}", soft_wrap=True)
        return 130
    if as_json:
        display.print_json({"campaign": str(folder), **_summary(campaign)})
    else:
        _show(campaign, folder)
    warning = campaign.warning if as_json else campaign.warning_of(HEADLINES)
    show_notes([warning] if warning else [])
    return 0


def _workers(cluster: str) -> AbstractContextManager[Executor | None]:
    if not cluster:
        return nullcontext()
    from simulator.cluster import cluster as workers_of

    return workers_of(cluster)


def _names(option: str, text: str) -> list[str]:
    """Names in a list; an option that was given names at least one."""
    names = [str(from_here(name.strip())) for name in text.split(",") if name.strip()]
    if text and not names:
        from simulator.comparison import CampaignError

        raise CampaignError(
            f"{option} is {text!r}, which names nothing; give names separated by commas, or leave "
            "the option out"
        )
    return names


def _check(scenario: str, named: Mapping[str, Sequence[str]]) -> None:
    """Open everything each variant names before the first is flown."""
    notes: dict[str, None] = {}
    choices: list[Sequence[str | None]] = [
        named[kind] or [None] for kind in ("model", "device", "policy")
    ]
    for model, device, policy in product(*choices):
        chosen = {"model": model, "device": device, "policy": policy}
        _, found = checked(scenario, chosen, SPELT)
        notes |= dict.fromkeys(found)
    show_notes(list(notes))


def _show(campaign: Campaign, folder: Path) -> None:
    console = display.out()
    several = len(campaign.seeds) > 1
    shown = f"{len(campaign.seeds)} seeds, mean and 95 % interval" if several else "one seed"
    console.print(f"{escape(campaign.scenario)}, {shown}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for column in ("mean", "minus the first", "minus the one above"):
        table.add_column(column, justify="right", no_wrap=True)
    for metric in HEADLINES:
        if metric in campaign.metrics:
            _add_metric(table, campaign, metric)
    display.print_uncut(table)
    console.print()
    if several:
        console.print("[bold]bold[/]: the interval excludes 0")
    console.print(f"campaign    {escape(str(folder))}", soft_wrap=True)
    console.print(
        f"go on with  [bold]nephoscope dashboard {escape(str(folder))}[/]", soft_wrap=True
    )


def _add_metric(table: Table, campaign: Campaign, metric: str) -> None:
    """Add a row that names the metric, and one per variant."""
    from simulator.telemetry.metrics import METRICS

    unit = METRICS[metric].unit
    table.add_row(f"[cyan]{metric}{f' ({unit})' if unit else ''}[/]")
    first, labels, seeds = campaign.variants[0], campaign.labels, len(campaign.seeds)
    for above, variant in zip((None, *campaign.variants), campaign.variants, strict=False):
        against_first = campaign.difference(variant, first, metric) if above else None
        against_above = campaign.difference(variant, above, metric) if above else None
        table.add_row(
            f"  {escape(labels[variant])}",
            escape(_interval(campaign.summary(variant, metric), seeds)),
            _difference(against_first, seeds),
            _difference(against_above, seeds),
        )


def _interval(estimate: Estimate | None, seeds: int, sign: str = "") -> str:
    """Mean and interval; where not every seed gave a value, how many did."""
    if estimate is None:
        return "-"
    mean = _number(estimate.mean, sign)
    low, high = _number(estimate.low), _number(estimate.high)
    # An interval narrower than the digits shown says nothing.
    text = mean if low == high == _number(estimate.mean) else f"{mean} [{low}, {high}]"
    return text if estimate.n == seeds else f"{text} ({estimate.n} of {seeds} seeds)"


def _number(value: float, sign: str = "") -> str:
    """Write three significant digits, and large numbers whole."""
    return format(value, f"{sign},.0f" if abs(value) >= FOUR_DIGITS else f"{sign}.3g")


def _difference(difference: Difference | None, seeds: int) -> str:
    if difference is None:
        return ""
    text = escape(_interval(difference.estimate, seeds, "+"))
    return f"[bold]{text}[/]" if difference.estimate.excludes_zero else text


def _summary(campaign: Campaign) -> dict[str, Any]:
    """Give means and differences of every metric as plain values."""
    first = campaign.variants[0]
    return {
        "scenario": campaign.scenario,
        "seeds": list(campaign.seeds),
        "variants": [
            {
                **asdict(variant),
                "means": {m: _plain(campaign.summary(variant, m)) for m in campaign.metrics},
                "minus_first": {
                    m: _plain(difference.estimate)
                    for m in campaign.metrics
                    if variant != first and (difference := campaign.difference(variant, first, m))
                },
            }
            for variant in campaign.variants
        ],
    }


def _plain(estimate: Estimate | None) -> dict[str, float | None] | None:
    """Give an estimate as plain values; one seed's value has no interval."""
    if estimate is None:
        return None
    return asdict(estimate) | ({"low": None, "high": None} if estimate.n < 2 else {})
