"""Guesses at the unit somebody meant: a field in metres where one in kilometres is known."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

FAMILIES: tuple[dict[str, float], ...] = (
    {"m": 1.0, "km": 1e3},
    {"s": 1.0, "sec": 1.0, "min": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0, "d": 86400.0,
     "days": 86400.0},
    {"w": 1.0, "mw": 1e-3, "kw": 1e3},
    {"wh": 1.0, "kwh": 1e3, "j": 1 / 3600, "mj": 1e6 / 3600},
    {"kib": 1 / 1024, "mib": 1.0, "gib": 1024.0, "tib": 1024.0**2, "mb": 1e6 / 2**20,
     "gb": 1e9 / 2**20, "tb": 1e12 / 2**20},
    {"bps": 1e-6, "kbps": 1e-3, "mbps": 1.0, "gbps": 1e3},
    {"deg": 1.0, "rad": 57.29577951308232},
    {"fraction": 1.0, "percent": 0.01, "pct": 0.01},
    {"ghz": 1.0, "mhz": 1e-3},
)  # fmt: skip
"""Units that can stand at the end of a field name, with their size in the family's own unit."""

TIMES_TOO_LONG = 10
"""A time less often over its limit than this is too long, rather than in a smaller unit."""

UNIT_NAMES = {"fraction": "a fraction", "percent": "per cent", "d": "days", "s": "seconds"}


def _family(unit: str) -> dict[str, float]:
    return next((family for family in FAMILIES if unit in family), {})


def _split(field: str) -> tuple[str, str]:
    base, _, unit = field.rpartition("_")
    return (base, unit.lower()) if _family(unit.lower()) else (field, "")


def _number(value: float) -> str:
    return f"{value:.6g}"


def in_unit_of(field: str, value: object, known: Sequence[str]) -> tuple[str, str] | None:
    """Find the known field that differs from `field` in its unit alone, and convert `value`.

    Examples
    --------
    >>> in_unit_of("altitude_m", 510000, ["altitude_km", "ltan_h"])
    ('altitude_km', '510')
    """
    base, unit = _split(field)
    for name in known:
        known_base, known_unit = _split(name)
        family = _family(known_unit)
        same = known_base == base and (not unit or unit in family) and name != field
        if same and known_unit and isinstance(value, (int, float)):
            return name, _number(value * family.get(unit, family[known_unit]) / family[known_unit])
    return None


def unit_hint(field: str, value: object, allowed: tuple[float, float]) -> str:
    """Guess the unit of a number that is out of range; empty when no unit brings it in.

    Examples
    --------
    >>> unit_hint("initial_fraction", 80, (0, 1))
    'if 80 is in per cent, write 0.8'
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < allowed[1]:
        return ""
    _, unit = _split(field)
    family = _family(unit)
    if unit == "h" and allowed == (0, 24) and value == 24:
        return "write 0: 24 h is midnight, where the next day begins"
    if unit == "h" and value < TIMES_TOO_LONG * allowed[1]:
        return ""
    for other, size in family.items():
        converted = value * size / family[unit]
        if size < family[unit] and allowed[0] < converted <= allowed[1]:
            meant = UNIT_NAMES.get(other, other)
            return f"if {_number(value)} is in {meant}, write {_number(converted)}"
    return ""


def number_in_text(field: str, text: str, most: float) -> str | None:
    """Number that a text such as ``40 Wh`` or ``1e9`` stands for in a field; None if it is none.

    A unit that is known is converted to that in the field's name, per cent to a fraction where
    `most`, the greatest number allowed, is no more than 1. Of a unit that is not known the number
    is left as it is.

    Examples
    --------
    >>> number_in_text("duration_h", "90 min", 8784)
    '1.5'
    >>> number_in_text("battery_wh", "1e3", 1e9)
    '1000'
    """
    found = re.fullmatch(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([A-Za-z%°]*)\s*", text)
    if found is None:
        return None
    number, written = float(found.group(1)), found.group(2).lower()
    if not math.isfinite(number):
        return None
    if written == "%":
        return f"{number / 100 if most <= 1 else number:.12g}"
    _, unit = _split(field)
    family = _family(unit)
    return f"{number * family[written] / family[unit] if written in family else number:.12g}"
