"""Orbit descriptions, checked and turned into SGP4 records.

Two-line elements and OMM messages already are SGP4 mean elements. Keplerian elements are taken as
*mean* elements of the same theory: the semi-major axis is Brouwer's mean one, from which follows
the Kozai mean motion that SGP4 asks for, so that the satellite flown has the period its mean
semi-major axis and the Earth's oblateness give it. Drag is zero unless the description has it.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from scipy.optimize import brentq
from sgp4 import omm
from sgp4.api import SGP4_ERRORS, WGS72, Satrec
from skyfield.sgp4lib import theta_GMST1982

from simulator.geometry.ellipsoid import EQUATORIAL_RADIUS_KM
from simulator.geometry.frames import skyfield_times

SGP4_RADIUS_KM: Final = 6378.135
"""Earth radius of SGP4's WGS72 constants, km (Spacetrack Report #3)."""

SGP4_MU_KM3_S2: Final = 398600.8
"""Gravitational parameter of SGP4's WGS72 constants, km^3/s^2 (Spacetrack Report #3)."""

TROPICAL_YEAR_DAYS: Final = 365.24219
"""Period of the mean Sun, days (J2000)."""

LOWEST_PERIGEE_KM: Final = 100.0
"""Least mean perigee altitude accepted, km: below it nothing orbits."""

ELEMENT_YEARS: Final = (1957, 2056)
"""First and last year an element set's epoch may have: SGP4's records keep two digits of it."""

REVOLUTIONS_PER_DAY: Final = (0.01, 18.0)
"""Mean motions accepted: slower the Sun takes a satellite away, faster it is below the ground."""

_SGP4_EPOCH: Final = datetime(1949, 12, 31, tzinfo=UTC)
_DAY_S: Final = 86400.0
_TLE_LENGTH: Final = 69
_TLE_FORMAT: Final = {
    1: re.compile(
        r"1 [ 0-9A-Z][ 0-9]{4}[ UCS] .{8} [ 0-9]{2}[ 0-9]{3}\.[ 0-9]{8} [ +-]\.[ 0-9]{8} "
        r"[ +-][ 0-9]{5}[ +-][0-9] [ +-][ 0-9]{5}[ +-][0-9] [ 0-9] [ 0-9]{4}[0-9]"
    ),
    2: re.compile(
        r"2 [ 0-9A-Z][ 0-9]{4} [ 0-9]{3}\.[ 0-9]{4} [ 0-9]{3}\.[ 0-9]{4} [ 0-9]{7} "
        r"[ 0-9]{3}\.[ 0-9]{4} [ 0-9]{3}\.[ 0-9]{4} [ 0-9]{2}\.[ 0-9]{13}[0-9]"
    ),
}
_OMM_NUMBERS: Final = (
    "MEAN_MOTION",
    "ECCENTRICITY",
    "INCLINATION",
    "RA_OF_ASC_NODE",
    "ARG_OF_PERICENTER",
    "MEAN_ANOMALY",
)
_OMM_RANGES: Final = {
    "MEAN_MOTION": REVOLUTIONS_PER_DAY,
    "ECCENTRICITY": (0.0, 0.9999999),
    "INCLINATION": (0.0, 180.0),
}
"""Where SGP4 takes other numbers without complaint, or makes no orbit of them."""

_OMM_FLOWN: Final = {
    "CENTER_NAME": ("EARTH",),
    "REF_FRAME": ("TEME",),
    "TIME_SYSTEM": ("UTC",),
    "MEAN_ELEMENT_THEORY": ("SGP4", "SGP/SGP4"),
    "EPHEMERIS_TYPE": ("0",),
}
"""What SGP4 takes for granted; an element set of another kind would fly somewhere else."""

_OMM_DEFAULTS: Final[dict[str, object]] = {
    "CLASSIFICATION_TYPE": "U",
    "OBJECT_ID": "2000-001A",
    "EPHEMERIS_TYPE": 0,
    "ELEMENT_SET_NO": 0,
    "REV_AT_EPOCH": 0,
    "NORAD_CAT_ID": 0,
    "BSTAR": 0.0,
    "MEAN_MOTION_DOT": 0.0,
    "MEAN_MOTION_DDOT": 0.0,
}


class OrbitError(ValueError):
    """An orbit cannot be built or flown; the message names the field, the reason and the remedy."""


def satrec_from_tle(lines: Sequence[str]) -> Satrec:
    """SGP4 record of a two-line element set; a title line before the two is allowed."""
    kept = [line.rstrip() for line in lines if line.strip()]
    if len(kept) == 3:
        kept = kept[1:]
    if len(kept) != 2:
        raise OrbitError(
            f"tle: {len(kept)} lines found, expected 2 (and perhaps a title line before them)"
        )
    for number, line in enumerate(kept, start=1):
        _check_tle_line(number, line)
    if kept[0][2:7] != kept[1][2:7]:
        raise OrbitError(
            f"tle: line 1 is of satellite {kept[0][2:7]!r}, line 2 of {kept[1][2:7]!r}; "
            f"give two lines of one element set"
        )
    _check_tle_numbers(*kept)
    return _sound(Satrec.twoline2rv(kept[0], kept[1]), "tle")


def _check_tle_line(number: int, line: str) -> None:
    if len(line) != _TLE_LENGTH:
        raise OrbitError(
            f"tle: line {number} has {len(line)} characters, expected {_TLE_LENGTH}; "
            f"copy the line whole: {line!r}"
        )
    expected = sum(int(c) if c.isdigit() else c == "-" for c in line[: _TLE_LENGTH - 1]) % 10
    if line[-1] != str(expected):
        raise OrbitError(
            f"tle: line {number} has checksum {line[-1]!r}, expected {expected}: "
            f"a character was changed; copy the line again: {line!r}"
        )
    if not _TLE_FORMAT[number].fullmatch(line):
        raise OrbitError(
            f"tle: line {number} does not follow the columns of the two-line format; "
            f"copy the line again: {line!r}"
        )


def _check_tle_numbers(line_1: str, line_2: str) -> None:
    """Refuse what fits the columns and is no day of the year, or no orbit."""
    year, day = int(_column(line_1, 18, 20)), _column(line_1, 20, 32)
    year += 1900 if year >= ELEMENT_YEARS[0] % 100 else 2000
    days = 366 if calendar.isleap(year) else 365
    if not 1.0 <= day < days + 1.0:
        raise OrbitError(
            f"tle: line 1 has its epoch on day {day:g} of {year}, expected 1 to {days}; copy the "
            f"line again: {line_1!r}"
        )
    for name, value, (low, high) in (
        ("inclination", _column(line_2, 8, 16), (0.0, 180.0)),
        ("mean motion", _column(line_2, 52, 63), REVOLUTIONS_PER_DAY),
    ):
        if not low <= value <= high:
            raise OrbitError(
                f"tle: line 2 has the {name} {value:g}, expected {low:g} to {high:g}; copy the "
                f"line again: {line_2!r}"
            )


def _column(line: str, start: int, end: int) -> float:
    """The number in some columns of a checked line, where blanks stand for zeros."""
    return float(line[start:end].replace(" ", "0"))


def satrec_from_omm(fields: Mapping[str, object]) -> Satrec:
    """SGP4 record of an orbit mean-elements message (CCSDS 502.0), keywords as in its JSON form."""
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    for name in ("EPOCH", *_OMM_NUMBERS):
        if name not in given:
            raise OrbitError(f"omm: field {name} is missing; give a whole OMM record")
    _check_omm_kind(given)
    text: dict[str, object] = {**_OMM_DEFAULTS, **given, "EPOCH": _omm_epoch(given["EPOCH"])}
    for name in (*_OMM_NUMBERS, "BSTAR", "MEAN_MOTION_DOT", "MEAN_MOTION_DDOT"):
        number = text[name] = _finite("omm", name, text[name])
        low, high = _OMM_RANGES.get(name, (-math.inf, math.inf))
        if not low <= number <= high:
            raise OrbitError(
                f"omm: {name} is {text[name]}, expected {low:g} to {high:.7g}; correct the record"
            )
    satrec = Satrec()
    try:
        omm.initialize(satrec, text)
    except (ValueError, TypeError) as error:
        raise OrbitError(f"omm: {error}; check the record's identification fields") from error
    return _sound(satrec, "omm")


def _check_omm_kind(fields: Mapping[str, object]) -> None:
    for name, flown in _OMM_FLOWN.items():
        value = fields.get(name, flown[0])
        if str(value).strip().upper() not in flown:
            raise OrbitError(
                f"omm: {name} is {value!r}, expected {' or '.join(flown)}: these elements are not "
                f"SGP4's; give the satellite's general perturbations (GP) elements"
            )


def _omm_epoch(value: object) -> str:
    try:
        epoch = datetime.fromisoformat(_with_month_and_day(str(value).strip()))
        if epoch.tzinfo is not None:
            epoch = epoch.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise OrbitError(
            f"omm: EPOCH is {value!r}, expected an ISO 8601 date and time in UTC"
        ) from error
    first, last = ELEMENT_YEARS
    if not first <= epoch.year <= last:
        raise OrbitError(
            f"omm: EPOCH is {value!r}, expected a year from {first} to {last}; correct the record"
        )
    return epoch.isoformat(timespec="microseconds")


def _with_month_and_day(text: str) -> str:
    """A time whose date has its day of the year, as CCSDS allows, with month and day instead."""
    ordinal = re.match(r"(\d{4})-(\d{3})(?=T|$)", text)
    if ordinal is None:
        return text
    year, day = int(ordinal[1]), int(ordinal[2])
    date = datetime(year, 1, 1) + timedelta(days=day - 1)
    if date.year != year:
        raise ValueError(f"{year} has no day {day}")
    return f"{date:%Y-%m-%d}{text[ordinal.end() :]}"


def _finite(where: str, name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise OrbitError(f"{where}: {name} is {value!r}, expected a number")
    return number


def satrec_from_keplerian(
    epoch: datetime,
    *,
    semi_major_axis_km: float,
    eccentricity: float,
    inclination_deg: float,
    raan_deg: float,
    arg_perigee_deg: float,
    mean_anomaly_deg: float,
) -> Satrec:
    """SGP4 record of mean Keplerian elements at `epoch`, angles in TEME, without drag."""
    given = {
        "semi_major_axis_km": semi_major_axis_km,
        "eccentricity": eccentricity,
        "inclination_deg": inclination_deg,
        "raan_deg": raan_deg,
        "arg_perigee_deg": arg_perigee_deg,
        "mean_anomaly_deg": mean_anomaly_deg,
    }
    for name, value in given.items():
        _finite("keplerian", name, value)
    if not 0.0 <= eccentricity < 1.0:
        raise OrbitError(
            f"keplerian: eccentricity is {eccentricity}, expected a closed orbit: 0 <= e < 1"
        )
    if not 0.0 <= inclination_deg <= 180.0:
        raise OrbitError(f"keplerian: inclination_deg is {inclination_deg}, expected 0 to 180")
    perigee_km = semi_major_axis_km * (1.0 - eccentricity) - EQUATORIAL_RADIUS_KM
    if perigee_km < LOWEST_PERIGEE_KM:
        raise OrbitError(
            f"keplerian: semi_major_axis_km {semi_major_axis_km} with eccentricity {eccentricity} "
            f"puts the perigee at {perigee_km:.1f} km altitude, at least "
            f"{LOWEST_PERIGEE_KM:.0f} km is needed; raise the semi-major axis (it counts from "
            f"the Earth's centre) or lower the eccentricity"
        )
    # SGP4 turns the Kozai mean motion into Brouwer's and that into a semi-major axis; the ratio of
    # axes corrects the mean motion until the axis is the one asked for.
    kozai = math.sqrt(SGP4_MU_KM3_S2 / semi_major_axis_km**3)
    for _ in range(6):
        satrec = _initialised(epoch, kozai, given)
        kozai *= (satrec.a * SGP4_RADIUS_KM / semi_major_axis_km) ** 1.5
    return _sound(_initialised(epoch, kozai, given), "keplerian")


def _initialised(epoch: datetime, mean_motion_rad_s: float, given: Mapping[str, float]) -> Satrec:
    satrec = Satrec()
    satrec.sgp4init(
        WGS72,
        "i",
        0,
        (epoch - _SGP4_EPOCH).total_seconds() / _DAY_S,
        0.0,
        0.0,
        0.0,
        given["eccentricity"],
        math.radians(given["arg_perigee_deg"]),
        math.radians(given["inclination_deg"]),
        math.radians(given["mean_anomaly_deg"] % 360.0),
        mean_motion_rad_s * 60.0,
        math.radians(given["raan_deg"] % 360.0),
    )
    return satrec


def satrec_from_sun_synchronous(epoch: datetime, *, altitude_km: float, ltan_h: float) -> Satrec:
    """SGP4 record of a circular sun-synchronous orbit that is at its ascending node at `epoch`."""
    _finite("sun_synchronous", "altitude_km", altitude_km)
    if altitude_km < LOWEST_PERIGEE_KM:
        raise OrbitError(
            f"sun_synchronous: altitude_km is {altitude_km}, at least {LOWEST_PERIGEE_KM:.0f} is "
            f"needed"
        )
    if not 0.0 <= _finite("sun_synchronous", "ltan_h", ltan_h) < 24.0:
        raise OrbitError(f"sun_synchronous: ltan_h is {ltan_h}, expected 0 <= hours < 24")
    axis_km = EQUATORIAL_RADIUS_KM + altitude_km
    raan_deg = _mean_sun_right_ascension_deg(epoch) + 15.0 * (ltan_h - 12.0)

    def record(inclination_deg: float, mean_anomaly_deg: float) -> Satrec:
        return satrec_from_keplerian(
            epoch,
            semi_major_axis_km=axis_km,
            eccentricity=0.0,
            inclination_deg=inclination_deg,
            raan_deg=raan_deg,
            arg_perigee_deg=0.0,
            mean_anomaly_deg=mean_anomaly_deg,
        )

    wanted_rad_min = 2.0 * math.pi / (TROPICAL_YEAR_DAYS * 1440.0)

    def node_rate_excess(inclination_deg: float) -> float:
        return float(record(inclination_deg, 0.0).nodedot) - wanted_rad_min

    if node_rate_excess(180.0) < 0.0:
        raise OrbitError(
            f"sun_synchronous: altitude_km is {altitude_km}, too high: above about 5900 km the "
            f"Earth's oblateness cannot turn the node with the Sun; lower it"
        )
    inclination_deg = brentq(node_rate_excess, 90.0, 180.0, xtol=1e-10)

    def height_over_equator(mean_anomaly_deg: float) -> float:
        satrec = record(inclination_deg, mean_anomaly_deg)
        return float(satrec.sgp4(satrec.jdsatepoch, satrec.jdsatepochF)[1][2])

    # Periodic terms move the satellite a little off the node at zero mean anomaly: undo that.
    return record(inclination_deg, brentq(height_over_equator, -5.0, 5.0, xtol=1e-9))


def _mean_sun_right_ascension_deg(epoch: datetime) -> float:
    """Right ascension of the fictitious mean Sun: mean sidereal time less mean solar time."""
    start = skyfield_times(epoch, 0.0)
    sidereal, _ = theta_GMST1982(start.whole, start.ut1_fraction)
    solar_day_fraction = (start.whole + 0.5) % 1.0 + start.ut1_fraction
    return float(math.degrees(sidereal) - 360.0 * (solar_day_fraction - 0.5)) % 360.0


def _sound(satrec: Any, where: str) -> Satrec:
    if satrec.error:
        raise OrbitError(
            f"{where}: SGP4 refuses these elements: {SGP4_ERRORS.get(satrec.error, satrec.error)}"
        )
    if satrec.altp < 0.0:
        raise OrbitError(
            f"{where}: mean motion and eccentricity put the perigee "
            f"{-satrec.altp * SGP4_RADIUS_KM:.0f} km below the ground; give the elements of an "
            f"orbit"
        )
    return satrec
