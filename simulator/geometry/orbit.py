"""A satellite's orbit: SGP4 from any of four descriptions, positions by the hundred thousand.

An :class:`Orbit` is a pure function of time. Everything else in this package asks it for positions
at times counted in seconds since the scenario's epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from sgp4.api import SGP4_ERRORS

from simulator.geometry.elements import (
    SGP4_MU_KM3_S2,
    SGP4_RADIUS_KM,
    OrbitError,
    satrec_from_keplerian,
    satrec_from_omm,
    satrec_from_sun_synchronous,
    satrec_from_tle,
)
from simulator.geometry.ellipsoid import Floats
from simulator.geometry.frames import rotate_z, sidereal_angle, teme_to_gcrs, utc_julian_date

SEARCH_STEP_RAD: Final = 0.033
"""Grid step of searches along an orbit, as geocentric angle at the perigee's rate, rad."""


@dataclass(frozen=True, eq=False)
class Orbit:
    """One satellite, propagated with SGP4.

    Build it with `from_tle`, `from_omm`, `from_keplerian` or `from_sun_synchronous`.

    Attributes
    ----------
    epoch : datetime
        Aware UTC datetime at which ``t_s`` is 0: the scenario's epoch, not that of the elements.
    satrec : sgp4.api.Satrec
        The SGP4 record.

    Notes
    -----
    Times are elapsed SI seconds since `epoch`. SGP4's mean elements are good for a week or two
    around the epoch of the elements; how far a scenario stretches them is its own affair.
    """

    epoch: datetime
    satrec: Any

    @classmethod
    def from_tle(cls, lines: Sequence[str], epoch: datetime) -> Orbit:
        """Orbit of a two-line element set (a title line before the two is allowed).

        Raises
        ------
        OrbitError
            Wrong number or length of lines, wrong checksum (found and expected are named), wrong
            columns, or elements that SGP4 refuses.
        """
        return cls(_utc(epoch), satrec_from_tle(lines))

    @classmethod
    def from_omm(cls, fields: Mapping[str, object], epoch: datetime) -> Orbit:
        """Orbit of an OMM record (CCSDS 502.0 keywords, values as numbers or text).

        Raises
        ------
        OrbitError
            A field is missing or not a number, or SGP4 refuses the elements.
        """
        return cls(_utc(epoch), satrec_from_omm(fields))

    @classmethod
    def from_keplerian(
        cls,
        epoch: datetime,
        *,
        semi_major_axis_km: float,
        eccentricity: float,
        inclination_deg: float,
        raan_deg: float,
        arg_perigee_deg: float,
        mean_anomaly_deg: float,
    ) -> Orbit:
        """Orbit of Keplerian elements at `epoch`, taken as SGP4 *mean* elements, no drag.

        The semi-major axis is Brouwer's mean one; the osculating axis swings about it by some
        +-10 km in low orbit. Angles refer to TEME, the true equator and mean equinox of `epoch`.

        Raises
        ------
        OrbitError
            Eccentricity outside 0 <= e < 1, inclination outside 0..180, perigee below 100 km.
        """
        return cls(
            _utc(epoch),
            satrec_from_keplerian(
                _utc(epoch),
                semi_major_axis_km=semi_major_axis_km,
                eccentricity=eccentricity,
                inclination_deg=inclination_deg,
                raan_deg=raan_deg,
                arg_perigee_deg=arg_perigee_deg,
                mean_anomaly_deg=mean_anomaly_deg,
            ),
        )

    @classmethod
    def from_sun_synchronous(cls, epoch: datetime, *, altitude_km: float, ltan_h: float) -> Orbit:
        """Circular orbit whose node follows the mean Sun; at the ascending node at `epoch`.

        `altitude_km` is the mean semi-major axis less the Earth's equatorial radius (6378.137 km).
        The inclination is the one at which SGP4's secular node rate equals 360 degrees per
        tropical year; the right ascension of the node is the one at which the local *mean* solar
        time at the ascending node is `ltan_h`. No drag.

        Raises
        ------
        OrbitError
            Altitude under 100 km or too high to be sun-synchronous, `ltan_h` outside 0..24.
        """
        return cls(
            _utc(epoch),
            satrec_from_sun_synchronous(_utc(epoch), altitude_km=altitude_km, ltan_h=ltan_h),
        )

    @property
    def period_s(self) -> float:
        """Nodal period: from one ascending node to the next, by SGP4's secular rates, s."""
        return 120.0 * math.pi / float(self.satrec.mdot + self.satrec.argpdot)

    @property
    def perigee_rate_rad_s(self) -> float:
        """Fastest geocentric angular rate of the mean orbit, that at perigee, rad/s."""
        axis_km = self.satrec.a * SGP4_RADIUS_KM
        eccentricity = self.satrec.ecco
        perigee_km = axis_km * (1.0 - eccentricity)
        return math.sqrt(SGP4_MU_KM3_S2 * (1.0 + eccentricity) / perigee_km**3)

    @property
    def search_step_s(self) -> float:
        """Grid step at which signals of this orbit have one extremum in two steps, s.

        An angle of `SEARCH_STEP_RAD` at perigee (30 s in low orbit), and at most two minutes: high
        orbits see the Earth turn instead.
        """
        return min(SEARCH_STEP_RAD / self.perigee_rate_rad_s, 120.0)

    def teme(self, t_s: ArrayLike) -> tuple[Floats, Floats]:
        """Position (km) and velocity (km/s), each (n, 3), in SGP4's own inertial frame.

        Raises
        ------
        OrbitError
            SGP4 gives up (the satellite has decayed, ...); the message says when.
        """
        times = _times(t_s)
        whole, fraction = utc_julian_date(self.epoch)
        errors, position, velocity = self.satrec.sgp4_array(
            np.full(len(times), whole), fraction + times / 86400.0
        )
        if errors.any():
            self._refuse(times, errors)
        return position, velocity

    def itrs(self, t_s: ArrayLike) -> tuple[Floats, Floats]:
        """Position (km) and velocity (km/s) in the Earth-fixed frame, each of shape (n, 3).

        Parameters
        ----------
        t_s : array_like, shape (n,), or float
            Seconds since `epoch`.
        """
        times = _times(t_s)
        position, velocity = self.teme(times)
        angle, rate = sidereal_angle(self.epoch, times)
        position, velocity = rotate_z(angle, position), rotate_z(angle, velocity)
        velocity[:, 0] += rate * position[:, 1]
        velocity[:, 1] -= rate * position[:, 0]
        return position, velocity

    def gcrs(self, t_s: ArrayLike) -> tuple[Floats, Floats]:
        """Position (km) and velocity (km/s) in the inertial GCRS, each of shape (n, 3)."""
        times = _times(t_s)
        position, velocity = self.teme(times)
        rotation = teme_to_gcrs(self.epoch, times)
        return (
            np.einsum("nij,nj->ni", rotation, position),
            np.einsum("nij,nj->ni", rotation, velocity),
        )

    def _refuse(self, times: Floats, errors: Any) -> None:
        first = int(np.argmax(errors != 0))
        when = self.epoch + timedelta(seconds=float(times[first]))
        raise OrbitError(
            f"orbit: SGP4 fails at {when:%Y-%m-%dT%H:%M:%SZ}, {times[first]:.0f} s after the "
            f"epoch: {SGP4_ERRORS[int(errors[first])]}; shorten the mission, raise the orbit or "
            f"give elements nearer to the scenario's epoch"
        )


def _times(t_s: ArrayLike) -> Floats:
    return np.atleast_1d(np.asarray(t_s, dtype=np.float64))


def _utc(epoch: datetime) -> datetime:
    if epoch.tzinfo is None:
        raise OrbitError(
            f"epoch: {epoch.isoformat()} has no time zone; write it in UTC, e.g. "
            f"{epoch.isoformat()}Z"
        )
    return epoch.astimezone(UTC)
