"""Policies over paired seeds: what each is worth against `bent_pipe`, with 95 % intervals.

Run from the repository's root::

    python tests/evidence/policies_by_seed.py [--scenario downlink_limited] [--seeds 20]
        [--policies bent_pipe,reschedule] [--model NAME] [--screening perfect] [--hours H]
        [--jobs N] [--out DIR]

The first policy is the baseline. With `bent_pipe` it is the honest competitor: everything is sent,
clouds are found on the ground after downlink (by the truth, or by the model `--screening` names),
and a cloudy target is asked for again after the ground's delay by the next uplink pass. Every seed
is one weather and one choice of scenes, the same for all policies; differences are taken seed by
seed (bootstrap, BCa). Times until a target is satisfied are Kaplan-Meier quantiles over the targets
of all seeds, a target that is not satisfied by the end censored there; their intervals, and those
of the differences, resample whole seeds. `inf` says that the quantile is not reached within the
mission. Writes ``policies_by_seed.csv``, and ``policies_by_seed.html`` with the curves.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from campaign import fly, interval, names, options, out_folder, write_study
from scipy import stats

from simulator.sweep import Sweep, bootstrap_interval
from simulator.telemetry.metrics import satisfied_times_s, target_cloud_limits
from simulator.telemetry.run_folder import RunFolder

SHOWN = (
    "clear_km2_delivered",
    "clear_fraction_delivered",
    "targets_satisfied_fraction",
    "time_to_clear_h_restricted_mean",
    "delivery_latency_h_p50",
    "payload_energy_wh",
    "station_utilisation",
)
QUANTILES = (0.1, 0.25, 0.5, 0.9)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly the campaign, print its figures, write its table and curves."""
    asked = _arguments(arguments)
    out, policies = out_folder(asked, "policies_by_seed"), asked.policies
    settings = [
        (policy, {"ground.screening": asked.screening, "autonomy.policy": policy})
        for policy in policies
    ]
    study = fly(asked, settings, out, harvest=waits)
    print(f"{asked.scenario}, {asked.seeds} paired seeds, screening {asked.screening}")
    rows = []
    for policy in policies:
        print(f"\n{policy}")
        for metric in SHOWN:
            print(f"  {metric:34s} {_line(study, policy, policies[0], metric)}")
        rows += [_quantile_row(study, policy, policies[0], q) for q in QUANTILES]
        for row in rows[-len(QUANTILES) :]:
            print(f"  {row['quantity']:34s} " + _quantile_line(row))
    write_study(asked, out, "policies_by_seed", rows, _curves(study, policies))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__, seeds=20)
    parser.add_argument(
        "--policies", type=names, default=names("bent_pipe,prune,prioritise,reschedule")
    )
    parser.add_argument("--screening", default="perfect")
    return parser.parse_args(arguments)


def waits(run: RunFolder) -> Mapping[str, Any]:
    """When targets were satisfied, how many there are, and until when they were watched."""
    return {
        "satisfied_s": list(satisfied_times_s(run).values()),
        "targets": len(target_cloud_limits(run)),
        "horizon_s": run.horizon_s,
    }


def survival(harvests: Sequence[Mapping[str, Any]]) -> Any:
    """Kaplan-Meier estimate over the targets of some runs; None where none was satisfied."""
    satisfied = [t_s for run in harvests for t_s in run["satisfied_s"]]
    censored = [
        run["horizon_s"]
        for run in harvests
        for _ in range(run["targets"] - len(run["satisfied_s"]))
    ]
    if not satisfied:
        return None
    return stats.ecdf(stats.CensoredData(uncensored=satisfied, right=censored)).sf


def wait_h(harvests: Sequence[Mapping[str, Any]], quantile: float) -> float:
    """Hours until this part of the targets is satisfied; infinite where it never is."""
    curve = survival(harvests)
    if curve is None:
        return math.inf
    reached = curve.quantiles[curve.probabilities <= 1.0 - quantile + 1e-12]
    return float(np.min(reached)) / 3600.0 if len(reached) else math.inf


def _quantile_row(study: Sweep, policy: str, baseline: str, quantile: float) -> dict[str, object]:
    own, other = ([run.harvest for run in study.of(name)] for name in (policy, baseline))

    def picked(seeds: Sequence[int], harvests: Sequence[Mapping[str, Any]]) -> float:
        return wait_h([harvests[i] for i in seeds], quantile)

    def gained(seeds: Sequence[int]) -> float:
        one, two = picked(seeds, own), picked(seeds, other)
        return math.nan if math.isinf(one) and math.isinf(two) else one - two

    everyone = range(len(own))
    low, high = bootstrap_interval(lambda seeds: picked(seeds, own), len(own), resamples=500)
    gain = gained(everyone)
    gain_low, gain_high = (
        (math.nan, math.nan)  # reached by neither: resamples that do would mislead
        if math.isnan(gain)
        else bootstrap_interval(gained, len(own), resamples=500)
    )
    return {
        "policy": policy,
        "quantity": f"time to clear p{100 * quantile:.0f} (h)",
        "value": picked(everyone, own),
        "low": low,
        "high": high,
        "against baseline": gain,
        "gain low": gain_low,
        "gain high": gain_high,
    }


def _quantile_line(row: Mapping[str, object]) -> str:
    value, low, high, gain, gain_low, gain_high = (
        float(row[name])  # type: ignore[arg-type]
        for name in ("value", "low", "high", "against baseline", "gain low", "gain high")
    )
    return (
        f"{f'{value:.4g} [{low:.4g}, {high:.4g}]':>28s}   against baseline {gain:+.4g} "
        f"[{gain_low:+.4g}, {gain_high:+.4g}]"
    )


def _line(study: Sweep, policy: str, baseline: str, metric: str) -> str:
    text = f"{interval(study.summary(policy, metric)):>28s}"
    gain = study.difference(policy, baseline, metric)
    if policy == baseline or gain is None:
        return text
    return f"{text}   against baseline {interval(gain, '+.4g')}"


def _curves(study: Sweep, policies: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    for policy in policies:
        curve = survival([run.harvest for run in study.of(policy)])
        if curve is not None:
            figure.add_scatter(
                x=np.concatenate([[0.0], curve.quantiles / 3600.0]),
                y=np.concatenate([[0.0], 1.0 - curve.probabilities]),
                line={"shape": "hv"},
                name=policy,
            )
    return figure.update_layout(
        title="Targets satisfied over time (Kaplan-Meier, all seeds)",
        xaxis_title="hours since the epoch",
        yaxis_title="part of the targets",
    )


if __name__ == "__main__":
    main()
