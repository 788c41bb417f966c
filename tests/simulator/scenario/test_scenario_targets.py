"""Targets from GeoJSON: points as they are, areas cut into frames that cover them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, box

from simulator.scenario import ScenarioError, Target, load_scenario, load_targets
from simulator.scenario.areas import KM_PER_DEGREE, cells_of
from simulator.scenario.targets import read_targets

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)
FRAME_KM = (10.24, 10.24)
EDGE_SLACK = 1.0 + 1e-9


def write_geojson(path: Path, features: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def point(name: str, longitude: float, latitude: float, **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": {"name": name, **properties},
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
    }


def read(path: Path, *features: dict[str, object]) -> tuple[Target, ...]:
    write_geojson(path / "targets.geojson", list(features))
    return read_targets(path / "targets.geojson", frame_km=FRAME_KM, epoch=EPOCH)


def area(name: str, kind: str, coordinates: object) -> dict[str, object]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"name": name, "priority": 3}, "geometry": geometry}


def square(west: float, south: float, edge: float) -> list[list[list[float]]]:
    east, north = west + edge, south + edge
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def test_a_point_is_one_target_with_what_the_file_says(tmp_path: Path) -> None:
    (plain, rich) = read(
        tmp_path,
        point("plain", 10.0, 20.0, population=4),
        point(
            "rich", -70.5, -33.2, priority=5, deadline_h=48, surface="urban", max_cloud_fraction=0.1
        ),
    )
    assert plain == Target("plain", 20.0, 10.0)
    assert rich == Target("rich", -33.2, -70.5, 5.0, 48.0, "urban", 0.1)


@pytest.mark.parametrize(
    "deadline", ["2024-06-03T00:00:00Z", "2024-06-03", "2024-06-03T02:00:00+02:00", 48]
)
def test_a_deadline_is_a_time_or_hours_from_the_epoch(tmp_path: Path, deadline: object) -> None:
    (target,) = read(tmp_path, point("a", 0, 0, deadline=deadline))
    assert target.deadline_h == 48


def test_a_deadline_before_the_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="before the epoch"):
        read(tmp_path, point("a", 0, 0, deadline="2024-05-01"))


def test_an_area_under_one_frame_is_one_target_in_its_middle(tmp_path: Path) -> None:
    (target,) = read(tmp_path, area("field", "Polygon", square(16.0, 40.0, 0.05)))
    assert target.name == "field#01"
    assert (target.longitude_deg, target.latitude_deg) == pytest.approx((16.025, 40.025))
    assert target.priority == 3


def test_an_area_across_the_antimeridian_is_two_parts(tmp_path: Path) -> None:
    halves = [square(179.8, 10.0, 0.2), square(-180.0, 10.0, 0.2)]
    targets = read(tmp_path, area("strait", "MultiPolygon", halves))
    assert all(abs(target.longitude_deg) > 179.7 for target in targets)
    whole = [[-179.9, 10], [179.9, 10], [179.9, 10.2], [-179.9, 10.2], [-179.9, 10]]
    with pytest.raises(ScenarioError, match="antimeridian"):
        read(tmp_path, area("whole", "Polygon", [whole]))


@pytest.mark.parametrize("edge", [0.02, 1.0])
def test_an_area_across_the_antimeridian_is_cut_like_one_inland(
    tmp_path: Path, edge: float
) -> None:
    half = edge / 2
    west, east = strip(180.0 - half, -18.0, half, edge), strip(-180.0, -18.0, half, edge)
    across = read(tmp_path, area("across", "MultiPolygon", [west, east]))
    inland = read(tmp_path, area("inland", "Polygon", strip(90.0 - half, -18.0, edge, edge)))
    assert len(across) == len(inland)
    for over, plain in zip(across, inland, strict=True):
        assert over.latitude_deg == pytest.approx(plain.latitude_deg)
        assert (over.longitude_deg - 90.0) % 360.0 == pytest.approx(plain.longitude_deg)
        assert over.area_share == pytest.approx(plain.area_share)


@pytest.mark.parametrize("south", [89.0, -90.0])
def test_a_cap_around_a_pole_is_two_halves_and_each_frame_once(
    tmp_path: Path, south: float
) -> None:
    halves = [strip(-180.0, south, 180.0, 1.0), strip(0.0, south, 180.0, 1.0)]
    targets = read(tmp_path, area("cap", "MultiPolygon", halves))
    ideal = math.pi * KM_PER_DEGREE**2 / (FRAME_KM[0] * FRAME_KM[1])
    assert len(targets) == pytest.approx(ideal, rel=0.05)
    assert min(_apart_km(a, b) for a, b in combinations(targets, 2)) > FRAME_KM[0] / 2


def test_a_cap_in_one_ring_is_told_to_be_cut_into_halves(tmp_path: Path) -> None:
    ring = [[-170, 85], [170, 85], [170, 90], [-170, 90], [-170, 85]]
    with pytest.raises(ScenarioError, match="cap around a pole into two halves"):
        read(tmp_path, area("cap", "Polygon", [ring]))


def test_an_area_all_around_the_earth_has_no_frame_twice(tmp_path: Path) -> None:
    thirds = [strip(west, 0.0, 120.0, 0.05) for west in (-180.0, -60.0, 60.0)]
    targets = read(tmp_path, area("equator", "MultiPolygon", thirds))
    longitudes = sorted(target.longitude_deg for target in targets)
    spacing_deg = 360.0 / len(targets)
    assert FRAME_KM[0] / KM_PER_DEGREE == pytest.approx(spacing_deg, rel=1e-3)
    assert all(b - a == pytest.approx(spacing_deg) for a, b in pairwise(longitudes))


def test_parts_far_apart_are_cut_without_what_lies_between(tmp_path: Path) -> None:
    path = tmp_path / "targets.geojson"
    write_geojson(
        path,
        [area("isles", "MultiPolygon", [square(-10, -60, 0.05), square(100, 60, 0.05)])],
    )
    targets = read_targets(path, frame_km=(0.5, 0.5), epoch=EPOCH)
    assert {round(target.latitude_deg, -1) for target in targets} == {-60, 60}


def strip(west: float, south: float, width: float, height: float) -> list[list[list[float]]]:
    (ring,) = square(0.0, 0.0, 1.0)
    return [[[west + x * width, south + y * height] for x, y in ring]]


def _apart_km(a: Target, b: Target) -> float:
    """Great-circle distance, on the sphere that areas are cut on."""
    one, other = math.radians(a.latitude_deg), math.radians(b.latitude_deg)
    turn = math.radians(a.longitude_deg - b.longitude_deg)
    cosine = math.sin(one) * math.sin(other) + math.cos(one) * math.cos(other) * math.cos(turn)
    return math.degrees(math.acos(min(1.0, cosine))) * KM_PER_DEGREE


@given(
    west=st.floats(-179.0, 177.0),
    south=st.floats(-75.0, 73.0),
    width=st.floats(0.01, 0.9),
    height=st.floats(0.01, 0.9),
    share=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
)
@settings(max_examples=60, deadline=None)
def test_every_place_of_an_area_lies_in_a_frame(
    west: float, south: float, width: float, height: float, share: tuple[float, float]
) -> None:
    outline = box(west, south, west + width, south + height)
    cells = cells_of(outline, FRAME_KM, ())
    centres = [(cell.latitude_deg, cell.longitude_deg) for cell in cells]
    assert sum(cell.share for cell in cells) == pytest.approx(1.0)
    place = Point(west + share[0] * width, south + share[1] * height)
    assert any(_in_frame(place, *centre) for centre in centres)
    assert len(set(centres)) == len(centres)


def _in_frame(place: Point, latitude: float, longitude: float) -> bool:
    half_deg = FRAME_KM[0] / KM_PER_DEGREE / 2
    half_wide_deg = half_deg / math.cos(math.radians(latitude))
    return bool(
        abs(place.y - latitude) <= half_deg * EDGE_SLACK + 1e-9
        and abs(place.x - longitude) <= half_wide_deg * EDGE_SLACK + 1e-9
    )


def test_an_area_is_cut_to_the_frame_of_the_scenario(mission: Path) -> None:
    write_geojson(
        mission / "targets" / "world_200.geojson", [area("plain", "Polygon", square(16, 0, 0.4))]
    )
    coarse = load_targets(load_scenario(mission / "scenario.yaml"))
    fine = load_targets(
        load_scenario(mission / "scenario.yaml", {"satellites.0.imager.frame_px": [512, 512]})
    )
    assert len(coarse) == 25
    assert len(fine) == 81
    assert [target.name for target in coarse[:2]] == ["plain#01", "plain#02"]
    assert coarse[0].latitude_deg > coarse[-1].latitude_deg


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (area("a", "LineString", [[0, 0], [1, 1]]), "its geometry is LineString"),
        (area("a", "Polygon", [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]), "not sound"),
        (area("a", "MultiPolygon", []), "it is no position"),
        (area("a", "Polygon", []), "it is no position"),
        (area("a", "Polygon", square(0, 0, 80)), "more than 20000 frames"),
        ({"type": "Feature", "properties": {"name": "a"}, "geometry": None}, "geometry is None"),
        ({"type": "Point", "coordinates": [0, 0]}, "no GeoJSON Feature"),
        (area("a", "MultiPolygon", [square(0, 0, 10**400)]), "no finite number"),
        (area("a", "MultiPolygon", [[square(0, 0, 1)]]), "nested too deep"),
    ],
)
def test_a_geometry_that_is_no_target_is_refused(
    tmp_path: Path, feature: dict[str, object], reason: str
) -> None:
    with pytest.raises(ScenarioError, match=reason):
        read(tmp_path, feature)


def test_a_file_without_targets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no target"):
        read(tmp_path)


def test_another_projection_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "targets.geojson"
    write_geojson(path, [point("a", 1, 2)])
    crs = '"crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}, "features"'
    path.write_text(path.read_text(encoding="utf-8").replace('"features"', crs), encoding="utf-8")
    with pytest.raises(ScenarioError, match="not WGS84"):
        read_targets(path, frame_km=FRAME_KM, epoch=EPOCH)
