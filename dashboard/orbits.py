"""Figures by the orbit: how long one is, and what was spent and how deep it went in each.

The payload's energy is limited in stretches of one nodal period, counted from the epoch; the
queries count as the limit does. Not every orbit meets the Earth's shadow, so that shadows count
orbits only where there are some.
"""

from __future__ import annotations

from dashboard.downsampling import CHARGE
from simulator.telemetry.manifest import RunFolderError
from simulator.telemetry.run_folder import RunFolder

# Work that begins with an orbit may be logged a rounding error before it.
_ROUNDING_S = 1e-3

UMBRAS = """
    SELECT greatest(start_s, $from_s) / 3600 AS start_h, least(end_s, $to_s) / 3600 AS end_h
    FROM eclipse
    WHERE satellite = $satellite AND kind = 'umbra' AND end_s >= $from_s AND start_s <= $to_s
    ORDER BY 1"""
"""Every night of a part of the mission, as far as it lies in it."""

MOST_ENERGY = f"""
    WITH orbit AS (
        SELECT sum(energy_wh) AS wh FROM inference WHERE satellite = $satellite
        GROUP BY floor((start_s + {_ROUNDING_S}) / $orbit_s))
    SELECT max(wh) FROM orbit"""
"""Most energy that work on frames took within one orbit, Wh: what the limit is about."""

DEPTH = f"""
    SELECT min(p.t_s) / 3600 AS time_h,
           coalesce(lead(min(p.t_s)) OVER (ORDER BY min(p.t_s)), max(max(p.t_s)) OVER ()) / 3600
               AS until_h,
           1 - min(p.charge_fraction) AS depth
    FROM ({CHARGE}) p ASOF LEFT JOIN (
        SELECT start_s FROM eclipse WHERE satellite = $satellite AND kind = 'umbra') e
        ON p.t_s >= e.start_s
    GROUP BY CASE WHEN p.t_s < e.start_s + 1.5 * $orbit_s THEN e.start_s
                  ELSE -1 - floor(p.t_s / $orbit_s) END
    ORDER BY 1"""
"""Deepest discharge between two nights, and of each orbit that has none."""


def orbit_s(run: RunFolder, satellite: str) -> float:
    """Time of one orbit, from one ascending node to the next, s.

    Raises
    ------
    RunFolderError
        If the run does not tell the satellite's orbit.
    """
    from simulator.telemetry.audit.skies import nodal_period_s

    try:
        return nodal_period_s(run.orbits()[satellite])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, RunFolderError):
            raise
        raise RunFolderError(
            f"{run.path / 'orbits.json'} holds no elements of satellite {satellite} "
            f"({type(error).__name__}: {error}). Restore it from a copy or run the scenario again."
        ) from None
