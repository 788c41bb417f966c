"""How many bytes a pass can carry: the downlink rate as a step function of time.

The rate follows the geometry of the pass in one of three ways: fixed; a table of net rates by
elevation; or a link budget whose signal-to-noise ratio picks the best DVB-S2 MODCOD. Whichever
it is, the result is a `RateProfile`: constant between the samples of the pass, and within each
step the lower of its two ends, so that a pass is never credited with more than it carries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from simulator.geometry import Pass
from simulator.scenario import LinkBudget, Radio

SPEED_OF_LIGHT_KM_S = 299_792.458
BOLTZMANN_DB_W_HZ_K = -228.599
"""10 log10 of Boltzmann's constant, dBW/Hz/K."""

LOWEST_FLAT_DEG = 5.0
"""Below it the 1 / sin law overstates the path; the loss at this elevation is used."""

DVB_S2: tuple[tuple[str, float, float], ...] = (
    ("QPSK 1/4", -2.35, 0.490),
    ("QPSK 1/3", -1.24, 0.656),
    ("QPSK 2/5", -0.30, 0.789),
    ("QPSK 1/2", 1.00, 0.989),
    ("QPSK 3/5", 2.23, 1.188),
    ("QPSK 2/3", 3.10, 1.322),
    ("QPSK 3/4", 4.03, 1.487),
    ("QPSK 4/5", 4.68, 1.587),
    ("QPSK 5/6", 5.18, 1.655),
    ("8PSK 3/5", 5.50, 1.780),
    ("8PSK 2/3", 6.62, 1.981),
    ("8PSK 3/4", 7.91, 2.228),
    ("16APSK 2/3", 8.97, 2.637),
    ("16APSK 3/4", 10.21, 2.967),
    ("16APSK 4/5", 11.03, 3.166),
    ("16APSK 5/6", 11.61, 3.300),
    ("32APSK 3/4", 12.73, 3.703),
    ("32APSK 4/5", 13.64, 3.952),
    ("32APSK 5/6", 14.28, 4.120),
    ("32APSK 8/9", 15.69, 4.398),
    ("32APSK 9/10", 16.05, 4.453),
)
"""MODCOD, required Es/N0 in dB, spectral efficiency in bit/symbol: the useful rows of ETSI
EN 302 307-1 table 13 (normal frames, ideal, quasi-error-free)."""


@dataclass(frozen=True)
class RateProfile:
    """A downlink rate, constant on each step.

    Attributes
    ----------
    edge_s : ndarray of float64, shape (n + 1,)
    rate_bps : ndarray of float64, shape (n,)
    modcod : tuple of str, length n
        What sets the rate on each step; empty for a fixed rate.
    """

    edge_s: NDArray[np.float64]
    rate_bps: NDArray[np.float64]
    modcod: tuple[str, ...]

    def bytes_between(self, start_s: float, end_s: float) -> int:
        """Whole bytes that fit between two times."""
        widths = np.diff(np.clip(self.edge_s, start_s, end_s))
        return int(float(widths @ self.rate_bps) // 8)

    def windows_with_rate(
        self, windows_s: tuple[tuple[float, float], ...]
    ) -> tuple[tuple[float, float], ...]:
        """The parts of some windows in which anything flows at all."""
        steps_s = zip(self.edge_s[:-1].tolist(), self.edge_s[1:].tolist(), strict=True)
        flows = (self.rate_bps > 0.0).tolist()
        flowing = merged(step for step, flow in zip(steps_s, flows, strict=True) if flow)
        pieces = (
            (max(start_s, low_s), min(end_s, high_s))
            for start_s, end_s in windows_s
            for low_s, high_s in flowing
        )
        return tuple((start_s, end_s) for start_s, end_s in pieces if end_s > start_s)

    def send(self, size_bytes: int, start_s: float, end_s: float) -> tuple[float, int]:
        """Send from `start_s` on: when it ends and how much went, at the latest at `end_s`."""
        if size_bytes == 0:
            return start_s, 0
        edges = np.clip(self.edge_s, start_s, end_s)
        cumulative = np.concatenate([[0.0], np.cumsum(np.diff(edges) * self.rate_bps)])
        needed_bits = 8.0 * size_bytes
        if cumulative[-1] < needed_bits:
            return end_s, int(cumulative[-1] // 8)
        step = int(np.searchsorted(cumulative, needed_bits, side="left"))
        missing = needed_bits - cumulative[step - 1]
        finish_s = float(edges[step - 1] + missing / self.rate_bps[step - 1])
        return min(finish_s, end_s), size_bytes

    def modcods_between(self, start_s: float, end_s: float) -> tuple[str, ...]:
        """What sets the rate from `start_s` to `end_s`, in order; empty for a fixed rate."""
        steps = zip(self.edge_s[:-1], self.edge_s[1:], self.modcod, strict=True)
        used = [name for low, high, name in steps if low < end_s and high > start_s and name]
        return tuple(name for name, _ in groupby(used))


def merged(spans_s: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, those that touch or overlap as one."""
    found: list[tuple[float, float]] = []
    for start_s, end_s in sorted(spans_s):
        if found and start_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end_s))
        else:
            found.append((start_s, end_s))
    return found


def rate_profile(radio: Radio, contact: Pass) -> RateProfile:
    """Rate over a pass, from the radio's section of the scenario."""
    rates, names = [], []
    for elevation_deg, range_km in zip(
        np.minimum(contact.elevation_deg[:-1], contact.elevation_deg[1:]),
        np.maximum(contact.range_km[:-1], contact.range_km[1:]),
        strict=True,
    ):
        rate_mbps, name = _rate(radio, float(elevation_deg), float(range_km))
        rates.append(rate_mbps * 1e6)
        names.append(name)
    return RateProfile(np.asarray(contact.t_s), np.asarray(rates), tuple(names))


def _rate(radio: Radio, elevation_deg: float, range_km: float) -> tuple[float, str]:
    if radio.rate_mbps is not None:
        return radio.rate_mbps, ""
    if radio.modcod is not None:
        usable = [row for row in radio.modcod if row.min_elevation_deg <= elevation_deg]
        return (
            (usable[-1].rate_mbps, f">= {usable[-1].min_elevation_deg:g} deg")
            if usable
            else (
                0.0,
                "below the table",
            )
        )
    if radio.link_budget is None:
        raise ValueError("radio: none of rate_mbps, modcod and link_budget is given")
    return budget_rate_mbps(radio.link_budget, range_km, elevation_deg)


def atmosphere_db(budget: LinkBudget, elevation_deg: float) -> float:
    """Loss along the path through a flat atmosphere, dB (ITU-R P.618 takes it from 5 deg up)."""
    path = 1.0 / math.sin(math.radians(max(elevation_deg, LOWEST_FLAT_DEG)))
    return budget.atmosphere_zenith_db * path


def es_n0_db(budget: LinkBudget, range_km: float, elevation_deg: float = 90.0) -> float:
    """Signal-to-noise ratio per symbol, dB, less losses and margin (symbol rate = bandwidth)."""
    wavelength_km = SPEED_OF_LIGHT_KM_S / (budget.frequency_ghz * 1e9)
    free_space_db = 20.0 * math.log10(4.0 * math.pi * range_km / wavelength_km)
    c_n0_dbhz = (
        (budget.eirp_dbw - free_space_db + budget.g_over_t_db_k - BOLTZMANN_DB_W_HZ_K)
        - budget.losses_db
        - atmosphere_db(budget, elevation_deg)
    )
    return c_n0_dbhz - 10.0 * math.log10(budget.bandwidth_mhz * 1e6) - budget.margin_db


def budget_rate_mbps(
    budget: LinkBudget, range_km: float, elevation_deg: float = 90.0
) -> tuple[float, str]:
    """Rate of the best DVB-S2 MODCOD that the link closes at this range, and its name."""
    ratio_db = es_n0_db(budget, range_km, elevation_deg)
    closing = [row for row in DVB_S2 if row[1] <= ratio_db]
    if not closing:
        return 0.0, "no MODCOD closes"
    name, _, bits_per_symbol = max(closing, key=lambda row: row[2])
    return budget.bandwidth_mhz * bits_per_symbol, name
