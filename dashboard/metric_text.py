"""Metrics as people read them: name, number with unit, meaning, and which way is better."""

from __future__ import annotations

import math

from simulator.telemetry.metrics import METRICS, MetricInfo

FOUR_DIGITS = 999.5
"""From here on a number rounds to four digits, which three of them would write as 1e+03."""

ARROWS = {"higher": "higher is better", "lower": "lower is better", "neither": ""}

HEADLINES = (
    "clear_km2_delivered",
    "clear_fraction_delivered",
    "targets_satisfied_fraction",
    "time_to_clear_h_median",
    "false_discard_fraction",
    "payload_energy_wh",
)

GROUPS: dict[str, tuple[str, ...]] = {
    "What reached the ground": (
        "clear_km2_delivered",
        "clear_km2_delivered_with_repeats",
        "clear_fraction_delivered",
        "targets_satisfied_fraction",
        "time_to_clear_h_median",
        "time_to_clear_h_restricted_mean",
        "delivery_latency_h_p50",
        "delivery_latency_h_p90",
    ),
    "What was lost": (
        "false_cloud_fraction",
        "false_discard_fraction",
        "policy_loss_fraction",
        "overflow_loss_fraction",
        "cloud_leakage_fraction",
        "onboard_reduction_fraction",
        "backlog_mib",
        "storage_overflow_mib",
    ),
    "What it cost": (
        "payload_energy_wh",
        "payload_energy_share",
        "clear_km2_per_wh",
        "battery_min_fraction",
        "low_power_h",
        "storage_peak_fraction",
        "deadline_misses",
        "payload_faults",
    ),
    "What was done": (
        "captures",
        "frames_processed",
        "products",
        "products_delivered",
        "reacquisitions",
        "reacquisition_success_fraction",
        "station_utilisation",
        "real_time_factor",
    ),
}

_LABELS = {
    "clear_km2_delivered": "Clear ground delivered",
    "clear_km2_delivered_with_repeats": "Clear ground, repeats too",
    "clear_fraction_delivered": "Clear share delivered",
    "targets_satisfied_fraction": "Targets satisfied",
    "time_to_clear_h_median": "Time to clear, median",
    "time_to_clear_h_restricted_mean": "Time to clear, mean of all",
    "delivery_latency_h_p50": "Delivery delay, median",
    "delivery_latency_h_p90": "Delivery delay, 9 of 10",
    "false_cloud_fraction": "False cloud",
    "false_discard_fraction": "False discards",
    "policy_loss_fraction": "Policy loss",
    "overflow_loss_fraction": "Overflow loss",
    "cloud_leakage_fraction": "Cloud leakage",
    "onboard_reduction_fraction": "On-board reduction",
    "backlog_mib": "Backlog",
    "storage_overflow_mib": "Storage overflow",
    "payload_energy_wh": "Payload energy",
    "clear_km2_per_wh": "Clear ground per energy",
    "battery_min_fraction": "Lowest battery charge",
    "low_power_h": "Time in low power",
    "storage_peak_fraction": "Fullest storage",
    "reacquisition_success_fraction": "Reacquired clear",
    "real_time_factor": "Real-time factor",
    "false_cloud_fraction_by_surface": "False cloud",
    "false_discard_fraction_by_surface": "False discards",
}


def title(name: str) -> str:
    """Name of a metric for people; one that has none of its own is spelt out."""
    return _LABELS.get(name) or name.replace("_", " ").capitalize()


def unit(name: str) -> str:
    """Unit as it is written beside a number: ``km²``, ``%`` for shares, empty for counts."""
    return "%" if is_share(name) else info(name).unit.replace("km2", "km²")


def number(name: str, value: object) -> str:
    """A value with its unit; fractions as percent, a dash where the metric is undefined."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return "-"
    if is_share(name):
        return f"{100 * value:.1f} %"
    return f"{_digits(float(value))} {unit(name)}".strip()


def with_interval(
    name: str, mean: float, low: float | None, high: float | None, *, difference: bool = False
) -> str:
    """``0.4 [0.3, 0.5]`` with the unit behind it; a difference of shares is in points (pp).

    Without `low` and `high` there is no interval.
    """
    factor = 100.0 if is_share(name) else 1.0
    digits = (lambda value: f"{value:.1f}") if is_share(name) else _digits
    measured_in = "pp" if difference and is_share(name) else unit(name)
    plus = "+" if difference and mean > 0 else ""
    bounds = (mean if low is None else low, mean if high is None else high)
    middle, least, most = (digits(factor * value) for value in (mean, *bounds))
    text = plus + middle
    if not middle == least == most:  # an interval narrower than the digits shown says nothing
        text += f" [{least}, {most}]"
    return f"{text} {measured_in}".strip()


def _digits(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if abs(value) >= FOUR_DIGITS:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def is_share(name: str) -> bool:
    """Whether a metric is a share of a whole, shown in percent."""
    return any(mark in name for mark in ("fraction", "share", "utilisation"))


def info(name: str) -> MetricInfo:
    """Unit, meaning and direction; ``a.b`` belongs to the metric ``a``."""
    return METRICS.get(name.split(".")[0], MetricInfo("", "", "neither"))


def definition(name: str) -> str:
    """What is shown when one points at the metric."""
    about = info(name)
    better = ARROWS[about.better]
    return f"{about.meaning}{'; ' + better if better else ''} (`{name}`)"
