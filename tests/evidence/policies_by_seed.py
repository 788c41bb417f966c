"""Policies over paired seeds: what each is worth against `bent_pipe`, with 95 % intervals.

Run from the repository's root::

    python tests/evidence/policies_by_seed.py [--scenario downlink_limited] [--seeds 20]
        [--policies bent_pipe,prune,prioritise,reschedule] [--model NAME] [--out DIR]

The first policy is the baseline. Every seed is one weather and one choice of scenes, the same for
all policies; differences are taken seed by seed (bootstrap, BCa). Times until a target is
satisfied are Kaplan-Meier quantiles over the targets of all seeds; a target that is not satisfied
by the end is censored there. `inf` says that the quantile is not reached within the mission.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from simulator.campaign import Campaign, Variant, compare
from simulator.telemetry.metrics import satisfied_times_s, target_cloud_limits
from simulator.telemetry.run_folder import RunFolder

SHOWN = (
    "clear_km2_delivered",
    "clear_fraction_delivered",
    "targets_satisfied_fraction",
    "time_to_clear_h_restricted_mean",
    "delivery_latency_h_p50",
    "payload_energy_wh",
)
QUANTILES = (0.5, 0.9)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the campaign and print its figures."""
    asked = _arguments(arguments)
    out = Path(asked.out or tempfile.mkdtemp(prefix="policies-"))
    campaign = compare(
        asked.scenario,
        out,
        policies=asked.policies.split(","),
        models=[asked.model] if asked.model else (),
        seeds=asked.seeds,
        progress=lambda done, total, label: print(f"{done}/{total} {label}", flush=True),
    )
    print(f"{asked.scenario}, {len(campaign.seeds)} paired seeds, runs in {out}")
    baseline = campaign.variants[0]
    for variant in campaign.variants:
        print(f"\n{variant.label}")
        for metric in SHOWN:
            print(f"  {metric:34s} {_line(campaign, variant, baseline, metric)}")
        waits_h = kaplan_meier_h(campaign, variant, out)
        shown = ", ".join(
            f"p{100 * q:.0f} {w:.1f} h" for q, w in zip(QUANTILES, waits_h, strict=True)
        )
        print(f"  {'time to clear (Kaplan-Meier)':34s} {shown}")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="downlink_limited")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--policies", default="bent_pipe,prune,prioritise,reschedule")
    parser.add_argument("--model", default="")
    parser.add_argument("--out", default="")
    return parser.parse_args(arguments)


def _line(campaign: Campaign, variant: Variant, baseline: Variant, metric: str) -> str:
    mean = campaign.summary(variant, metric)
    if mean is None:
        return "-"
    text = f"{mean.mean:10.4g} [{mean.low:.4g}, {mean.high:.4g}]"
    difference = campaign.difference(variant, baseline, metric)
    if variant == baseline or difference is None:
        return text
    gain = difference.estimate
    return f"{text}   against baseline {gain.mean:+.4g} [{gain.low:+.4g}, {gain.high:+.4g}]"


def kaplan_meier_h(campaign: Campaign, variant: Variant, out: Path) -> list[float]:
    """Quantiles of the time until a target is satisfied, all seeds together."""
    satisfied: list[float] = []
    censored: list[float] = []
    for record in campaign.runs:
        if record.variant == variant:
            run = RunFolder.open(out / record.folder)
            times_s = list(satisfied_times_s(run).values())
            satisfied += times_s
            censored += [run.horizon_s] * (len(target_cloud_limits(run)) - len(times_s))
    if not satisfied:
        return [math.inf for _ in QUANTILES]
    survival = stats.ecdf(stats.CensoredData(uncensored=satisfied, right=censored)).sf
    waits_h = []
    for quantile in QUANTILES:
        reached = survival.quantiles[survival.probabilities <= 1.0 - quantile + 1e-12]
        waits_h.append(float(np.min(reached)) / 3600.0 if len(reached) else math.inf)
    return waits_h


if __name__ == "__main__":
    main()
