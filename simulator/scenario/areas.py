"""Positions and areas of GeoJSON: checked, and areas cut into frames.

An area is cut into a grid of cells the size of a frame, edge to edge, with edges north-south and
east-west. A frame on the ground is turned by the heading of the track, so neighbouring frames
leave small gaps at their corners: the cut says where to look, not what each pixel covers. Cells
may be larger than a frame: then the frame in the middle of each stands for its cell, as in a
systematic sample.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.errors import GEOSException
from shapely.geometry import shape

from simulator.scenario.problems import FieldPath, dotted

KM_PER_DEGREE = 111.195
"""Length of a degree of latitude on a sphere of 6371 km; good to 0.6 % for cutting frames."""

MAX_FRAMES = 20_000
"""More than this is an area cut with too small a frame."""

MAX_CELLS = 2_000_000
"""Most cells of the rectangle around an area that are looked through."""

MOST_NESTED = 4
"""Lists of a MultiPolygon, one in the other: parts, rings, positions, numbers."""

POSITIONS = "[longitude -180..180, latitude -90..90]"
"""What a position may be."""


@dataclass(frozen=True)
class Cell:
    """A piece of an area: the centre of its frame, and its share of the area's ground.

    The shares of an area's cells sum up to 1.
    """

    latitude_deg: float
    longitude_deg: float
    share: float


class RefusalError(ValueError):
    """One thing wrong with a feature; turned into a `Problem` where its place is known."""

    def __init__(self, path: FieldPath, reason: str, remedy: str, allowed: str = "") -> None:
        self.path, self.reason, self.remedy, self.allowed = path, reason, remedy, allowed
        super().__init__(f"{dotted(path)}: {reason}; {remedy}")


def position_of(coordinates: Any, path: FieldPath) -> tuple[float, float]:
    """Check one position: longitude, latitude and perhaps a height, which is left out."""
    numbers = isinstance(coordinates, list) and all(
        isinstance(number, (int, float)) for number in coordinates
    )
    if not numbers or len(coordinates) < 2:
        raise RefusalError(path, "it is no position", "give [longitude_deg, latitude_deg]")
    for index, number in enumerate(coordinates):
        if not _is_finite(number):
            raise RefusalError(
                (*path, index), "it is no finite number", "give WGS84 degrees", POSITIONS
            )
    longitude, latitude = float(coordinates[0]), float(coordinates[1])
    if abs(latitude) > 90:
        swapped = abs(longitude) <= 90 and abs(latitude) <= 180
        raise RefusalError(
            path,
            f"the latitude {latitude:g} is out of range",
            "swap the two: GeoJSON has longitude first" if swapped else "give WGS84 degrees",
            POSITIONS,
        )
    if abs(longitude) > 180:
        raise RefusalError(
            path,
            f"the longitude {longitude:g} is out of range",
            "give WGS84 degrees from -180 to 180",
            POSITIONS,
        )
    return longitude, latitude


def _is_finite(number: float) -> bool:
    """Whether a float can hold a number of a JSON file.

    JSON has whole numbers of any length, for which `math.isfinite` and `float` raise.
    """
    return -sys.float_info.max <= number <= sys.float_info.max


def area_of(geometry: Mapping[str, Any], path: FieldPath) -> Any:
    """Check a Polygon or MultiPolygon and return it as a shapely geometry."""
    _positions_within(geometry.get("coordinates"), (*path, "coordinates"))
    try:
        area = shape(geometry)
    except (GEOSException, ValueError, TypeError, IndexError) as error:
        raise RefusalError(path, f"it is no area: {error}", "draw the area again") from None
    if not area.is_valid:
        reason = shapely.is_valid_reason(area)
        raise RefusalError(path, f"its outline is not sound: {reason}", "mend the outline")
    if area.is_empty or area.area == 0:
        raise RefusalError(path, "the area is empty", "draw the area again, or give a Point")
    for part in getattr(area, "geoms", [area]):
        west, _, east, _ = part.bounds
        if east - west > 180:
            raise RefusalError(
                path,
                "it spans more than 180 degrees of longitude",
                "cut an area that crosses the antimeridian into a MultiPolygon",
            )
    return area


def _positions_within(coordinates: Any, path: FieldPath, depth: int = 1) -> None:
    """Check every position of a nested list of positions."""
    if isinstance(coordinates, list) and coordinates and isinstance(coordinates[0], list):
        if depth == MOST_NESTED:
            raise RefusalError(path, "the lists are nested too deep", "draw the area again")
        for index, item in enumerate(coordinates):
            _positions_within(item, (*path, index), depth + 1)
    else:
        position_of(coordinates, path)


def cells_of(area: Any, cell_km: tuple[float, float], path: FieldPath) -> list[Cell]:
    """Cut an area into cells, row by row from the north-west.

    Cells lie edge to edge with the edges north-south and east-west; those that do not meet the
    area are left out.

    Parameters
    ----------
    area : shapely geometry
    cell_km : tuple of float
        North-south and east-west size of a cell.
    path : FieldPath
        Where the area stands in its file, for what is refused.
    """
    west, south, east, north = area.bounds
    height_deg = cell_km[0] / KM_PER_DEGREE
    rows = max(1, math.ceil((north - south) / height_deg))
    boxes: list[tuple[float, float, float, float]] = []
    if rows * (east - west) / height_deg > MAX_CELLS:
        raise _too_many(cell_km, path)
    shapely.prepare(area)
    for row in range(rows):
        latitude = (north + south) / 2 + (rows / 2 - row - 0.5) * height_deg
        latitude = min(90.0, max(-90.0, latitude))
        shrink = max(0.01, math.cos(math.radians(latitude)))
        width_deg = cell_km[1] / (KM_PER_DEGREE * shrink)
        columns = max(1, math.ceil((east - west) / width_deg))
        longitude = (west + east) / 2 + (np.arange(columns) + 0.5 - columns / 2) * width_deg
        bottom, top = latitude - height_deg / 2, latitude + height_deg / 2
        cells = shapely.box(longitude - width_deg / 2, bottom, longitude + width_deg / 2, top)
        boxes += [cell.bounds for cell in cells[shapely.intersects(area, cells)]]
        if len(boxes) > MAX_FRAMES:
            raise _too_many(cell_km, path)
    whole = shapely.contains(area, shapely.box(*np.array(boxes).T))
    return _shared(area, boxes, whole)


def _shared(
    area: Any, boxes: list[tuple[float, float, float, float]], whole: np.ndarray[Any, Any]
) -> list[Cell]:
    """Cells with their shares; those that only touch the area are left out."""
    found = []
    for (west, south, east, north), inside in zip(boxes, whole, strict=True):
        latitude, longitude = (south + north) / 2, (west + east) / 2
        box_deg2 = (east - west) * (north - south)
        part_deg2 = box_deg2
        if not inside:
            part_deg2 = shapely.clip_by_rect(area, west, south, east, north).area
        if part_deg2 > 0.0:
            ground = part_deg2 * max(0.01, math.cos(math.radians(latitude)))
            found.append((latitude, (longitude + 180) % 360 - 180, ground))
    total = math.fsum(ground for _, _, ground in found)
    return [Cell(latitude, longitude, ground / total) for latitude, longitude, ground in found]


def _too_many(cell_km: tuple[float, float], path: FieldPath) -> RefusalError:
    return RefusalError(
        path,
        f"the area needs more than {MAX_FRAMES} frames of {cell_km[0]:g} x {cell_km[1]:g} km",
        "draw a smaller area, or set spacing_km: frames then lie that far apart",
    )
