"""From which cloud cover, downlink rate or price of energy on detection on board pays.

Run from the repository's root::

    python tests/evidence/break_even.py [--scenario downlink_limited] [--seeds 5] [--model NAME]
        [--policy prune] [--baseline bent_pipe] [--covers 0.05,0.2,0.35,0.5,0.65,0.8]
        [--rates 0.5,1,2,4,8] [--metric clear_km2_delivered] [--hours H] [--jobs N] [--out DIR]

The policy and the baseline are flown with the same seeds at each mean cover and at each rate. The
break-even is where the paired gain crosses zero, by straight lines between the points; its interval
is a bootstrap over seeds. The price of energy is the gain in clear km2 per watt-hour that the
payload computer took: detection pays where a watt-hour, used otherwise, would bring less. Writes
``break_even.csv`` and ``break_even.html``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from campaign import (
    columns,
    fly,
    numbers,
    options,
    out_folder,
    print_rows,
    values,
    whiskers,
    write_study,
)
from plotly.subplots import make_subplots

from simulator.sweep import Sweep, bootstrap_interval

AXES = {"cover": "weather.mean_cover", "rate_mbps": "satellites.*.radio.rate_mbps"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly the study, write its table and figure."""
    asked = _arguments(arguments)
    out = out_folder(asked, "break_even")
    points = {"cover": asked.covers, "rate_mbps": asked.rates}
    settings = [
        (f"{axis}={value:g} {policy}", {AXES[axis]: value, "autonomy.policy": policy})
        for axis, flown in points.items()
        for value in flown
        for policy in (asked.baseline, asked.policy)
    ]
    study = fly(asked, settings, out)
    rows = [_row(study, axis, value, asked) for axis, flown in points.items() for value in flown]
    print_rows(rows)
    for axis, flown in points.items():
        gains = np.array([_gains(study, axis, value, asked) for value in flown])
        at = crossing(flown, gains.mean(axis=1).tolist())
        low, high = bootstrap_interval(
            lambda seeds, flown=flown, gains=gains: crossing(  # type: ignore[misc]
                flown, gains[:, list(seeds)].mean(axis=1).tolist()
            ),
            asked.seeds,
        )
        print(
            f"break-even in {axis}: {_break_even(at, gains.mean(axis=1))} [{low:.3g}, {high:.3g}]"
        )
    write_study(asked, out, "break_even", rows, _figure(rows, asked.metric))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--policy", default="prune")
    parser.add_argument("--baseline", default="bent_pipe")
    parser.add_argument("--metric", default="clear_km2_delivered")
    parser.add_argument("--covers", type=numbers, default=numbers("0.05,0.2,0.35,0.5,0.65,0.8"))
    parser.add_argument("--rates", type=numbers, default=numbers("0.5,1,2,4,8"))
    return parser.parse_args(arguments)


def _gains(study: Sweep, axis: str, value: float, asked: argparse.Namespace) -> list[float]:
    """Gain of the policy over the baseline, by seed."""
    pairs = zip(
        study.values(f"{axis}={value:g} {asked.policy}", asked.metric),
        study.values(f"{axis}={value:g} {asked.baseline}", asked.metric),
        strict=True,
    )
    return [math.nan if a is None or b is None else a - b for a, b in pairs]


def crossing(values: Sequence[float], gains: Sequence[float]) -> float:
    """Where the gain first changes sign, by straight lines; infinite where it never does."""
    for (x0, g0), (x1, g1) in zip(
        zip(values, gains, strict=True), zip(values[1:], gains[1:], strict=True), strict=False
    ):
        if g0 == 0.0:
            return x0
        if g0 * g1 < 0.0:
            return x0 + (x1 - x0) * g0 / (g0 - g1)
    return math.inf


def _break_even(at: float, gains: Sequence[float]) -> str:
    if math.isfinite(at):
        return f"{at:.3g} (pays {'below' if gains[0] > 0 else 'above'})"
    return "none in this range: it pays everywhere" if gains[0] > 0 else "none: it never pays"


def _row(study: Sweep, axis: str, value: float, asked: argparse.Namespace) -> dict[str, object]:
    policy, baseline = (f"{axis}={value:g} {name}" for name in (asked.policy, asked.baseline))
    row: dict[str, object] = {"axis": axis, "value": value}
    for name, label in (("baseline", baseline), ("policy", policy)):
        found = study.summary(label, asked.metric)
        row[name] = None if found is None else found.mean
    row |= columns("gain", study.difference(policy, baseline, asked.metric))
    gains = np.array(_gains(study, axis, value, asked))
    energy_wh = np.array(study.values(policy, "payload_energy_wh"), dtype=float)
    low, high = bootstrap_interval(
        lambda seeds: float(gains[list(seeds)].sum() / energy_wh[list(seeds)].sum()), asked.seeds
    )
    return row | {
        "gain_per_wh": float(gains.sum() / energy_wh.sum()),
        "gain_per_wh low": low,
        "gain_per_wh high": high,
    }


def _figure(rows: Sequence[dict[str, object]], metric: str) -> go.Figure:
    axes = list(dict.fromkeys(str(row["axis"]) for row in rows))
    figure = make_subplots(rows=1, cols=len(axes), subplot_titles=[AXES[axis] for axis in axes])
    for column, axis in enumerate(axes, start=1):
        own = [row for row in rows if row["axis"] == axis and row["gain"] is not None]
        figure.add_scatter(
            x=values(own, "value"),
            y=values(own, "gain"),
            error_y=whiskers(own, "gain"),
            name=axis,
            row=1,
            col=column,
        )
        figure.add_hline(y=0.0, row=1, col=column)
    return figure.update_layout(title=f"Gain in {metric} over the baseline, 95 % over seeds")


if __name__ == "__main__":
    main()
