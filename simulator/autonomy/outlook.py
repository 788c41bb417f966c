"""What the coming hours can pay for: limits on captures set by battery and storage.

Before a plan is made, the battery is run ahead under the loads that are always there. Between two
instants at which it is full, the lowest charge left at each dawn says how many captures that
stretch can afford. Storage limits captures by the room there is now plus what the passes until
then can carry away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator.autonomy.planner import CaptureLimit
from simulator.spacecraft.battery import Battery, BatteryState

FULL_FRACTION = 0.999
"""A battery above this share of its capacity counts as full."""


def energy_limits(
    battery: Battery,
    state: BatteryState,
    *,
    base_load_w: float,
    capture_wh: float,
    floor_wh: float,
    sunlight_changes_s: Sequence[float],
    until_s: float,
) -> tuple[CaptureLimit, ...]:
    """Captures that keep the charge above `floor_wh` at each change of sunlight until `until_s`.

    Parameters
    ----------
    battery, state : Battery, BatteryState
        The battery and its charge now.
    base_load_w : float
        Load without any capture, W.
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
        Windows that start now or when the battery was last full.
    """
    if capture_wh <= 0.0:
        return ()
    limits, since_s = [], state.t_s
    changes = [t for t in sunlight_changes_s if state.t_s < t < until_s]
    for at_s in [*changes, until_s]:
        state = battery.advance(state, at_s, base_load_w)
        if state.charge_wh >= FULL_FRACTION * battery.capacity_wh:
            since_s = at_s
            continue
        captures = max(math.floor((state.charge_wh - floor_wh) / capture_wh), 0)
        limits.append(CaptureLimit(since_s, at_s, captures, "energy"))
    return tuple(limits)


def storage_limits(
    *,
    now_s: float,
    free_bytes: int,
    frame_bytes: int,
    passes: Sequence[tuple[float, int]],
    until_s: float,
) -> tuple[CaptureLimit, ...]:
    """Captures that fit into storage until each coming LOS.

    Parameters
    ----------
    now_s : float
    free_bytes, frame_bytes : int
        Room now, and raw size of a frame.
    passes : sequence of (los_s, capacity_bytes)
        Coming passes by LOS.
    until_s : float
        End of the planning horizon.
    """
    limits, room = [], free_bytes
    for los_s, capacity_bytes in [*passes, (math.inf, 0)]:
        end_s = min(los_s, until_s)
        limits.append(CaptureLimit(now_s, end_s, room // frame_bytes, "storage"))
        if los_s >= until_s:
            break
        room += capacity_bytes
    return tuple(limits)
