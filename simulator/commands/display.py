"""How results and refusals look in a terminal: tables on stdout, everything else on stderr.

Nothing here computes. What is for programs is plain JSON; what is for people fits one screen
where it can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from simulator.scenario.problems import Problem
    from simulator.telemetry.metrics import MetricInfo
    from simulator.telemetry.runs import RunSummary

PROBLEMS_SHOWN = 4
"""As many fit on a screen of 24 lines."""

STATE_STYLE = {"complete": "green", "running": "cyan", "unreadable": "red"}

VALUE_WITHOUT_FEATURE: Mapping[str, object] = {
    "compression_ratio": 1.0,
    "previews_delivered": 0,
    "pixels_released": 0,
    "plan_gap_fraction": None,
    "glances": 0,
    "look_ahead_energy_wh": 0.0,
    "periods_due": 0,
    "periods_satisfied_fraction": None,
    "area_coverage_fraction": None,
    "area_coverage_fraction_by_area": {},
}
"""What a metric is in a mission that does not fly the feature it measures; such rows are left out
of the table for people. JSON has them all."""


UNBOUNDED = Console(width=10_000)
"""What a table is measured on."""


class Report(Protocol):
    """Called by long work with the share done (0..1) and what is being done."""

    def __call__(self, fraction: float, text: str, /) -> None: ...


def out() -> Console:
    """Return the console of results."""
    return Console(highlight=False)


def print_uncut(table: Table) -> None:
    """Print a table at its own width where the terminal is narrower: no number is ever cut."""
    console = out()
    widest = Measurement.get(UNBOUNDED, UNBOUNDED.options, table).maximum
    if console.width < widest:
        console = Console(highlight=False, width=widest)
    console.print(table)


def err() -> Console:
    """Return the console of messages."""
    return Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print one JSON document; numbers that are no numbers become null."""
    print(json.dumps(value, indent=2, default=str, allow_nan=False))


def refuse(message: str) -> None:
    """Print one sentence on why it was not done."""
    err().print(f"[bold red]error:[/] {escape(message)}")


def refuse_scenario(problems: Sequence[Problem]) -> None:
    """Print what is wrong with a scenario: place, field, reason, allowed, remedy of each."""
    console = err()
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    console.print(f"[bold red]error:[/] the scenario cannot be flown: {count}")
    for problem in problems[:PROBLEMS_SHOWN]:
        _print_problem(console, problem)
    if len(problems) > PROBLEMS_SHOWN:
        console.print(f"... and {len(problems) - PROBLEMS_SHOWN} more; correct these first")


def _print_problem(console: Console, problem: Problem) -> None:
    if problem.place:
        console.print(f"[bold]{escape(problem.place)}[/]", soft_wrap=True)
    subject = ": ".join(part for part in (problem.field_path, problem.value) if part)
    if subject:
        console.print(f"  [yellow]{escape(subject)}[/]", soft_wrap=True)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label in ("reason", "allowed", "remedy"):
        text = getattr(problem, label)
        if text:
            grid.add_row(f"[dim]{label}:[/]", escape(text))
    console.print(Padding(grid, (0, 0, 0, 2)))


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Report]:
    """Show a progress bar on stderr while the block runs."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err(),
        transient=True,
        disable=not shown,
    ) as progress:
        task = progress.add_task("starting", total=1.0)

        def report(fraction: float, text: str, /) -> None:
            progress.update(task, completed=fraction, description=escape(text))

        yield report


def metrics_table(metrics: Mapping[str, Any], table: Mapping[str, MetricInfo], title: str) -> Table:
    """Lay out metrics: name, value, unit, meaning."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    shown.add_column("metric", no_wrap=True, style="cyan")
    shown.add_column("value", justify="right", no_wrap=True)
    shown.add_column("unit", no_wrap=True)
    shown.add_column("meaning", style="dim")
    for name, info in table.items():
        value = metrics.get(name)
        if name in VALUE_WITHOUT_FEATURE and value == VALUE_WITHOUT_FEATURE[name]:
            continue
        if isinstance(value, Mapping):
            shown.add_row(name, "", "", info.meaning)
            for key, part in value.items():
                shown.add_row(f"  {escape(str(key))}", _number(part), info.unit, "")
        else:
            shown.add_row(name, _number(value), info.unit, info.meaning)
    return shown


def _number(value: object) -> str:
    """Write a number with four significant digits, large ones in full."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_runs(runs: Sequence[RunSummary]) -> None:
    """Print run folders: in what state, what was flown; below, why one is not complete."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run folder", "state", "policy", "model", "seed", "started (UTC)"):
        table.add_column(column, no_wrap=True)
    for run in runs:
        manifest = run.manifest
        style = STATE_STYLE.get(run.state, "yellow")
        table.add_row(
            escape(run.path.name),
            f"[{style}]{run.state}[/]",
            escape(run.setup.policy),
            escape(", ".join(run.setup.models)),
            str(manifest.seed) if manifest else "",
            manifest.created[:16].replace("T", " ") if manifest else "",
        )
    print_uncut(table)
    for run in runs:
        if run.detail:
            out().print(f"[yellow]{escape(run.path.name)}[/]: {escape(run.detail)}")
