"""Many runs: models x devices x policies x seeds, paired by seed and compared.

Every random draw of a run is keyed by its seed, so two runs of one seed see the same weather and
the same scenes: their difference is what the variant changed. A comparison takes the differences
seed by seed and gives their mean with a 95 % confidence interval (bootstrap over seeds, BCa, from
SciPy). A campaign folder holds one run folder per run, ``asked.json`` from the start
(`simulator.comparison`) and ``campaign.json`` at the end.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from payload.whole_file import finished_or_nothing
from simulator.comparison import (
    ASKED_NAME,
    CampaignError,
    Variant,
    asked_of,
    begun,
    holds,
    overrides_of,
)
from simulator.earlier_runs import earlier_run
from simulator.mission import run_mission
from simulator.scenario import load_scenario
from simulator.scenario.loading import bundled_scenarios, scenario_path
from simulator.telemetry.run_folder import RunFolder
from simulator.telemetry.runs import CAMPAIGN_NAME, short_names
from simulator.workers import call_each

CONFIDENCE = 0.95
RESAMPLES = 5000

ENOUGH_SEEDS = 10
"""From so many seeds on an interval may be taken at its word. Of 400 samples of a normal variable,
the 95 % intervals of 3 values held the mean in 71 %, of 5 in 84 %, of 10 in 91 %, of 20 in 93 %."""


@dataclass(frozen=True)
class RunRecord:
    """One run of a campaign and its metrics (flat names, None where undefined)."""

    variant: Variant
    seed: int
    folder: str
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval; `n` seeds gave a value."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0; one value has none."""
        return self.n > 1 and (self.low > 0.0 or self.high < 0.0)


@dataclass(frozen=True)
class Difference:
    """Paired difference of one metric: `variant` minus `baseline`."""

    variant: Variant
    baseline: Variant
    metric: str
    estimate: Estimate


@dataclass(frozen=True)
class Campaign:
    """All runs of a comparison, in the order of variants, then seeds."""

    scenario: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    runs: tuple[RunRecord, ...]

    def values(self, variant: Variant, metric: str) -> list[float | None]:
        """A metric of one variant, by seed."""
        return [r.metrics.get(metric) for r in self.runs if r.variant == variant]

    @property
    def labels(self) -> dict[Variant, str]:
        """Short names of the variants: what differs between them."""
        kinds = ("policy", "model", "device")
        differing = [k for k in kinds if len({getattr(v, k) for v in self.variants}) > 1]
        shown = {k: short_names([getattr(v, k) for v in self.variants]) for k in kinds}
        return {
            variant: " / ".join(
                shown[kind][getattr(variant, kind)] for kind in differing or kinds[:1]
            )
            for variant in self.variants
        }

    @property
    def warning(self) -> str:
        """Why the intervals are not to be taken at their word, as a sentence; mostly empty."""
        return self.warning_of(self.metrics)

    def warning_of(self, metrics: Sequence[str]) -> str:
        """The same of some metrics: few seeds were flown, or few have a value."""
        count = len(self.seeds)
        if count < 2:
            return ""
        if count < ENOUGH_SEEDS:
            return (
                f"{count} seeds are few: their intervals are too narrow and miss the true mean "
                "more often than 5 times in 100. Give 20 seeds for a verdict."
            )
        least = {name: least for name in metrics if 0 < (least := self.least(name)) < ENOUGH_SEEDS}
        if not least:
            return ""
        name = min(least, key=least.__getitem__)
        others = f" (and {len(least) - 1} more metrics in few)" if len(least) > 1 else ""
        return (
            f"{name} has a value in {least[name]} of {count} seeds only{others}: such intervals "
            "are too narrow, and seeds without a value are left out. Do not judge by them."
        )

    def least(self, metric: str) -> int:
        """Fewest seeds that a mean or a difference rests on, of those that rest on any."""
        known = [
            {seed for seed, v in enumerate(self.values(u, metric)) if v is not None}
            for u in self.variants
        ]
        return min((len(one & two) for one in known for two in known if one & two), default=0)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics that some run has."""
        return tuple(dict.fromkeys(name for run in self.runs for name in run.metrics))

    def summary(self, variant: Variant, metric: str) -> Estimate | None:
        """Mean of a metric over seeds."""
        return estimate([v for v in self.values(variant, metric) if v is not None])

    def difference(self, variant: Variant, baseline: Variant, metric: str) -> Difference | None:
        """Paired difference over the seeds in which both have a value."""
        pairs = zip(self.values(variant, metric), self.values(baseline, metric), strict=True)
        paired = [a - b for a, b in pairs if a is not None and b is not None]
        found = estimate(paired)
        return None if found is None else Difference(variant, baseline, metric, found)


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and 95 % bootstrap interval (BCa); None without values.

    With one value, or where all are equal, the interval is the value itself.
    """
    if not values:
        return None
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) == 1 or float(np.ptp(sample)) == 0.0:
        return Estimate(mean, mean, mean, len(sample))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (sample,),
            np.mean,
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            rng=np.random.default_rng(0),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    if math.isnan(low) or math.isnan(high):  # nearly all values equal: BCa has no answer
        half = float(stats.sem(sample) * stats.t.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1))
        low, high = mean - half, mean + half
    return Estimate(mean, low, high, len(sample))


def compare(
    scenario_name: str,
    out_dir: Path,
    *,
    models: Sequence[str] = (),
    devices: Sequence[str] = (),
    policies: Sequence[str] = (),
    seeds: int = 5,
    executor: Executor | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Campaign:
    """Run every variant with every seed on all cores and pair the results.

    Where `out_dir` holds the very same comparison and it was not finished, complete runs in it are
    taken as they lie.

    Parameters
    ----------
    scenario_name : str
        A scenario file or bundled name.
    out_dir : Path
        Campaign folder.
    models, devices, policies : sequence of str
    seeds : int
        Number of seeds, counted up from the scenario's own.
    executor : concurrent.futures.Executor, optional
        Where runs go; a process pool on this machine by default, or `simulator.cluster.cluster`.
    progress : callable, optional
        ``progress(done, total, label)``.

    Raises
    ------
    CampaignError
        When `seeds` is not positive, `out_dir` holds another comparison that is finished or can go
        on, a worker process dies, or what it flew is not found in `out_dir`.
    """
    asked = asked_of(scenario_name, models=models, devices=devices, policies=policies, seeds=seeds)
    finished, ours = (out_dir / CAMPAIGN_NAME).exists(), holds(out_dir, asked)
    if not ours and (finished or begun(out_dir)):
        raise CampaignError(
            f"{out_dir} holds another comparison, which would be lost; name another folder (--out)"
        )
    going_on = ours and not finished
    out_dir.mkdir(parents=True, exist_ok=True)
    _write_whole(out_dir / ASKED_NAME, asked.to_json())
    jobs = list(itertools.product(asked.variants, asked.seeds))
    records: dict[tuple[Variant, int], RunRecord] = {}

    def take(job: tuple[Variant, int], record: RunRecord) -> None:
        if not (out_dir / record.folder).is_dir():
            raise CampaignError(
                f"{out_dir / record.folder}: a worker flew it and it is not here; give workers the "
                "same folder under the same name (--out), such as on a shared disk"
            )
        records[job] = record
        if progress is not None:
            progress(len(records), len(jobs), record.variant.label)

    named, folder = _seen_anywhere(scenario_name), out_dir.resolve()
    calls = {job: (named, *job, folder, going_on) for job in jobs}
    try:
        call_each(run_variant, calls, take, executor=executor)
    except BrokenExecutor:
        left = "all of them anew" if finished else "the missing ones only"
        raise CampaignError(
            f"a worker process was killed, most likely for want of memory, after {len(records)} "
            f"of {len(jobs)} missions. These are kept in {out_dir}: close other programs and give "
            f"the same command again; it flies {left}."
        ) from None
    runs = tuple(records[job] for job in jobs)
    campaign = Campaign(asked.scenario, asked.variants, asked.seeds, runs)
    write_campaign(campaign, out_dir)
    return campaign


def _seen_anywhere(scenario_name: str) -> str:
    """The name of a bundled scenario, or the whole path of a file: workers stand elsewhere."""
    path = scenario_path(scenario_name)
    return scenario_name if path in bundled_scenarios().values() else str(path.resolve())


def run_variant(
    scenario_name: str, variant: Variant, seed: int, out_dir: Path, going_on: bool = False
) -> RunRecord:
    """Run one variant with one seed (in a worker process), unless it lies there when going on."""
    scenario = load_scenario(scenario_name)
    scenario = load_scenario(scenario_name, overrides_of(scenario, variant, seed))
    earlier = earlier_run(scenario, out_dir) if going_on else None
    folder = earlier or run_mission(scenario, out_dir)
    return RunRecord(variant, seed, folder.name, flat_metrics(RunFolder.open(folder).metrics()))


def flat_metrics(metrics: Mapping[str, object], prefix: str = "") -> dict[str, float | None]:
    """Metrics as one level of numbers: ``time_to_clear_h.median``."""
    flat: dict[str, float | None] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= flat_metrics(value, f"{prefix}{name}.")
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            flat[prefix + name] = None if value is None else float(value)
    return flat


def write_campaign(campaign: Campaign, out_dir: Path) -> None:
    """Write ``campaign.json`` (whole or not at all)."""
    text = json.dumps(dataclasses.asdict(campaign), indent=1) + "\n"
    _write_whole(out_dir / CAMPAIGN_NAME, text)


def _write_whole(path: Path, text: str) -> None:
    with finished_or_nothing(path) as file:
        file.write(text.encode("utf-8"))


def read_campaign(folder: Path) -> Campaign:
    """Read a campaign folder.

    Raises
    ------
    CampaignError
        When ``campaign.json`` is missing, cannot be read or is damaged, or lacks a run.
    """
    path = folder / CAMPAIGN_NAME
    try:
        campaign = TypeAdapter(Campaign).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CampaignError(
            f"{folder}: no {CAMPAIGN_NAME}; give a folder that `nephoscope compare --out` wrote"
        ) from None
    except OSError as error:
        raise CampaignError(
            f"{path}: cannot be read ({error.strerror}); make it readable, or run the comparison "
            "again into another folder"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CampaignError(
            f"{path}: not a campaign file ({where}: {first['msg']}); run the comparison again"
        ) from None
    flown = [(run.variant, run.seed) for run in campaign.runs]
    asked = list(itertools.product(campaign.variants, campaign.seeds))
    if not asked or flown != asked:  # values are paired by their place
        raise CampaignError(
            f"{path}: {len(flown)} runs are not those of {len(campaign.variants)} variants with "
            f"{len(campaign.seeds)} seeds each; run the comparison again"
        )
    return campaign
