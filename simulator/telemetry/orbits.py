"""The orbits that were flown, kept with the run as Orbit Mean-Elements Messages (CCSDS 502.0).

A scenario may name a file for its orbit; the run folder must not depend on that file. What is kept
are the mean elements SGP4 really flew, in the keywords any SGP4 library reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sgp4.api import Satrec
from sgp4.exporter import export_omm


def orbits_json(satrecs: Mapping[str, Satrec]) -> str:
    """Text of ``orbits.json``: OMM fields of each satellite.

    Parameters
    ----------
    satrecs : mapping of str to sgp4.api.Satrec
        By satellite name.
    """
    return json.dumps({n: export_omm(satrec, n) for n, satrec in satrecs.items()}, indent=1) + "\n"
