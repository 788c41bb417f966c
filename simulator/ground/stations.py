"""The station catalogue: ground stations that a scenario may name instead of describing.

Positions and their sources are in ``stations.yaml`` beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml


@dataclass(frozen=True)
class Station:
    """A place on the ground that can talk to a satellite.

    Attributes
    ----------
    name : str
        Name in the catalogue, lower case.
    latitude_deg, longitude_deg : float
        Geodetic WGS84.
    altitude_m : float
        Above the ellipsoid.
    source : str
        Where the position was found; ``unverified`` when from memory.
    """

    name: str
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    source: str = ""


@cache
def catalogue() -> Mapping[str, Station]:
    """Every station known by name, in the order of ``stations.yaml``."""
    text = files("simulator.ground").joinpath("stations.yaml").read_text(encoding="utf-8")
    return MappingProxyType({row["name"]: Station(**row) for row in yaml.safe_load(text)})
