"""Positions and areas of GeoJSON: checked, and areas cut into frames.

An area is cut into a grid of cells the size of a frame, edge to edge, with edges north-south and
east-west. A frame on the ground is turned by the heading of the track, so neighbouring frames
leave small gaps at their corners: the cut says where to look, not what each pixel covers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import shapely
from shapely.errors import GEOSException
from shapely.geometry import box, shape

from simulator.scenario.problems import FieldPath, dotted

KM_PER_DEGREE = 111.195
"""Length of a degree of latitude on a sphere of 6371 km; good to 0.6 % for cutting frames."""

MAX_FRAMES = 20_000
"""More than this is an area cut with too small a frame."""


class RefusalError(ValueError):
    """One thing wrong with a feature; turned into a `Problem` where its place is known."""

    def __init__(self, path: FieldPath, reason: str, remedy: str, allowed: str = "") -> None:
        self.path, self.reason, self.remedy, self.allowed = path, reason, remedy, allowed
        super().__init__(f"{dotted(path)}: {reason}; {remedy}")


def position_of(coordinates: Any, path: FieldPath) -> tuple[float, float]:
    """Check one position: longitude, latitude and perhaps a height, which is left out."""
    numbers = isinstance(coordinates, list) and all(
        isinstance(number, (int, float)) and math.isfinite(number) for number in coordinates
    )
    if not numbers or len(coordinates) < 2:
        raise RefusalError(path, "it is no position", "give [longitude_deg, latitude_deg]")
    longitude, latitude = float(coordinates[0]), float(coordinates[1])
    if abs(latitude) > 90:
        swapped = abs(longitude) <= 90 and abs(latitude) <= 180
        raise RefusalError(
            path,
            f"the latitude {latitude:g} is out of range",
            "swap the two: GeoJSON has longitude first" if swapped else "give WGS84 degrees",
            "[longitude -180..180, latitude -90..90]",
        )
    if abs(longitude) > 180:
        raise RefusalError(
            path,
            f"the longitude {longitude:g} is out of range",
            "give WGS84 degrees from -180 to 180",
            "[longitude -180..180, latitude -90..90]",
        )
    return longitude, latitude


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


def _positions_within(coordinates: Any, path: FieldPath) -> None:
    """Check every position of a nested list of positions."""
    if isinstance(coordinates, list) and coordinates and isinstance(coordinates[0], list):
        for index, item in enumerate(coordinates):
            _positions_within(item, (*path, index))
    else:
        position_of(coordinates, path)


def frame_centres(
    area: Any, frame_km: tuple[float, float], path: FieldPath
) -> list[tuple[float, float]]:
    """Cut an area into frames: latitude and longitude of the centre of each, row by row.

    Frames lie edge to edge with the edges north-south and east-west; those that do not meet the
    area are left out.
    """
    west, south, east, north = area.bounds
    height_deg = frame_km[0] / KM_PER_DEGREE
    rows = max(1, math.ceil((north - south) / height_deg))
    centres: list[tuple[float, float]] = []
    for row in range(rows):
        latitude = (north + south) / 2 + (rows / 2 - row - 0.5) * height_deg
        latitude = min(90.0, max(-90.0, latitude))
        shrink = max(0.01, math.cos(math.radians(latitude)))
        width_deg = frame_km[1] / (KM_PER_DEGREE * shrink)
        columns = max(1, math.ceil((east - west) / width_deg))
        if len(centres) + columns > MAX_FRAMES:
            raise RefusalError(
                path,
                f"the area needs more than {MAX_FRAMES} frames of "
                f"{frame_km[0]:g} x {frame_km[1]:g} km",
                "draw a smaller area",
            )
        for column in range(columns):
            longitude = (west + east) / 2 + (column + 0.5 - columns / 2) * width_deg
            cell = box(
                longitude - width_deg / 2,
                latitude - height_deg / 2,
                longitude + width_deg / 2,
                latitude + height_deg / 2,
            )
            if area.intersection(cell).area > 0:
                centres.append((latitude, (longitude + 180) % 360 - 180))
    return centres
