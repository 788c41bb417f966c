"""Re-encodes Natural Earth land as the few kilobytes of coastline that the map draws offline.

Natural Earth (naturalearthdata.com) is in the public domain. Give the shapefile of its 1:110m
countries or land::

    python dashboard/data/build_coastline.py ne_110m_admin_0_countries.shp

Countries are dissolved into land, coordinates rounded to 0.1 degrees, and islets left out that
would be smaller than a pixel of the map. Needs ``pyshp``, which nothing else here does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import shapefile
from shapely import union_all
from shapely.geometry import Polygon, shape

OUT = Path(__file__).with_name("coastline.json")
GAP_DEG = 0.02
"""Neighbours are drawn with gaps of rounding between them; closed before dissolving."""


def land(shapefile_path: Path) -> list[Polygon]:
    """Land without borders, largest first."""
    with shapefile.Reader(str(shapefile_path)) as reader:
        countries = [shape(record.__geo_interface__).buffer(GAP_DEG) for record in reader.shapes()]
    merged = union_all(countries).buffer(-GAP_DEG)
    parts = [part for part in getattr(merged, "geoms", [merged]) if part.area > 0.05]
    return sorted(parts, key=lambda part: -part.area)


def lines(parts: list[Polygon]) -> list[list[list[float]]]:
    """Outer and inner rings as [longitude, latitude] pairs, rounded and without repeats."""
    rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    rounded = [[[round(x, 1), round(y, 1)] for x, y in ring.coords] for ring in rings]
    return [
        [point for index, point in enumerate(ring) if index == 0 or point != ring[index - 1]]
        for ring in rounded
        if len({tuple(point) for point in ring}) > 2
    ]


def main() -> None:
    """Write ``coastline.json`` beside this script."""
    found = lines(land(Path(sys.argv[1])))
    text = json.dumps(
        {
            "source": "Natural Earth 1:110m, public domain, naturalearthdata.com",
            "coordinates": "longitude_deg, latitude_deg; one list per closed line",
            "lines": found,
        },
        separators=(",", ":"),
    )
    OUT.write_text(text + "\n", encoding="utf-8")
    print(f"{OUT}: {len(found)} lines, {sum(map(len, found))} points, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
