"""The battery as an exact integral: no time step, no sampling.

Generation is a piecewise-linear function of time (`GenerationCurve`) and the load is constant
between events, so the charge is a piecewise quadratic. Where it meets a level (full, empty, the
low-power threshold) is the root of that quadratic. While the battery is full, surplus generation
is curtailed; while it is empty, the part of the load that generation cannot carry is unserved.
The books close at every instant::

    generated = consumed + (charge - initial charge) + curtailed
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

J_PER_WH = 3600.0
SOLAR_CONSTANT_W_M2 = 1361.0
"""Total solar irradiance at 1 AU (Kopp & Lean 2011, doi 10.1029/2010GL045777)."""

CHARGE_TOLERANCE = 1e-12
"""Charges closer to a level than this share of the capacity (of 1 Wh, if that is more) are on it:
far under any battery's gauge, and thousands of times what rounding does to a charge."""


@dataclass(frozen=True)
class GenerationCurve:
    """Electrical generation, linear between knots.

    Attributes
    ----------
    t_s : ndarray of float64, shape (n,)
        Knot times, increasing, n >= 2.
    power_w : ndarray of float64, shape (n,)
        Generation at the knots, W.
    """

    t_s: NDArray[np.float64]
    power_w: NDArray[np.float64]

    def at(self, t_s: float) -> float:
        """Generation at `t_s`, W."""
        return float(np.interp(t_s, self.t_s, self.power_w))

    def segments(self, start_s: float, end_s: float) -> Iterator[tuple[float, float, float, float]]:
        """Yield ``(start_s, end_s, start_w, end_w)`` pieces that cover [start_s, end_s]."""
        first = int(np.searchsorted(self.t_s, start_s, side="right"))
        a, power_a = start_s, self.at(start_s)
        for index in range(first, len(self.t_s)):
            knot = float(self.t_s[index])
            if knot >= end_s:
                break
            power = float(self.power_w[index])
            yield a, knot, power_a, power
            a, power_a = knot, power
        if end_s > a:
            yield a, end_s, power_a, self.at(end_s)


@dataclass(frozen=True)
class BatteryState:
    """Charge and cumulative energies at one instant, Wh."""

    t_s: float
    charge_wh: float
    generated_wh: float = 0.0
    consumed_wh: float = 0.0
    curtailed_wh: float = 0.0
    unserved_wh: float = 0.0


def _first_root_s(charge_wh: float, net_w: float, slope_w_s: float, level_wh: float) -> float:
    """Smallest time > 0 at which ``charge + (net t + slope t^2/2) / 3600`` equals the level.

    Returns infinity where there is none. The root form avoids cancellation (citardauq).
    """
    gap_j = (charge_wh - level_wh) * J_PER_WH
    half = 0.5 * slope_w_s
    if half == 0.0:
        roots = [-gap_j / net_w] if net_w != 0.0 else []
    else:
        discriminant = net_w * net_w - 4.0 * half * gap_j
        if discriminant < 0.0:
            return math.inf
        q = -0.5 * (net_w + math.copysign(math.sqrt(discriminant), net_w))
        roots = [q / half] + ([gap_j / q] if q != 0.0 else [])
    return min((root for root in roots if root > 0.0), default=math.inf)


@dataclass(frozen=True)
class _Regime:
    """A stretch of monotonic or held charge: its length, initial net power and outcome."""

    seconds: float
    net_w: float
    charge_wh: float
    curtailed_j: float
    unserved_j: float


@dataclass(frozen=True)
class Battery:
    """A battery of `capacity_wh` charged by `generation`."""

    capacity_wh: float
    generation: GenerationCurve

    @property
    def tolerance_wh(self) -> float:
        """Charges closer to a level than this are on it, Wh."""
        return CHARGE_TOLERANCE * max(self.capacity_wh, 1.0)

    def advance(self, state: BatteryState, to_s: float, load_w: float) -> BatteryState:
        """Integrate from `state` to `to_s` under a constant load.

        Parameters
        ----------
        state : BatteryState
        to_s : float
            Not before ``state.t_s``.
        load_w : float
            Total load, W, not negative.

        Returns
        -------
        BatteryState

        Raises
        ------
        ValueError
            When `to_s` lies before the state or the load is negative.
        """
        if to_s < state.t_s or load_w < 0.0:
            raise ValueError(f"cannot advance from {state.t_s} s to {to_s} s with {load_w} W")
        for piece in self.generation.segments(state.t_s, to_s):
            state = self._advance_piece(state, *piece, load_w)
        return replace(state, t_s=to_s)

    def next_crossing_s(
        self, state: BatteryState, load_w: float, level_wh: float, until_s: float
    ) -> float:
        """First time in (state.t_s, until_s] at which the charge meets `level_wh`, else infinity.

        A charge that starts on the level counts only when it comes back to it.
        """
        charge = state.charge_wh
        for start_s, end_s, start_w, end_w in self.generation.segments(state.t_s, until_s):
            slope = (end_w - start_w) / (end_s - start_s)
            at_s = start_s
            for regime in self._regimes(charge, start_w - load_w, slope, end_s - start_s):
                if abs(charge - level_wh) > self.tolerance_wh:
                    if abs(regime.charge_wh - level_wh) <= self.tolerance_wh:
                        return at_s + regime.seconds
                    if (charge - level_wh) * (regime.charge_wh - level_wh) < 0.0:
                        return at_s + _first_root_s(charge, regime.net_w, slope, level_wh)
                charge, at_s = regime.charge_wh, at_s + regime.seconds
        return math.inf

    def next_minimum_s(self, state: BatteryState, load_w: float, until_s: float) -> float:
        """First time in (state.t_s, until_s) at which a falling charge begins to rise, or infinity.

        A fall within `tolerance_wh` is none, for rounding makes one of every minimum reached; nor
        does it end a fall before it.
        """
        charge, falling = state.charge_wh, False
        for start_s, end_s, start_w, end_w in self.generation.segments(state.t_s, until_s):
            slope = (end_w - start_w) / (end_s - start_s)
            at_s = start_s
            for regime in self._regimes(charge, start_w - load_w, slope, end_s - start_s):
                if falling and regime.charge_wh > charge:
                    return at_s
                falling = falling or regime.charge_wh < charge - self.tolerance_wh
                charge, at_s = regime.charge_wh, at_s + regime.seconds
        return math.inf

    def _advance_piece(
        self,
        state: BatteryState,
        start_s: float,
        end_s: float,
        start_w: float,
        end_w: float,
        load_w: float,
    ) -> BatteryState:
        """Integrate one linear piece of generation."""
        slope, seconds = (end_w - start_w) / (end_s - start_s), end_s - start_s
        charge, curtailed_j, unserved_j = state.charge_wh, 0.0, 0.0
        for regime in self._regimes(charge, start_w - load_w, slope, seconds):
            charge = regime.charge_wh
            curtailed_j += regime.curtailed_j
            unserved_j += regime.unserved_j
        unserved_wh = unserved_j / J_PER_WH
        return BatteryState(
            t_s=end_s,
            charge_wh=charge,
            generated_wh=state.generated_wh + 0.5 * (start_w + end_w) * seconds / J_PER_WH,
            consumed_wh=state.consumed_wh + load_w * seconds / J_PER_WH - unserved_wh,
            curtailed_wh=state.curtailed_wh + curtailed_j / J_PER_WH,
            unserved_wh=state.unserved_wh + unserved_wh,
        )

    def _regimes(
        self, charge_wh: float, net_w: float, slope_w_s: float, left_s: float
    ) -> Iterator[_Regime]:
        """Split a linear piece where the net power changes sign or the battery fills or empties.

        Within a regime the charge is monotonic or held, so it meets any level at most once.
        """
        while left_s > 0.0:
            rising = net_w > 0.0 or (net_w == 0.0 and slope_w_s > 0.0)
            # Signs are compared, not multiplied: the product of two small numbers may be 0.
            turns = net_w < 0.0 < slope_w_s or slope_w_s < 0.0 < net_w
            turns_s = -net_w / slope_w_s if turns else math.inf
            full = charge_wh >= self.capacity_wh - self.tolerance_wh and rising
            empty = charge_wh <= self.tolerance_wh and not rising
            step_s = min(turns_s, left_s)
            if not (full or empty):
                level_wh = self.capacity_wh if rising else 0.0
                step_s = min(_first_root_s(charge_wh, net_w, slope_w_s, level_wh), step_s)
            energy_j = net_w * step_s + 0.5 * slope_w_s * step_s * step_s
            if not (full or empty):
                charge_wh = min(max(charge_wh + energy_j / J_PER_WH, 0.0), self.capacity_wh)
            yield _Regime(
                step_s, net_w, charge_wh, energy_j if full else 0.0, -energy_j if empty else 0.0
            )
            net_w = 0.0 if step_s == turns_s else net_w + slope_w_s * step_s
            left_s -= step_s
