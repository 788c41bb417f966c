"""One mission flown under many settings and seeds: what each field moves, paired by seed.

A `Setting` is a label and the scenario fields it replaces. Every setting is flown with every seed;
runs of one seed see the same weather and scenes, so a difference taken seed by seed is what the
setting changed. Beside the metrics of a run a caller may harvest more from its folder, which can be
deleted afterwards: a study of hundreds of missions keeps its numbers, not its pictures.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.campaign import Estimate, estimate, flat_metrics
from simulator.mission import run_mission
from simulator.scenario import load_scenario
from simulator.telemetry.run_folder import RunFolder
from simulator.workers import call_each

Harvest = Callable[[RunFolder], Mapping[str, Any]]
"""Takes more from a run than its metrics; a function of a module, because workers import it."""


LABEL_IN_NAME = 80
"""So much of a label stands in the name of a folder, which may not be longer than 255 bytes."""


@dataclass(frozen=True)
class Setting:
    """Scenario fields by dotted name, and what to call them together."""

    label: str
    overrides: Mapping[str, object]


@dataclass(frozen=True)
class SweepRun:
    """One run: metrics by flat name, and what was harvested."""

    label: str
    seed: int
    metrics: Mapping[str, float | None]
    harvest: Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """All runs, in the order of settings, then seeds."""

    scenario: str
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    runs: tuple[SweepRun, ...]

    def of(self, label: str) -> tuple[SweepRun, ...]:
        """Runs of one setting, by seed."""
        return tuple(run for run in self.runs if run.label == label)

    def values(self, label: str, metric: str) -> list[float | None]:
        """A metric of one setting, by seed."""
        return [run.metrics.get(metric) for run in self.of(label)]

    def summary(self, label: str, metric: str) -> Estimate | None:
        """Mean over seeds with its 95 % interval."""
        return estimate([v for v in self.values(label, metric) if v is not None])

    def difference(self, label: str, baseline: str, metric: str) -> Estimate | None:
        """Mean paired difference with its 95 % interval."""
        return self.paired(label, baseline, metric, lambda a, b: a - b)

    def paired(
        self, label: str, baseline: str, metric: str, compare: Callable[[float, float], float]
    ) -> Estimate | None:
        """Mean over seeds of a comparison of two settings; seeds without a value are left out."""
        pairs = zip(self.values(label, metric), self.values(baseline, metric), strict=True)
        values = [compare(a, b) for a, b in pairs if a is not None and b is not None]
        return estimate([value for value in values if math.isfinite(value)])


def sweep(
    scenario: str,
    settings: Sequence[Setting],
    seeds: int,
    out_dir: Path,
    *,
    jobs: int = 0,
    harvest: Harvest | None = None,
    keep_runs: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> Sweep:
    """Fly every setting with every seed.

    When a mission fails no further one begins; the runs of those that are done lie where they are.

    Parameters
    ----------
    scenario : str
        A scenario file or bundled name.
    settings : sequence of Setting
        Labels must differ.
    seeds : int
        Number of seeds, counted up from the scenario's own.
    out_dir : Path
        Where run folders go.
    jobs : int
        Processes; 0 for one per core, 1 for none but this.
    harvest : callable, optional
    keep_runs : bool
        Whether run folders stay.
    progress : callable, optional
        ``progress(done, total, label)``.

    Raises
    ------
    ValueError
        When two settings have one label; nothing has been simulated then.
    ScenarioError
        When a setting cannot be flown; nothing has been simulated then.
    """
    for label, count in Counter(setting.label for setting in settings).items():
        if count > 1:
            raise ValueError(
                f"settings: {count} have the label {label!r}, by which runs are told apart; give "
                "each a label of its own"
            )
    first = load_scenario(scenario).seed
    for setting in settings:  # a misspelt field or a seed too far must cost nothing
        load_scenario(scenario, {"seed": first + max(seeds - 1, 0)} | dict(setting.overrides))
    asked = list(itertools.product(settings, range(first, first + seeds)))
    folders = {s.label: out_dir / _folder_name(n, s) for n, s in enumerate(settings, start=1)}
    out_dir.mkdir(parents=True, exist_ok=True)
    done: dict[tuple[str, int], SweepRun] = {}

    def take(run: SweepRun) -> None:
        done[run.label, run.seed] = run
        if progress is not None:
            progress(len(done), len(asked), f"{run.label}, seed {run.seed}")

    if jobs == 1:
        for setting, seed in asked:
            take(fly(scenario, setting, seed, folders[setting.label], harvest, keep_runs))
    else:
        calls = {
            (setting.label, seed): (
                scenario, setting, seed, folders[setting.label], harvest, keep_runs,
            )
            for setting, seed in asked
        }  # fmt: skip
        call_each(fly, calls, lambda _, run: take(run), workers=jobs)
    return Sweep(
        scenario,
        tuple(settings),
        tuple(range(first, first + seeds)),
        tuple(done[setting.label, seed] for setting, seed in asked),
    )


def _folder_name(number: int, setting: Setting) -> str:
    """Where the runs of a setting go: settings may come to the same scenario, and so to one name.

    The number tells them apart, since labels may differ in nothing but what no folder is called by.
    """
    label = re.sub(r"[^\w.=-]+", "_", setting.label)[:LABEL_IN_NAME]
    return f"{number}-{label}"


def fly(
    scenario: str,
    setting: Setting,
    seed: int,
    out_dir: Path,
    harvest: Harvest | None,
    keep_run: bool,
) -> SweepRun:
    """Fly one setting with one seed (in a worker process)."""
    loaded = load_scenario(scenario, {"seed": seed} | dict(setting.overrides))
    folder = run_mission(loaded, out_dir)
    run = RunFolder.open(folder)
    taken = {} if harvest is None else dict(harvest(run))
    flown = SweepRun(setting.label, seed, flat_metrics(run.metrics()), taken)
    if not keep_run:
        shutil.rmtree(folder)
    return flown


def bootstrap_interval(
    statistic: Callable[[Sequence[int]], float], size: int, *, resamples: int = 2000
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of indices drawn with replacement.

    For what is computed from many runs at once, such as a quantile or a crossing; values that are
    not finite count as they sort, so an interval may end at infinity.
    """
    rng = np.random.default_rng(0)
    drawn = [statistic(rng.integers(0, size, size).tolist()) for _ in range(resamples)]
    ordered = sorted(value for value in drawn if not math.isnan(value))
    if not ordered:
        return math.nan, math.nan
    last = len(ordered) - 1
    return ordered[int(0.025 * last)], ordered[math.ceil(0.975 * last)]


def write_table(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as CSV; the first one names the columns."""
    listed = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(listed[0]) if listed else [])
        writer.writeheader()
        writer.writerows(listed)
