"""Which figure of a mission moves clear area per watt-hour most: one field at a time, paired seeds.

Run from the repository's root::

    python tests/evidence/mission_sensitivity.py [--scenario downlink_limited] [--seeds 5]
        [--model NAME] [--factor 2] [--hours H] [--jobs N] [--out DIR]

Each named field is divided and multiplied by the factor, all others stay as they are. The effect of
a field is the elasticity of the metric, ln(metric ratio) / ln(field ratio), from low to high, taken
seed by seed: 1 means that doubling the field doubles the metric. Fields that the scenario bounds
(fractions) are clipped to their range, and the ratio is that of what was flown. Writes
``mission_sensitivity.csv`` and ``mission_sensitivity.html``, a tornado of the first metric.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence

import plotly.graph_objects as go
from campaign import (
    columns,
    fixed_fields,
    fly,
    options,
    out_folder,
    values,
    whiskers,
    write_study,
)

from simulator.scenario import Scenario, load_scenario
from simulator.sweep import Sweep

FIELDS: dict[str, tuple[float, float]] = {
    "satellites.*.radio.rate_mbps": (1e-3, 1e5),
    "satellites.*.storage_gib": (1e-2, 1e5),
    "satellites.*.power.panel_area_m2": (1e-4, 200.0),
    "satellites.*.power.battery_wh": (1.0, 1e5),
    "satellites.*.agility.slew_rate_deg_s": (0.05, 30.0),
    "satellites.*.imager.max_off_nadir_deg": (1.0, 60.0),
    "satellites.*.payload.energy_limit_wh_per_orbit": (1e-3, 1e4),
    "satellites.*.payload.frame_deadline_s": (1e-2, 1e6),
    "autonomy.block_cloud_fraction": (0.0, 1.0),
    "autonomy.target_cloud_fraction": (0.0, 1.0),
    "autonomy.max_attempts": (1.0, 1000.0),
    "ground.processing_delay_h": (0.0, 8784.0),
    "weather.correlation_h": (0.1, 8784.0),
    "weather.forecast_sigma_24h": (0.0, 1.0),
}
"""Fields and the range they are clipped to."""

METRICS = ("clear_km2_per_wh", "clear_km2_delivered", "targets_satisfied_fraction")


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly the study and write its table and figure."""
    asked = _arguments(arguments)
    out = out_folder(asked, "mission_sensitivity")
    scenario = load_scenario(asked.scenario, fixed_fields(asked))
    flown = {name: _ends(scenario, name, asked.factor) for name in FIELDS}
    flown = {name: ends for name, ends in flown.items() if ends is not None}
    settings = [
        (f"{name}={value:g}", {name: value}) for name, ends in flown.items() for value in ends
    ]
    study = fly(asked, settings, out)
    rows = [_row(study, name, *ends) for name, ends in flown.items()]
    rows.sort(key=lambda row: -abs(float(row[f"{METRICS[0]} elasticity"] or 0.0)))
    print(f"\n{asked.scenario}, {asked.seeds} paired seeds, elasticities [95 %]")
    for row in rows:
        shown = "  ".join(
            f"{metric} {_number(row[f'{metric} elasticity'])} "
            f"[{_number(row[f'{metric} elasticity low'])}, "
            f"{_number(row[f'{metric} elasticity high'])}]"
            for metric in METRICS
        )
        print(f"{row['field']:48s} {row['from']:g} -> {row['to']:g}  {shown}")
    write_study(asked, out, "mission_sensitivity", rows, _tornado(rows))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--factor", type=float, default=2.0)
    return parser.parse_args(arguments)


def _ends(scenario: Scenario, name: str, factor: float) -> tuple[float, float] | None:
    """The field's low and high value; None where the scenario has no number there, or 0."""
    value: object = scenario
    for part in name.split("."):
        value = value[0] if part == "*" else getattr(value, part)  # type: ignore[index]
    if not isinstance(value, int | float) or value == 0:
        return None
    low, high = (
        min(max(v, FIELDS[name][0]), FIELDS[name][1]) for v in (value / factor, value * factor)
    )
    if isinstance(value, int):
        low, high = max(1, round(low)), round(high)
    return (low, high) if high > low > 0 else None


def _row(study: Sweep, name: str, low: float, high: float) -> dict[str, object]:
    row: dict[str, object] = {
        "field": re.sub(r"^satellites\.\*\.", "", name),
        "from": low,
        "to": high,
    }
    for metric in METRICS:
        found = study.paired(
            f"{name}={high:g}",
            f"{name}={low:g}",
            metric,
            lambda a, b: math.log(a / b) / math.log(high / low) if a > 0 and b > 0 else math.nan,
        )
        row |= columns(f"{metric} elasticity", found)
    return row


def _tornado(rows: Sequence[dict[str, object]]) -> go.Figure:
    metric, name = METRICS[0], f"{METRICS[0]} elasticity"
    drawn = [row for row in reversed(rows) if row[name] is not None]
    figure = go.Figure(
        go.Bar(
            x=values(drawn, name),
            y=[row["field"] for row in drawn],
            orientation="h",
            error_x=whiskers(drawn, name),
        )
    )
    return figure.update_layout(
        title=f"Elasticity of {metric}, one field at a time, 95 % over seeds",
        xaxis_title="ln(metric ratio) / ln(field ratio)",
        margin_l=260,
    )


def _number(value: object) -> str:
    return "-" if value is None else f"{value:+.3f}"


if __name__ == "__main__":
    main()
