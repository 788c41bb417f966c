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
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.errors import GEOSException
from shapely.geometry import shape

from simulator.scenario.problems import FieldPath, dotted

KM_PER_DEGREE = 111.195
"""Length of a degree of latitude on a sphere of 6371 km; good to 0.6 % for cutting frames."""

MAX_FRAMES = 20_000
"""More than this is an area cut with too small a frame."""

MAX_CELLS = 2_000_000
"""Most cells of the rectangles around an area's parts that are looked through."""

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
    """Check a Polygon or MultiPolygon and return it as a shapely geometry.

    Parts that touch are one. An area on both sides of the antimeridian is in one piece: its
    longitudes run on beyond 180 degrees.
    """
    _positions_within(geometry.get("coordinates"), (*path, "coordinates"))
    try:
        area = shape(geometry)
    except (GEOSException, ValueError, TypeError, IndexError) as error:
        raise RefusalError(path, f"it is no area: {error}", "draw the area again") from None
    parts = list(getattr(area, "geoms", [area]))
    for part in parts:
        if not part.is_valid:
            reason = shapely.is_valid_reason(part)
            raise RefusalError(path, f"its outline is not sound: {reason}", "mend the outline")
    if area.is_empty or area.area == 0:
        raise RefusalError(path, "the area is empty", "draw the area again, or give a Point")
    for part in parts:
        west, _, east, _ = part.bounds
        if east - west > 180:
            raise RefusalError(
                path,
                "it spans more than 180 degrees of longitude",
                "cut it into a MultiPolygon: at the antimeridian if it crosses that, and a cap "
                "around a pole into two halves",
            )
    return shapely.union_all(_unrolled(parts))


def _unrolled(parts: list[Any]) -> list[Any]:
    """Parts whose longitudes run eastwards from the widest gap between them, beyond 180 degrees."""
    ordered = sorted((part for part in parts if not part.is_empty), key=lambda p: p.bounds[0])
    west = np.array([part.bounds[0] for part in ordered])
    reach = np.maximum.accumulate([part.bounds[2] for part in ordered])
    gaps = np.append(west[0] + 360.0 - reach[-1], west[1:] - reach[:-1])
    first = int(gaps.argmax())
    return ordered[first:] + [translate(part, 360.0) for part in ordered[:first]]


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

    Cells lie edge to edge with the edges north-south and east-west, on one grid for all parts of
    the area; those that do not meet it are left out.

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
    parts = shapely.bounds(shapely.get_parts(area))
    if _cells_around(parts, height_deg) > MAX_CELLS:
        raise _too_many("the rectangles around its parts hold", MAX_CELLS, cell_km, path)
    boxes: list[tuple[float, float, float, float]] = []
    shapely.prepare(area)
    down = (north + south + rows * height_deg) / 2 - parts
    for row in _met(down[:, 3], down[:, 1], height_deg, rows):
        latitude = (north + south) / 2 + (rows / 2 - row - 0.5) * height_deg
        latitude = min(90.0, max(-90.0, latitude))
        bottom, top = latitude - height_deg / 2, latitude + height_deg / 2
        width_deg = min(360.0, cell_km[1] / (KM_PER_DEGREE * math.cos(math.radians(latitude))))
        columns = max(1, math.ceil((east - west) / width_deg))
        # Around the whole Earth the last cell ends where the first begins.
        width_deg = min(width_deg, 360.0 / columns)
        across = parts[(parts[:, 1] <= top) & (parts[:, 3] >= bottom)]
        across = across - (west + east - columns * width_deg) / 2
        column = _met(across[:, 0], across[:, 2], width_deg, columns)
        longitude = (west + east) / 2 + (column + 0.5 - columns / 2) * width_deg
        cells = shapely.box(longitude - width_deg / 2, bottom, longitude + width_deg / 2, top)
        boxes += [cell.bounds for cell in cells[shapely.intersects(area, cells)]]
        if len(boxes) > MAX_FRAMES:
            raise _too_many("the area needs", MAX_FRAMES, cell_km, path)
    whole = shapely.contains(area, shapely.box(*np.array(boxes).T))
    return _shared(area, boxes, whole)


def _cells_around(parts: NDArray[np.float64], cell_deg: float) -> float:
    """Cells in the rectangles around the parts of an area, about."""
    west, south, east, north = parts.T
    return float(np.sum(((north - south) / cell_deg + 1) * ((east - west) / cell_deg + 1)))


def _met(
    start: NDArray[np.float64], end: NDArray[np.float64], step: float, steps: int
) -> NDArray[np.intp]:
    """Which steps from 0 may meet any of the spans; one more on either side for rounding."""
    first = np.clip(start // step - 1, 0, steps - 1).astype(np.intp)
    last = np.clip(end // step + 1, 0, steps - 1).astype(np.intp)
    spans = [np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
    return np.unique(np.concatenate(spans)) if spans else np.zeros(0, dtype=np.intp)


def _shared(
    area: Any, boxes: list[tuple[float, float, float, float]], whole: NDArray[np.bool_]
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
            ground = part_deg2 * math.cos(math.radians(latitude))
            found.append((latitude, (longitude + 180) % 360 - 180, ground))
    total = math.fsum(ground for _, _, ground in found)
    return [Cell(latitude, longitude, ground / total) for latitude, longitude, ground in found]


def _too_many(what: str, most: int, cell_km: tuple[float, float], path: FieldPath) -> RefusalError:
    return RefusalError(
        path,
        f"{what} more than {most} frames of {cell_km[0]:g} x {cell_km[1]:g} km",
        "draw a smaller area, or set spacing_km: frames then lie that far apart",
    )
