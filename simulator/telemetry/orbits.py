"""The orbits that were flown, kept with the run as Orbit Mean-Elements Messages (CCSDS 502.0).

A scenario may name a file for its orbit; the run folder must not depend on that file. What is kept
are the mean elements SGP4 really flew, in the keywords any SGP4 library reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from sgp4.api import Satrec
from sgp4.conveniences import sat_epoch_datetime

_MINUTES_PER_DAY = 1440.0


def orbits_json(satrecs: Mapping[str, Satrec]) -> str:
    """Text of ``orbits.json``: OMM fields of each satellite.

    Parameters
    ----------
    satrecs : mapping of str to sgp4.api.Satrec
        By satellite name.
    """
    return json.dumps({name: _omm(name, s) for name, s in satrecs.items()}, indent=1) + "\n"


def _omm(name: str, satrec: Satrec) -> dict[str, str | float | int]:
    epoch = sat_epoch_datetime(satrec).replace(tzinfo=None)
    return {
        "OBJECT_NAME": name,
        "OBJECT_ID": "2000-001A",
        "CENTER_NAME": "EARTH",
        "REF_FRAME": "TEME",
        "TIME_SYSTEM": "UTC",
        "MEAN_ELEMENT_THEORY": "SGP4",
        "EPOCH": epoch.isoformat(timespec="microseconds"),
        "MEAN_MOTION": satrec.no_kozai * _MINUTES_PER_DAY / math.tau,
        "ECCENTRICITY": satrec.ecco,
        "INCLINATION": math.degrees(satrec.inclo),
        "RA_OF_ASC_NODE": math.degrees(satrec.nodeo),
        "ARG_OF_PERICENTER": math.degrees(satrec.argpo),
        "MEAN_ANOMALY": math.degrees(satrec.mo),
        "EPHEMERIS_TYPE": 0,
        "CLASSIFICATION_TYPE": "U",
        "NORAD_CAT_ID": satrec.satnum,
        "ELEMENT_SET_NO": satrec.elnum,
        "REV_AT_EPOCH": satrec.revnum,
        "BSTAR": satrec.bstar,
        "MEAN_MOTION_DOT": satrec.ndot * _MINUTES_PER_DAY**2 / math.tau,
        "MEAN_MOTION_DDOT": satrec.nddot * _MINUTES_PER_DAY**3 / math.tau,
    }
