"""Glances: when a sensor that looks ahead of the satellite sweeps over a target.

The sensor looks along a line across the track, `pitch_deg` ahead of nadir and `half_swath_deg` to
either side. As the satellite flies on, a target comes down from the horizon and crosses that line
once before the satellite is over it; that moment is searched for before each access.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.geometry.accesses import Access, Scene
from simulator.geometry.ellipsoid import earth_fixed_position, vertical
from simulator.geometry.orbit import Orbit
from simulator.geometry.search import find_intervals

GLANCE_TOLERANCE_S: Final = 1e-3

_LOOK_BACK_PERIODS: Final = 1.0 / 6.0
"""A target in sight is less than this part of an orbit ahead, up to 2000 km of altitude."""


@dataclass(frozen=True, eq=False)
class Glance:
    """The moment at which a forward-looking sensor sees the target of an access.

    Attributes
    ----------
    access : Access
        The overflight that follows.
    t_s : float
        Seconds since the epoch.
    roll_deg, pitch_deg, off_nadir_deg : float
        Line of sight in LVLH axes, as in :mod:`simulator.geometry.lvlh`.
    """

    access: Access
    t_s: float
    roll_deg: float
    pitch_deg: float
    off_nadir_deg: float

    @property
    def lead_s(self) -> float:
        """Time left until the target is nearest to nadir."""
        return self.access.closest_s - self.t_s


def glances(
    orbit: Orbit,
    accesses: Sequence[Access],
    places_deg: Mapping[str, tuple[float, float]],
    *,
    pitch_deg: float,
    half_swath_deg: float,
) -> list[Glance]:
    """The glance before each access, sorted by time; accesses without one are left out.

    There is none where the target crosses the line outside the swath or below its own horizon,
    or where the mission begins after the crossing.

    Parameters
    ----------
    orbit : Orbit
    accesses : sequence of Access
    places_deg : mapping of str to (latitude, longitude)
        Of each target.
    pitch_deg, half_swath_deg : float
        Where the sensor looks: angle ahead of nadir, and largest roll to either side.
    """
    if not accesses:
        return []
    names = sorted({access.target for access in accesses})
    index = {name: number for number, name in enumerate(names)}
    latitude, longitude = np.array([places_deg[name] for name in names]).T
    scene = Scene(
        orbit, earth_fixed_position(latitude, longitude, 0.0), vertical(latitude, longitude),
        90.0, -90.0,
    )  # fmt: skip
    target = np.array([index[access.target] for access in accesses])
    closest_s = np.array([access.closest_s for access in accesses])
    found = find_intervals(
        lambda t, window: scene.look(t, target[window])[1] - pitch_deg,
        np.maximum(closest_s - _LOOK_BACK_PERIODS * orbit.period_s, 0.0),
        closest_s,
        step_s=orbit.search_step_s,
        tolerance_s=GLANCE_TOLERANCE_S,
    )
    if not len(found.window):
        return []
    # The last interval before an access ends where the target crosses the line on its way down.
    last = np.append(found.window[1:] != found.window[:-1], True)
    window, t_s = found.window[last], found.end_s[last]
    roll, pitch, elevation, _ = scene.look(t_s, target[window])
    off_nadir = scene.off_nadir_deg(t_s, target[window])
    seen = (np.abs(roll) <= half_swath_deg) & (elevation > 0.0) & (t_s < closest_s[window])
    return sorted(
        (
            Glance(
                accesses[window[k]], float(t_s[k]), float(roll[k]), float(pitch[k]),
                float(off_nadir[k]),
            )
            for k in np.flatnonzero(seen)
        ),
        key=lambda glance: (glance.t_s, glance.access.target),
    )  # fmt: skip
