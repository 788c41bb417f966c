"""The orbit a scenario describes, ready to be propagated."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sgp4 import omm

from simulator.geometry import Orbit, OrbitError
from simulator.scenario.models import Scenario
from simulator.scenario.spacecraft import Satellite


def orbit_of(scenario: Scenario, satellite: Satellite) -> Orbit:
    """Build a satellite's orbit; ``t_s = 0`` is the scenario's epoch.

    Raises
    ------
    OrbitError
        A file is missing or holds no elements, a checksum is wrong, or SGP4 refuses.
    UndefinedVariableError
        A path names an environment variable that is not set.
    """
    orbit = satellite.orbit
    if orbit.tle is not None:
        lines = orbit.tle if isinstance(orbit.tle, tuple) else _lines(scenario.resolve(orbit.tle))
        return Orbit.from_tle(lines, scenario.epoch)
    if orbit.omm is not None:
        return Orbit.from_omm(read_omm(scenario.resolve(orbit.omm)), scenario.epoch)
    if orbit.sun_synchronous is not None:
        return Orbit.from_sun_synchronous(scenario.epoch, **orbit.sun_synchronous.model_dump())
    if orbit.keplerian is not None:
        return Orbit.from_keplerian(scenario.epoch, **orbit.keplerian.model_dump())
    raise OrbitError(f"satellite {satellite.name!r} has no orbit; give one of {orbit.KINDS}")


def _text(path: Path, expected: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise OrbitError(
            f"{path}: no such file, {expected} was expected; correct the path"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise OrbitError(f"{path}: cannot be read as {expected} ({error}); check it") from None


def _lines(path: Path) -> list[str]:
    """Read the lines of the one element set in a TLE file."""
    lines = [line for line in _text(path, "a file of two TLE lines").splitlines() if line.strip()]
    if len(lines) > 3:
        raise OrbitError(
            f"{path}: {len(lines)} lines found, expected one element set (2 lines, perhaps with a "
            "title line before them); keep the satellite that is to fly"
        )
    return lines


def read_omm(path: Path) -> Mapping[str, object]:
    """Read the one Orbit Mean-Elements Message of a JSON, XML or CSV file (CCSDS 502.0).

    Raises
    ------
    OrbitError
        The file is missing, is none of the three, or does not hold exactly one message.
    """
    text = _text(path, "an Orbit Mean-Elements Message")
    try:
        messages = _messages(path, text)
    except (
        json.JSONDecodeError,
        ElementTree.ParseError,
        csv.Error,
        AttributeError,
        TypeError,
    ) as error:
        raise OrbitError(
            f"{path}: it is no OMM in {path.suffix.lstrip('.').upper() or 'JSON'} ({error}); "
            "export it again as JSON, XML or CSV"
        ) from None
    if len(messages) != 1 or not isinstance(messages[0], dict):
        raise OrbitError(
            f"{path}: {len(messages)} messages found, expected 1; keep the satellite to fly"
        )
    return messages[0]


def _messages(path: Path, text: str) -> list[Any]:
    suffix = path.suffix.lower()
    if suffix == ".xml":
        return list(omm.parse_xml(io.StringIO(text)))
    if suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    document = json.loads(text)
    return document if isinstance(document, list) else [document]
