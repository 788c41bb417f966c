"""Scenes of a mission's own targets: the right window, numbers, masks; nothing fetched twice."""

from __future__ import annotations

import importlib.util
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

pytest.importorskip("pystac_client", reason="needs the extra `stac`")

from payload.scene_check import scene_problems
from payload.scenes import Scene, read_collection
from simulator.catalogue import CatalogueError, Wanted, fetch_scenes
from simulator.cli import app
from simulator.mission import run_mission
from simulator.scenario import ScenarioError, load_scenario
from simulator.scenario.checks import check_scenario
from simulator.scenario.targets import Target
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder

FRAME_PX = (128, 128)
REFLECTANCE = (0.08, 0.09, 0.07, 0.30)
CLOUD_REFLECTANCE = 0.6
HALF_NUMBER = 0.5e-4
"""Reflectance is kept as whole ten thousandths."""

ZAGREB, GRAZ = Target("Zagreb", 45.81, 15.98), Target("Graz", 47.07, 15.44)


def place(target: Target) -> tuple[float, float]:
    return target.longitude_deg, target.latitude_deg


def wanted(served: Any, **changes: Any) -> Wanted:
    asked: dict[str, Any] = {
        "collection": "sentinel-2-l2a",
        "first_day": date(2023, 1, 1),
        "last_day": date(2023, 12, 31),
        "dates": 4,
        "frame_px": FRAME_PX,
        "catalogue": served.address,
    }
    return Wanted(**(asked | changes))


def scenes_of(folder: Path) -> tuple[Scene, ...]:
    return read_collection(folder).scenes


def test_a_scene_is_the_window_around_the_target_with_its_classes(
    catalogue: Any, tmp_path: Path
) -> None:
    catalogue.add("S2A_1", "2023-05-01", place(ZAGREB), cloudy_columns=200)
    fetched = fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")
    assert (fetched.new, fetched.known, fetched.without) == (1, 0, [])
    (scene,) = scenes_of(tmp_path / "mine")
    assert (scene.place, scene.date, scene.label) == ("Zagreb", "2023-05-01", "scl")
    assert (scene.sensor, scene.level, scene.gsd_m) == ("Sentinel-2 MSI", "L2A", 10.0)
    reflectance, truth = scene.reflectance(), scene.truth()
    assert truth is not None
    assert reflectance.shape[1:] == truth.shape == FRAME_PX
    # The tile's middle is the target's cell, to the even cell: cloud fills the western half.
    cloud = truth == 1
    assert abs(int(cloud[0].sum()) - FRAME_PX[1] // 2) <= 1
    for band, clear in zip(reflectance, REFLECTANCE, strict=True):
        assert np.unique(band[~cloud]) == pytest.approx([clear], abs=HALF_NUMBER)
        assert np.unique(band[cloud]) == pytest.approx([CLOUD_REFLECTANCE], abs=HALF_NUMBER)
    assert list(scene_problems(tmp_path / "mine")) == []


def test_a_scene_keeps_its_position(catalogue: Any, tmp_path: Path) -> None:
    catalogue.add("S2A_1", "2023-05-01", place(ZAGREB))
    fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")
    (scene,) = scenes_of(tmp_path / "mine")
    with rasterio.open(scene.path) as raster:
        longitude, latitude = rasterio.warp.transform(
            raster.crs, "EPSG:4326", *([value] for value in raster.xy(64, 64))
        )
    cell_deg = 2 * 10 / 111_195 / np.cos(np.radians(ZAGREB.latitude_deg))
    assert longitude[0] == pytest.approx(ZAGREB.longitude_deg, abs=cell_deg)
    assert latitude[0] == pytest.approx(ZAGREB.latitude_deg, abs=cell_deg)


@pytest.mark.parametrize(
    ("offset", "properties"),
    [
        (0.0, {}),
        (0.0, {"s2:processing_baseline": "03.01"}),
        (-0.1, {"s2:processing_baseline": "05.09"}),
    ],
)
def test_offsets_of_sentinel2_go_by_the_processing_baseline(
    catalogue: Any, tmp_path: Path, offset: float, properties: dict[str, Any]
) -> None:
    catalogue.add("S2A_1", "2023-05-01", place(ZAGREB), offset=offset, **properties)
    fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")
    (scene,) = scenes_of(tmp_path / "mine")
    assert scene.reflectance()[:, 0, 0] == pytest.approx(REFLECTANCE, abs=HALF_NUMBER)


@pytest.mark.parametrize(
    "told",
    [
        {"raster:bands": [{"scale": 2e-4, "offset": -0.05}]},
        {"bands": [{"raster:scale": 2e-4, "raster:offset": -0.05}]},
        {"raster:scale": 2e-4, "raster:offset": -0.05},
    ],
)
def test_scale_and_offset_that_an_asset_tells_go_first(
    catalogue: Any, tmp_path: Path, told: dict[str, Any]
) -> None:
    item = catalogue.add("S2A_1", "2023-05-01", place(ZAGREB), scale=2e-4, offset=-0.05)
    for asset in item["assets"].values():
        asset |= told
    fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")
    (scene,) = scenes_of(tmp_path / "mine")
    # Twice the step of the tests above.
    assert scene.reflectance()[:, 0, 0] == pytest.approx(REFLECTANCE, abs=2 * HALF_NUMBER)


def test_an_offset_that_was_taken_off_is_not_taken_off_again(
    catalogue: Any, tmp_path: Path
) -> None:
    item = catalogue.add(
        "S2A_1", "2023-05-01", place(ZAGREB), platform="sentinel-2c",
        names=("blue", "green", "red", "nir", "scl"),
        **{"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.11"},
    )  # fmt: skip
    for asset in item["assets"].values():
        asset["raster:bands"] = [{"scale": 1e-4, "offset": -0.1}]
    fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")
    (scene,) = scenes_of(tmp_path / "mine")
    assert scene.reflectance()[:, 0, 0] == pytest.approx(REFLECTANCE, abs=HALF_NUMBER)


def test_landsat_is_read_with_its_own_names_scale_and_classes(
    catalogue: Any, tmp_path: Path
) -> None:
    landsat = {
        "collection": "landsat-c2-l2", "scale": 2.75e-5, "offset": -0.2, "cloudy_columns": 200,
        "names": ("blue", "green", "red", "nir08", "qa_pixel"), "classes": (21824, 22280, 1),
    }  # fmt: skip
    catalogue.add("LC08", "2023-05-01", place(ZAGREB), platform="landsat-8", **landsat)
    catalogue.add("LE07", "2023-07-01", place(ZAGREB), platform="landsat-7", **landsat)
    fetch_scenes([ZAGREB], wanted(catalogue, collection="landsat-c2-l2"), tmp_path / "mine")
    (scene,) = scenes_of(tmp_path / "mine")
    assert (scene.sensor, scene.label) == ("Landsat-8 OLI", "qa_pixel")
    assert scene.cloud_fraction == pytest.approx(0.5, abs=1 / FRAME_PX[1])
    assert scene.reflectance()[:, 0, -1] == pytest.approx(REFLECTANCE, abs=HALF_NUMBER)


def test_dates_are_spread_over_the_days_there_are(catalogue: Any, tmp_path: Path) -> None:
    for month in range(1, 13):
        catalogue.add(f"S2A_{month:02d}", f"2023-{month:02d}-05", place(ZAGREB))
        catalogue.add(f"S2A_{month:02d}_twin", f"2023-{month:02d}-05", place(ZAGREB))
    fetch_scenes([ZAGREB], wanted(catalogue, dates=4), tmp_path / "mine")
    months = [scene.date[5:7] for scene in scenes_of(tmp_path / "mine")]
    assert months == ["01", "04", "07", "10"]
    fetch_scenes([ZAGREB], wanted(catalogue, dates=24), tmp_path / "all")
    days = [scene.date for scene in scenes_of(tmp_path / "all")]
    assert len(days) == len(set(days)) == 12  # tiles of one day show one cloud


@pytest.mark.parametrize("fault", [{"shift_m": 1500.0}, {"empty_columns": 180}])
def test_an_image_that_does_not_show_the_whole_frame_gives_way_to_the_next(
    catalogue: Any, tmp_path: Path, fault: dict[str, Any]
) -> None:
    catalogue.add("S2A_1", "2023-05-01", place(ZAGREB), **fault)
    catalogue.add("S2A_2", "2023-05-11", place(ZAGREB))
    catalogue.add("S2A_3", "2023-05-01", place(GRAZ), **fault)
    fetched = fetch_scenes([ZAGREB, GRAZ], wanted(catalogue, dates=1), tmp_path / "mine")
    assert [scene.date for scene in scenes_of(tmp_path / "mine")] == ["2023-05-11"]
    assert fetched.without == ["Graz"]


def test_what_is_there_is_not_fetched_again_and_an_interruption_loses_no_target(
    catalogue: Any, tmp_path: Path
) -> None:
    for target in (ZAGREB, GRAZ):
        catalogue.add(f"S2A_{target.name}", "2023-05-01", place(target))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_scenes([ZAGREB, GRAZ], wanted(catalogue), tmp_path / "mine", interrupt)
    (first,) = scenes_of(tmp_path / "mine")
    Path(catalogue.items[0]["assets"]["B02"]["href"]).unlink()  # reading it again would fail
    fetched = fetch_scenes([ZAGREB, GRAZ], wanted(catalogue), tmp_path / "mine")
    assert (fetched.new, fetched.known) == (1, 1)
    assert {scene.place for scene in scenes_of(tmp_path / "mine")} == {"Zagreb", "Graz"}
    assert scenes_of(tmp_path / "mine")[0].sha256 == first.sha256


def test_names_that_no_file_may_have_stay_apart(catalogue: Any, tmp_path: Path) -> None:
    twins = [Target("a/b", *reversed(place(ZAGREB))), Target("a?b", *reversed(place(ZAGREB)))]
    catalogue.add("S2A_1", "2023-05-01", place(ZAGREB))
    fetch_scenes(twins, wanted(catalogue), tmp_path / "mine")
    assert {scene.place for scene in scenes_of(tmp_path / "mine")} == {"a/b", "a?b"}


def test_a_folder_of_another_kind_is_left_alone(catalogue: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "manifest.csv").write_text("name,sensor,level,gsd_m,label,kind\na,S,L1C,10,none,x\n")
    with pytest.raises(CatalogueError, match=r"another kind.*'kind'.*name another folder"):
        fetch_scenes([ZAGREB], wanted(catalogue), folder)


def test_what_goes_wrong_is_said_with_the_remedy(catalogue: Any, tmp_path: Path) -> None:
    item = catalogue.add("S2A_1", "2023-05-01", place(ZAGREB))
    Path(item["assets"]["B03"]["href"]).write_bytes(b"no image")
    with pytest.raises(CatalogueError, match=r"item S2A_1 cannot be read.*same command again"):
        fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")
    del item["assets"]["B03"]
    with pytest.raises(CatalogueError, match=r"item S2A_1 has no asset B03 or green"):
        fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")
    nobody = wanted(catalogue, catalogue="http://127.0.0.1:9")
    with pytest.raises(CatalogueError, match=r"127\.0\.0\.1:9: .*see to the address"):
        fetch_scenes([ZAGREB], nobody, tmp_path / "mine")


def test_a_catalogue_without_search_is_said(catalogue: Any, tmp_path: Path) -> None:
    catalogue.conformance = catalogue.conformance[:1]
    with pytest.raises(CatalogueError, match=r"ITEM_SEARCH.*see to the address"):
        fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"collection": "modis"}, r"'modis' cannot be read; use sentinel-2-l2a or landsat-c2-l2"),
        ({"last_day": date(2022, 1, 1)}, "swap them"),
        ({"dates": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    catalogue: Any, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(CatalogueError, match=said):
        wanted(catalogue, **changes)


def test_the_extra_is_named_where_it_is_missing(
    catalogue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CatalogueError, match="extra `stac`"):
        fetch_scenes([ZAGREB], wanted(catalogue), tmp_path / "mine")


def test_a_mission_flies_over_its_own_targets(catalogue: Any, mission: Path) -> None:
    scenario = mission / "scenario.yaml"
    text = scenario.read_text(encoding="utf-8")
    text = text.replace("strategy: library", "strategy: stac").replace("[samples]", "[fetched]")
    scenario.write_text(text, encoding="utf-8")
    features = json.loads((mission / "targets" / "world_200.geojson").read_text())["features"]
    frame_px = load_scenario(str(scenario)).satellites[0].imager.frame_px
    for index, feature in enumerate(features[:-1]):
        catalogue.add(
            f"S2A_{index}", "2023-06-01", tuple(feature["geometry"]["coordinates"]),
            cloudy_columns=100 * index,
        )  # fmt: skip
    smaller = text.replace(str(list(frame_px)), "[256, 256]")
    assert smaller != text
    scenario.write_text(smaller, encoding="utf-8")
    command = ["scenes", "fetch", str(scenario), str(mission / "fetched"), "--from", "2023-01-01",
               "--to", "2023-12-31", "--catalogue", catalogue.address]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "3 scenes fetched, 0 were there, of 3 of 4 targets" in result.stdout
    without = features[-1]["properties"]["name"]
    assert f"no whole frame of: {without}" in result.stdout
    with pytest.raises(ScenarioError, match=rf"(?s)place '{without}'.*nephoscope scenes fetch"):
        check_scenario(load_scenario(str(scenario)))

    catalogue.add("S2A_9", "2023-06-01", tuple(features[-1]["geometry"]["coordinates"]))
    again = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(again.stdout) | {"folder": ""} == {
        "folder": "", "new": 1, "known": 3, "without": [],
    }  # fmt: skip
    run = RunFolder.open(run_mission(load_scenario(str(scenario)), mission / "runs"))
    assert audit(run).passed
    places = {scene.full_name: scene for scene in read_collection(mission / "fetched")}
    captures = run.events("capture").to_pylist()
    assert len(captures) > 3
    for capture in captures:
        scene = places[capture["scene"]]
        assert scene.place == capture["target"]
        assert capture["weather_cover"] == pytest.approx(scene.cloud_fraction, abs=1e-9)
