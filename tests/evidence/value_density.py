"""Value density on a saturated link at 52 % cloud: `prune` against `bent_pipe`, and the bound.

Run from the repository's root::

    python tests/evidence/value_density.py [--seeds 5] [--model unet-distilled] [--cover 0.52]
        [--hours H] [--jobs N] [--out DIR]

Kodan (ASPLOS'23) gives +89 to +97 % data value density on a saturated downlink at 52 % cloud. What
any filter can reach follows from the cover alone: all that comes down is clear, so the gain is at
most 1 / (1 - cover) - 1, +108 % at 52 %. `downlink_limited` is flown three ways with that cover:

as it is
    the planner reads forecasts and leaves cloudy accesses out: what is captured is clearer than the
    weather, for the bent pipe too, and less is left to gain;
blind
    forecasts know nothing (sigma 1) and captures follow `fifo`: the bent pipe sees the weather as
    it is, as Kodan's does;
blind, blocks over 10 % cloud dropped
    the rest of the cloud in the kept blocks goes, at the price of clear ground.

The gain is split into factors whose product it is:

    gain + 1 = [1 / clear share the bent pipe delivered] x [clear share of the blocks a perfect mask
               keeps] x [clear share of the blocks kept / of those] x [clear share delivered / kept]

that is: the bound at the cover that was really captured, what whole blocks leave in it, the
detector's errors, and what the pass had not carried by the end. Writes ``value_density.csv``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import yaml
from campaign import fly, interval, options, out_folder, write_study
from numpy.typing import NDArray

from payload.frame import block_cover
from simulator.autonomy.policies import cloud_mask, count_blocks
from simulator.campaign import estimate
from simulator.sweep import Sweep
from simulator.telemetry.run_folder import RunFolder

KODAN = (0.89, 0.97)
WAYS: dict[str, dict[str, object]] = {
    "as it is": {},
    "blind": {"weather.forecast_sigma_24h": 1.0, "autonomy.planner": "fifo"},
    "blind, blocks over 10 % dropped": {
        "weather.forecast_sigma_24h": 1.0,
        "autonomy.planner": "fifo",
        "autonomy.block_cloud_fraction": 0.1,
    },
}
FACTORS = ("bound", "blocks", "detector", "delivery")


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly the pairs and print the comparison."""
    asked = _arguments(arguments)
    out = out_folder(asked, "value_density")
    settings = [
        (
            f"{way} / {policy}",
            {"weather.mean_cover": asked.cover, **changes, "autonomy.policy": policy},
        )
        for way, changes in WAYS.items()
        for policy in ("bent_pipe", "prune")
    ]
    study = fly(asked, settings, out, harvest=densities)
    rows = [_row(study, way) for way in WAYS]
    bound = 1.0 / (1.0 - asked.cover) - 1.0
    print(f"\n{asked.scenario} at {asked.cover:.0%} mean cover, {asked.model}, {asked.seeds} seeds")
    print(f"bound at that cover {bound:+.0%}; Kodan {KODAN[0]:+.0%} to {KODAN[1]:+.0%}")
    for row in rows:
        print(f"\n{row['way']}")
        for name, value in row.items():
            if name != "way":
                print(f"  {name:34s} {value}")
    write_study(asked, out, "value_density", rows)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__, model="unet-distilled")
    parser.add_argument("--cover", type=float, default=0.52)
    return parser.parse_args(arguments)


def densities(run: RunFolder) -> Mapping[str, float]:
    """Clear shares of what was captured, of what was kept, and of what a perfect mask keeps."""
    limit = run_limit(run)
    captures = {row["capture"]: row for row in run.events("capture").to_pylist()}
    decisions = run.events("decision").to_pylist()

    @lru_cache(maxsize=64)
    def blocks(sha256: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        truth = run.truth(sha256)
        counts = np.array([(c.clear_px, c.cloud_px) for c in count_blocks(truth)])
        return counts, block_cover(cloud_mask(truth)).ravel() <= limit

    perfect = np.zeros(2, dtype=np.int64)
    for row in decisions:
        counts, keep = blocks(captures[row["capture"]]["truth_sha256"])
        perfect += counts[keep].sum(axis=0)
    captured, kept = (
        [sum(row[f"{kind}_px{end}"] for row in decisions) for kind in ("clear", "cloud")]
        for end in ("", "_kept")
    )
    return {
        "captured": captured[0] / sum(captured),
        "kept": kept[0] / max(sum(kept), 1),
        "perfect": float(perfect[0] / max(perfect.sum(), 1)),
    }


def run_limit(run: RunFolder) -> float:
    """The scenario's block limit."""
    return float(yaml.safe_load(run.scenario_yaml)["autonomy"]["block_cloud_fraction"])


def _row(study: Sweep, way: str) -> dict[str, object]:
    pipe, prune = study.of(f"{way} / bent_pipe"), study.of(f"{way} / prune")
    densities_of = [
        (run.metrics["clear_fraction_delivered"] or 0.0, sent.metrics["clear_fraction_delivered"])
        for run, sent in zip(prune, pipe, strict=True)
    ]
    gains = [one / other - 1.0 for one, other in densities_of if other]
    factors = {
        "bound": [1.0 / other for _, other in densities_of if other],
        "blocks": [run.harvest["perfect"] for run in prune],
        "detector": [run.harvest["kept"] / run.harvest["perfect"] for run in prune],
        "delivery": [
            one / run.harvest["kept"] for (one, _), run in zip(densities_of, prune, strict=True)
        ],
    }
    row: dict[str, object] = {
        "way": way,
        "cover captured by bent_pipe": interval(
            estimate([1 - run.harvest["captured"] for run in pipe]), ".3f"
        ),
        "utilisation of bent_pipe": interval(
            study.summary(pipe[0].label, "station_utilisation"), ".3f"
        ),
        "utilisation of prune": interval(
            study.summary(prune[0].label, "station_utilisation"), ".3f"
        ),
        "density of bent_pipe": interval(
            study.summary(pipe[0].label, "clear_fraction_delivered"), ".3f"
        ),
        "density of prune": interval(
            study.summary(prune[0].label, "clear_fraction_delivered"), ".3f"
        ),
        "gain in density": interval(estimate(gains), "+.1%"),
        "clear km2, prune - bent_pipe": interval(
            study.difference(prune[0].label, pipe[0].label, "clear_km2_delivered"), "+.0f"
        ),
    }
    return row | {f"factor {name}": interval(estimate(factors[name]), ".3f") for name in FACTORS}


if __name__ == "__main__":
    main()
