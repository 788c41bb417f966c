"""What the coming hours can pay for: limits on captures set by battery and storage.

Before a plan is made, the battery is run ahead under the loads that are always there. A battery
that is charged with `net(a, b)` between two instants and may be full at `a` holds at most
``capacity + net(a, b) - captures since a`` at `b`, so what is left there over the floor limits the
captures between the two; the charge now limits those from now on in the same way. Captures that
keep all these limits never take the charge below the floor. Storage limits
captures by the room there is now plus what the passes until then can carry away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from simulator.autonomy.planner import CaptureLimit
from simulator.spacecraft.battery import Battery, BatteryState

FULL_WITHIN_WH = 1e-9

STEP_S = 600.0
"""Generation of panels that do not follow the Sun turns between changes of sunlight; it is looked
at this often."""


def energy_limits(
    battery: Battery,
    state: BatteryState,
    *,
    base_load_w: Callable[[float, float], float],
    capture_wh: float,
    floor_wh: float,
    sunlight_changes_s: Sequence[float],
    until_s: float,
) -> tuple[CaptureLimit, ...]:
    """Captures that keep the charge above `floor_wh` until `until_s`.

    Parameters
    ----------
    battery, state : Battery, BatteryState
        The battery and its charge now.
    base_load_w : callable (start_s, end_s) -> float
        Mean load without any capture between two times at most `STEP_S` apart, W.
    capture_wh : float
        Energy of one capture with all that follows from it, Wh.
    floor_wh : float
        Charge that must not be passed, Wh.
    sunlight_changes_s : sequence of float
        Shadow entries and exits, increasing.
    until_s : float
        End of the planning horizon.

    Returns
    -------
    tuple of CaptureLimit
        Windows that start now, or where the battery may be full.
    """
    if capture_wh <= 0.0 or until_s <= state.t_s:
        return ()
    start_s, start_wh, start_generated_wh = state.t_s, state.charge_wh, state.generated_wh
    steps = math.ceil((until_s - start_s) / STEP_S)
    grid_s = [start_s + (until_s - start_s) * n / steps for n in range(1, steps + 1)]
    times_s = sorted({*grid_s, *(t for t in sunlight_changes_s if start_s < t < until_s)})
    net, full = [0.0], [start_wh >= battery.capacity_wh - FULL_WITHIN_WH]
    load_wh = 0.0
    for at_s in times_s:
        load_w = base_load_w(state.t_s, at_s)
        load_wh += load_w * (at_s - state.t_s) / 3600.0
        state = battery.advance(state, at_s, load_w)
        net.append(state.generated_wh - start_generated_wh - load_wh)
        full.append(state.charge_wh >= battery.capacity_wh - FULL_WITHIN_WH)
    times_s.insert(0, start_s)
    net_wh = np.array(net)
    # A capture may fall anywhere in a step, so at either end the worse of its two sides counts.
    lowest_wh = np.minimum(net_wh[:-1], net_wh[1:])
    highest_wh = np.maximum(net_wh[:-1], net_wh[1:])
    starts = [(0, start_wh)] + [
        (n, battery.capacity_wh - float(highest_wh[n]))
        for n in range(len(times_s) - 1)
        if full[n] or full[n + 1]
    ]
    limits: list[CaptureLimit] = []
    told = np.full(len(times_s) - 1, math.inf)
    for since, charge_wh in starts:
        left = np.floor((charge_wh + lowest_wh - floor_wh) / capture_wh).clip(0)
        # What a longer stretch allows at most, a part of it need not be told again.
        fewest = np.minimum.accumulate(left[::-1])[::-1]
        news = (left == fewest) & (left < told)
        news[:-1] &= left[:-1] < fewest[1:]
        news[:since] = False
        told[since:] = np.minimum(told, fewest)[since:]
        limits += [
            CaptureLimit(times_s[since], times_s[end + 1], int(left[end]), "energy")
            for end in np.flatnonzero(news)
        ]
    return tuple(limits)


def storage_limits(
    *,
    now_s: float,
    free_bytes: int,
    capacity_bytes: int,
    frame_bytes: int,
    passes: Sequence[tuple[float, int]],
    until_s: float,
    targets: frozenset[str] | None = None,
) -> tuple[CaptureLimit, ...]:
    """Captures that fit into storage, or into a share of it, from any coming LOS to any other.

    A pass frees what it can carry, and at its end no more than everything is free.

    Parameters
    ----------
    now_s : float
    free_bytes, capacity_bytes, frame_bytes : int
        Room now, all there is, and raw size of a frame.
    passes : sequence of (los_s, capacity_bytes)
        Coming passes by LOS.
    until_s : float
        End of the planning horizon.
    targets : frozenset of str, optional
        Whose captures the room is for; everybody's when left out.
    """
    coming = sorted((los_s, freed) for los_s, freed in passes if los_s < until_s)
    limits = []
    for index, start_s in enumerate([now_s, *(los_s for los_s, _ in coming)]):
        room_bytes = capacity_bytes if index else free_bytes
        for end_s, freed_bytes in [*coming[index:], (until_s, 0)]:
            captures = room_bytes // frame_bytes
            limits.append(CaptureLimit(start_s, end_s, captures, "storage", targets))
            room_bytes += freed_bytes
    return tuple(limits)
