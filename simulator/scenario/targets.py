"""Targets: the places on the ground a mission is to image, read from GeoJSON (RFC 7946).

A Point is one target. A Polygon or MultiPolygon is an area that one frame seldom covers: it is
split into targets the size of a frame, named ``name#01``, ``name#02``, ... from north-west to
south-east. With ``spacing_km`` the frames lie that far apart and each stands for its cell, which is
how land too large to image whole is mapped. ``repeat_days`` asks for an image in every such period
from the epoch on. Coordinates are WGS84 degrees, longitude first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from payload.surfaces import SURFACES
from simulator.scenario.areas import RefusalError, area_of, cells_of, position_of
from simulator.scenario.models import Scenario
from simulator.scenario.problems import (
    FieldPath,
    Problem,
    ScenarioError,
    UndefinedVariableError,
    nearest,
    shown_path,
)
from simulator.scenario.source import Source, read_source, shortened, undefined_variable

MAX_PRIORITY = 100.0

REPEAT_DAYS = (1.0 / 24.0, 366.0)
SPACING_KM = (1.0, 5000.0)

PROPERTIES = (
    "name", "priority", "deadline", "deadline_h", "surface", "max_cloud_fraction", "repeat_days",
    "spacing_km",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A place to image.

    Attributes
    ----------
    name : str
        Unique in the scenario.
    latitude_deg, longitude_deg : float
        Centre of the frame that is wanted, WGS84.
    priority : float
        Relative worth, above 0; 1 when the file says nothing.
    deadline_h : float or None
        Hours since the scenario's epoch after which an image has no worth.
    surface : str or None
        What the ground is (`payload.surfaces.SURFACES`), for the choice of scenes.
    max_cloud_fraction : float or None
        Cover below which this target is satisfied; the scenario's `target_cloud_fraction`
        when None.
    repeat_days : float or None
        One image is wanted in each period of so many days, counted from the epoch; one in all
        when None.
    area : str or None
        Name of the area of which this is a frame.
    area_share : float
        Share of that area's ground for which this frame stands; 1 without an area.
    """

    name: str
    latitude_deg: float
    longitude_deg: float
    priority: float = 1.0
    deadline_h: float | None = None
    surface: str | None = None
    max_cloud_fraction: float | None = None
    repeat_days: float | None = None
    area: str | None = None
    area_share: float = 1.0


def load_targets(scenario: Scenario) -> tuple[Target, ...]:
    """Read the targets of a scenario, in the order of the file.

    Raises
    ------
    ScenarioError
        When the file is missing or broken, with the place of every problem.
    """
    try:
        path = scenario.resolve(scenario.targets)
    except UndefinedVariableError as error:
        raise ScenarioError([undefined_variable(scenario.source, ("targets",), error)]) from None
    if not path.is_file():
        raise ScenarioError([_missing(scenario.source, path)])
    frame_km = min(
        (satellite.imager.frame_km for satellite in scenario.satellites), key=lambda km: min(km)
    )
    return read_targets(path, frame_km=frame_km, epoch=scenario.epoch)


def read_targets(
    path: Path, *, frame_km: tuple[float, float], epoch: datetime
) -> tuple[Target, ...]:
    """Read a GeoJSON file of targets.

    Parameters
    ----------
    path : Path
        A FeatureCollection of Points, Polygons and MultiPolygons.
    frame_km : tuple of float
        Size of a frame on the ground (rows, columns); areas are cut to it.
    epoch : datetime
        Start of the mission; absolute deadlines are counted from it.

    Raises
    ------
    ScenarioError
        With every feature that cannot be used.
    """
    features = _read_features(path)
    targets: list[Target] = []
    refusals: list[RefusalError] = []
    owners: dict[str, int] = {}
    for index, feature in enumerate(features):
        try:
            found = list(_targets_of(feature, ("features", index), frame_km, epoch))
            for target in found:
                _refuse_repeat(target.name, index, owners)
        except RefusalError as refusal:
            refusals.append(refusal)
            continue
        targets += found
    if not refusals and not targets:
        refusals.append(RefusalError(("features",), "there is no target", "add a Point feature"))
    if refusals:
        raise ScenarioError(_placed(path, refusals))
    return tuple(targets)


def _read_features(path: Path) -> list[Any]:
    """Read the list of features; raise `ScenarioError` when the file is no FeatureCollection."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        problem = Problem(
            file=shown_path(path),
            line=error.lineno,
            column=error.colno,
            reason=f"the file is no JSON: {error.msg}",
            remedy="correct this line, or export the file again",
        )
        raise ScenarioError([problem]) from None
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(
            file=shown_path(path),
            reason=f"the file cannot be read: {error}",
            remedy="give a GeoJSON file in UTF-8",
        )
        raise ScenarioError([problem]) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, endless lists
        problem = Problem(
            file=shown_path(path),
            reason=f"the file holds what no GeoJSON holds: {error}",
            remedy="export the file again",
        )
        raise ScenarioError([problem]) from None
    try:
        return _features_of(document)
    except RefusalError as refusal:
        raise ScenarioError(_placed(path, [refusal])) from None


def _missing(source: Source, path: Path) -> Problem:
    beside = sorted(p.name for p in path.parent.glob("*.geojson")) if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    remedy = f"did you mean {near}?" if near else "correct the path: it starts at the scenario file"
    return source.problem(
        ("targets",),
        f"there is no file {path}; a GeoJSON FeatureCollection of targets was expected",
        remedy,
        allowed=f"in that folder: {', '.join(beside)}" if beside else "",
    )


def _features_of(document: Any) -> list[Any]:
    kind = document.get("type") if isinstance(document, dict) else type(document).__name__
    if kind != "FeatureCollection":
        raise RefusalError((), f"the file holds a {kind}", "give a GeoJSON FeatureCollection")
    crs = json.dumps(document.get("crs", "CRS84"))
    if "CRS84" not in crs and "4326" not in crs:
        raise RefusalError(
            ("crs",), "the coordinates are not WGS84 degrees", "export the file in EPSG:4326"
        )
    features = document.get("features")
    if not isinstance(features, list) or not features:
        raise RefusalError(("features",), "there is no target", "add a Point feature")
    return features


def _targets_of(
    feature: Any, path: FieldPath, frame_km: tuple[float, float], epoch: datetime
) -> Iterator[Target]:
    """Yield the targets of one feature."""
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise RefusalError(path, "it is no GeoJSON Feature", 'give {"type": "Feature", ...}')
    properties = feature.get("properties")
    if properties is None:  # RFC 7946 has an object or null
        properties = {}
    if not isinstance(properties, dict):
        raise RefusalError(
            (*path, "properties"),
            f"{_shown(properties)} is no object of names and values",
            'give {"name": "..."}',
            "a JSON object, or null",
        )
    wanted = _wanted(properties, feature.get("id"), (*path, "properties"), epoch)
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        geometry = {"type": None}
    kind = geometry.get("type")
    here = (*path, "geometry")
    if kind == "Point":
        longitude, latitude = position_of(geometry.get("coordinates"), (*here, "coordinates"))
        yield Target(latitude_deg=latitude, longitude_deg=longitude, **wanted)
    elif kind in ("Polygon", "MultiPolygon"):
        area = area_of(geometry, here)
        spacing_km = _optional(properties, "spacing_km", path, SPACING_KM)
        cells = cells_of(area, (spacing_km, spacing_km) if spacing_km else frame_km, here)
        digits = max(2, len(str(len(cells))))
        for number, cell in enumerate(cells, start=1):
            yield Target(
                latitude_deg=cell.latitude_deg,
                longitude_deg=cell.longitude_deg,
                area=wanted["name"],
                area_share=cell.share,
                **{**wanted, "name": f"{wanted['name']}#{number:0{digits}d}"},
            )
    else:
        raise RefusalError(
            here,
            f"its geometry is {kind}",
            "draw a point or an area",
            "Point, Polygon, MultiPolygon",
        )


def _wanted(
    properties: Mapping[str, Any], identity: object, path: FieldPath, epoch: datetime
) -> dict[str, Any]:
    """Read the properties that make a target; foreign ones are left alone, near misses are not."""
    for key in (key for key in properties if key not in PROPERTIES):
        near = nearest(str(key), PROPERTIES, cutoff=0.8)
        if near and near not in properties:
            raise RefusalError((*path, key), "no such property is read", f"did you mean {near}?")
    name = properties.get("name", identity)
    if not isinstance(name, (str, int)) or not str(name).strip() or not str(name).isprintable():
        raise RefusalError(
            (*path, "name"), "the target has no name", 'add "name": "..." to properties'
        )
    surface = properties.get("surface")
    if surface is not None and surface not in SURFACES:
        near = nearest(str(surface), SURFACES)
        raise RefusalError(
            (*path, "surface"),
            f"{_shown(surface)} is no surface that is known",
            f"did you mean {near}?" if near else "use one of these, or leave it out",
            ", ".join(SURFACES),
        )
    return {
        "name": str(name).strip(),
        "priority": _number(properties.get("priority", 1.0), (*path, "priority"), MAX_PRIORITY),
        "deadline_h": _deadline_h(properties, path, epoch),
        "surface": surface,
        "max_cloud_fraction": _optional(properties, "max_cloud_fraction", path[:-1], (0.0, 1.0)),
        "repeat_days": _optional(properties, "repeat_days", path[:-1], REPEAT_DAYS),
    }


def _optional(
    properties: Mapping[str, Any], name: str, feature: FieldPath, span: tuple[float, float]
) -> float | None:
    """Read a number that may be left out."""
    value, path = properties.get(name), (*feature, "properties", name)
    return None if value is None else _number(value, path, span[1], span[0])


def _deadline_h(properties: Mapping[str, Any], path: FieldPath, epoch: datetime) -> float | None:
    """Read `deadline_h`, or `deadline` as hours since the epoch or as a time in UTC."""
    field = "deadline_h" if properties.get("deadline_h") is not None else "deadline"
    value = properties.get(field)
    if value is None:
        return None
    if isinstance(value, str) and field == "deadline":
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise RefusalError(
                (*path, field),
                f"{_shown(value)} is no time",
                "write it as 2024-06-03T12:00:00Z",
            ) from None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        value = (moment - epoch).total_seconds() / 3600
        if value <= 0:
            raise RefusalError(
                (*path, field), f"it is before the epoch {epoch:%Y-%m-%d}", "give a later time"
            )
    return _number(value, (*path, field), 24.0 * 366 * 100)


def _number(value: Any, path: FieldPath, highest: float, lowest: float = 0.0) -> float:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not lowest <= value <= highest or value == 0:
        least = f"of at least {lowest:.3g}" if lowest else "above 0"
        raise RefusalError(
            path,
            f"{_shown(value)} is {'out of range' if plain else 'not a number'}",
            f"give a number {least} and at most {highest:g}",
            f"a number {least} and at most {highest:g}",
        )
    return float(value)


def _shown(value: object) -> str:
    """A value as it stands in a message, however long it is."""
    return shortened(repr(value))


def _refuse_repeat(name: str, index: int, owners: dict[str, int]) -> None:
    first = owners.setdefault(name, index)
    if first != index:
        raise RefusalError(
            ("features", index, "properties", "name"),
            f"{name!r} is also the name of feature {first}",
            "give each target its own name",
        )


def _placed(path: Path, refusals: list[RefusalError], limit: int = 5) -> list[Problem]:
    """Find line and column of each refusal: JSON is YAML, so the same reader finds them."""
    try:
        source = read_source(path)
    except (ScenarioError, RecursionError):
        source = Source(path=path, values=None)
    problems = [
        source.problem(refusal.path, refusal.reason, refusal.remedy, allowed=refusal.allowed)
        for refusal in refusals[:limit]
    ]
    if len(refusals) > limit:
        more = Problem(
            file=shown_path(path),
            reason=f"{len(refusals) - limit} more features cannot be used",
            remedy="correct these first",
        )
        problems.append(more)
    return problems
