"""Scenes of captures: the right one, few distinct tiles, the same every time."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from payload.frame import TILE_PX, content_sha256
from payload.scenes import MANIFEST, SceneCollection, SceneError, read_collection
from simulator.environment.frames import CapturedPixels
from simulator.environment.scene_library import SceneLibrary

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

EPOCH = datetime(2024, 6, 1, 18, tzinfo=UTC)
HOUR_S = 3600.0
FRAME_PX = (512, 512)
MOST_DISTINCT_TILES = 256
SAMPLES_LIMIT_MIB = 8.0
COVER_STEP = 0.1


@pytest.fixture(scope="module")
def samples() -> SceneCollection:
    return read_collection(Path(str(files("scenarios") / "samples")))


class Library(SceneLibrary):
    """Scenes that a camera of `FRAME_PX` looks at, unless it is said otherwise."""

    def pixels(self, *asked: Any, frame_px: tuple[int, int] = FRAME_PX) -> CapturedPixels:
        return super().pixels(*asked, frame_px=frame_px)


def library(*collections: SceneCollection, strategy: str = "library", seed: int = 7) -> Library:
    return Library(collections, strategy=strategy, seed=seed, epoch=EPOCH)


def own_collection(folder: Path, rows: list[dict[str, str]]) -> SceneCollection:
    """Flat 32 x 32 scenes; cloud fills the left part that the row's cover asks for."""
    folder.mkdir()
    profile = {"driver": "GTiff", "width": 32, "height": 32}
    for row in rows:
        cloudy = round(32 * float(row["cloud_fraction"] or 0))
        image = np.full((4, 32, 32), 1000, np.uint16)
        image[3] = 300  # dark near infrared: water by the spectral rule
        image[:, :, :cloudy] = 6000
        with rasterio.open(
            folder / f"{row['name']}.tif", "w", count=4, dtype="uint16", **profile
        ) as f:
            f.write(image)
        if row["label"] != "none":
            mask = np.zeros((1, 32, 32), np.uint8)
            mask[0, :, :cloudy] = 1
            with rasterio.open(
                folder / f"{row['name']}.mask.tif", "w", count=1, dtype="uint8", **profile
            ) as f:
                f.write(mask)
    common = {"sensor": "S", "level": "L1C", "gsd_m": "10", "height": "32", "width": "32"}
    with (folder / MANIFEST).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*common, *rows[0]])
        writer.writeheader()
        writer.writerows([{**common, **row} for row in rows])
    return read_collection(folder)


def row(name: str, cover: str, surface: str = "forest", **more: str) -> dict[str, str]:
    return {
        "name": name, "label": "human", "cloud_fraction": cover, "surface": surface,
        "place": "p", "date": "2023-06-01", **more,
    }  # fmt: skip


def test_samples_are_small_and_their_labels_true(samples: SceneCollection) -> None:
    size_mib = sum(path.stat().st_size for path in samples.folder.iterdir()) / 2**20
    assert size_mib < SAMPLES_LIMIT_MIB
    for scene in samples:
        truth = scene.truth()
        assert truth is not None
        assert np.isin(truth, (1, 2)).mean() == pytest.approx(scene.cloud_fraction, abs=1e-4)
        assert (scene.kind == "composite") == (scene.label == "exact")
        assert (scene.kind == "real") == (scene.label == "clear_by_eye")


def test_samples_hold_every_cover_for_several_surfaces(samples: SceneCollection) -> None:
    covers: dict[str, set[float]] = {}
    for scene in samples:
        covers.setdefault(scene.surface, set()).add(round(scene.cloud_fraction or 0.0, 1))
    wanted = {round(level * COVER_STEP, 1) for level in range(11)}
    assert sum(found >= wanted for found in covers.values()) >= 3


@pytest.mark.parametrize("cover", [0.0, 0.33, 0.5, 0.98, 1.0])
def test_library_gives_the_cover_and_surface_asked(samples: SceneCollection, cover: float) -> None:
    frame = library(samples).pixels("Ronda", "forest", 36.7, 1000.0, cover)
    assert frame.surface == "forest"
    # Scenes lie 0.1 apart; mirroring a 384 px scene into the frame changes its share of cloud.
    assert frame.cover == pytest.approx(cover, abs=0.2)
    assert frame.reflectance.shape == (4, *FRAME_PX)
    assert frame.clear_px + frame.cloud_px == FRAME_PX[0] * FRAME_PX[1]
    assert frame.cover == frame.cloud_px / (FRAME_PX[0] * FRAME_PX[1])
    assert frame.frame_sha256 == content_sha256(frame.reflectance)
    assert frame.truth_sha256 == content_sha256(frame.truth)


def test_a_whole_library_has_few_distinct_tiles(samples: SceneCollection) -> None:
    found = library(samples)
    size_px = (2 * TILE_PX, 2 * TILE_PX)
    asked = [(c / 20, t) for c in range(21) for t in (0.0, 9e4)]
    seen = [found.pixels("X", "water", 0.0, t, cover, frame_px=size_px) for cover, t in asked]
    scenes = {pixels.scene for pixels in seen}
    frames = {pixels.frame_sha256 for pixels in seen[:8]}
    assert len(frames) <= len(scenes)  # a scene is always cut to the same frame, of four tiles
    assert 4 * len(samples) <= MOST_DISTINCT_TILES


def test_the_answer_does_not_depend_on_what_was_asked_before(samples: SceneCollection) -> None:
    asked = [("A", 0.0, 0.1), ("B", 5e4, 0.9), ("A", 9e4, 0.5), ("C", 1e5, 0.0)]
    one, other = library(samples), library(samples)
    forth = {a: one.pixels(a[0], None, 10.0, a[1], a[2]).frame_sha256 for a in asked}
    back = {a: other.pixels(a[0], None, 10.0, a[1], a[2]).frame_sha256 for a in asked[::-1]}
    assert forth == back


def test_a_target_keeps_its_surface(samples: SceneCollection) -> None:
    found = library(samples)
    surfaces = {found.pixels("X", None, 0.0, t * 9e4, t / 10).surface for t in range(10)}
    assert len(surfaces) == 1


def test_cover_outweighs_surface_only_when_far_off(tmp_path: Path) -> None:
    scenes = own_collection(
        tmp_path / "mine",
        [row("forest_clear", "0"), row("desert_half", "0.5", "desert")],
    )
    found = library(scenes)
    assert found.pixels("X", "forest", 0.0, 0.0, 0.2).scene == "mine/forest_clear"
    assert found.pixels("X", "forest", 0.0, 0.0, 0.5).scene == "mine/desert_half"


def test_scenes_of_unknown_surface_are_told_by_their_pixels(tmp_path: Path) -> None:
    scenes = own_collection(tmp_path / "mine", [row("a", "0.25", "")])
    assert library(scenes).pixels("X", "water", 0.0, 0.0, 0.2).surface == "water"


def test_snow_is_not_drawn_for_the_tropics(tmp_path: Path) -> None:
    scenes = own_collection(
        tmp_path / "mine", [row("snow", "0", "snow_ice"), row("wood", "0", "forest")]
    )
    found = library(scenes)
    tropics = {found.pixels(f"t{i}", None, 5.0, 0.0, 0.0).surface for i in range(20)}
    north = {found.pixels(f"t{i}", None, 65.0, 0.0, 0.0).surface for i in range(20)}
    assert tropics == {"forest"}
    assert north == {"forest", "snow_ice"}


@pytest.mark.parametrize("cover", [0.0, 0.42, 1.0])
def test_composite_covers_to_its_step_with_exact_truth(
    samples: SceneCollection, cover: float
) -> None:
    frame = library(samples, strategy="composite").pixels("X", "water", 50.0, 0.0, cover)
    assert frame.scene_kind == "composite"
    assert frame.cover == pytest.approx(cover, abs=0.5 * COVER_STEP + 1e-4)


def test_sequence_takes_the_date_nearest_in_the_year(tmp_path: Path) -> None:
    dates = ("2023-01-05", "2023-06-03", "2023-12-20")
    scenes = own_collection(
        tmp_path / "mine", [row(f"d{i}", "0.5", date=day) for i, day in enumerate(dates)]
    )
    found = library(scenes, strategy="sequence")
    assert found.pixels("X", None, 0.0, 0.0, 0.9).scene == "mine/d1"
    assert found.pixels("X", None, 0.0, 200 * 86400.0, 0.9).scene == "mine/d2"
    assert found.pixels("X", None, 0.0, 215 * 86400.0, 0.9).scene == "mine/d0"


def test_the_scene_of_a_sequence_changes_at_midnight(tmp_path: Path) -> None:
    rows = [row("d0", "0.25", date="2023-06-01"), row("d1", "0.75", date="2023-06-03")]
    found = library(own_collection(tmp_path / "mine", rows), strategy="sequence")
    covers = [found.recorded_cover("X", None, 0.0, hour * HOUR_S) for hour in (0, 29.9, 30.0, 54.0)]
    assert covers == [0.25, 0.25, 0.75, 0.75]


def test_the_weather_of_a_sequence_is_the_cover_of_its_scenes(tmp_path: Path) -> None:
    rows = [row("d0", "0.25", date="2023-01-05"), row("d1", "0.75", date="2023-06-03")]
    found = library(own_collection(tmp_path / "mine", rows), strategy="sequence")
    for t_s in (0.0, 150 * 86400.0, 200 * 86400.0):
        cover = found.recorded_cover("X", None, 0.0, t_s)
        frame = found.pixels("X", None, 0.0, t_s, 0.5, frame_px=(32, 32))
        assert frame.cover == cover
    assert found.recorded_cover("X", None, 0.0, 0.0) == 0.75
    assert found.recorded_cover("X", None, 0.0, 200 * 86400.0) == 0.25


def test_a_sequence_leaves_out_dates_without_a_label(tmp_path: Path) -> None:
    rows = [row("d0", "0.25", date="2023-05-01"), row("d1", "", date="2023-06-01", label="none")]
    found = library(own_collection(tmp_path / "mine", rows), strategy="sequence")
    assert found.pixels("X", None, 0.0, 0.0, 0.5).scene == "mine/d0"
    assert found.recorded_cover("X", None, 0.0, 0.0) == 0.25


def test_a_place_stays_what_it_is_under_cloud(tmp_path: Path) -> None:
    """Overcast dates show no ground: told by their pixels, they would be a place of their own."""
    covers = ["0.0", "1.0"] * 6
    rows = [
        row(f"d{month}", cover, "unknown", date=f"2023-{month:02d}-01")
        for month, cover in enumerate(covers, 1)
    ]
    found = library(own_collection(tmp_path / "mine", rows), strategy="sequence")
    days = [(datetime(2023, month, 1, tzinfo=UTC) - EPOCH).days % 365 for month in range(1, 13)]
    for target in "ABCD":
        seen = [found.recorded_cover(target, None, 0.0, day * 86_400.0) for day in days]
        assert seen == [float(cover) for cover in covers]


def test_no_target_is_of_unknown_ground_while_another_is_known(tmp_path: Path) -> None:
    rows = [row("bare", "0.0", "unknown"), row("overcast", "1.0", "unknown")]
    found = library(own_collection(tmp_path / "mine", rows))
    for target in "ABCDEF":
        assert found.pixels(target, None, 0.0, 0.0, 0.0).scene == "mine/bare"
        assert found.pixels(target, None, 0.0, 0.0, 1.0).scene == "mine/overcast"


def test_a_cover_that_the_manifest_leaves_out_is_that_of_the_mask(tmp_path: Path) -> None:
    scenes = own_collection(tmp_path / "mine", [row("a", "0.5")])
    rows = (tmp_path / "mine" / MANIFEST).read_text().replace(",0.5,", ",,")
    (tmp_path / "mine" / MANIFEST).write_text(rows)
    bare = read_collection(scenes.folder)
    assert bare.scenes[0].cloud_fraction is None
    assert library(bare, strategy="sequence").recorded_cover("X", None, 0.0, 0.0) == 0.5


@pytest.mark.parametrize("strategy", ["library", "composite", "sequence"])
def test_cameras_of_two_sizes_see_frames_of_their_own(tmp_path: Path, strategy: str) -> None:
    found = library(own_collection(tmp_path / "mine", [row("a", "0")]), strategy=strategy)
    sizes = [(512, 512), (256, 768), (512, 512)]
    seen = [found.pixels("X", None, 0.0, 0.0, 0.5, frame_px=size) for size in sizes]
    assert [pixels.reflectance.shape[1:] for pixels in seen] == sizes
    assert [pixels.truth.shape for pixels in seen] == sizes
    assert seen[0].frame_sha256 == seen[2].frame_sha256 != seen[1].frame_sha256


@pytest.mark.parametrize("file", ["a.tif", "a.mask.tif", MANIFEST])
def test_the_hash_of_a_collection_covers_every_file_of_it(tmp_path: Path, file: str) -> None:
    scenes = own_collection(tmp_path / "mine", [row("a", "0.25"), row("b", "0.5")])
    before = library(scenes).manifest_sha256()
    assert library(read_collection(scenes.folder)).manifest_sha256() == before
    if file == MANIFEST:
        path = tmp_path / "mine" / MANIFEST
        path.write_text(path.read_text().replace("2023-06-01", "2023-06-02", 1))
    else:
        path = tmp_path / "mine" / file
        path.write_bytes(path.with_name(file.replace("a.", "b.")).read_bytes())
    assert library(read_collection(scenes.folder)).manifest_sha256() != before


def test_two_collections_of_one_name_both_count(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = own_collection(tmp_path / "mine", [row("a", "0.25")])
    other = own_collection(tmp_path / "other" / "mine", [row("b", "0.5")])
    assert set(library(one, other).manifest_sha256()) == {"mine", "mine#2"}


@pytest.mark.parametrize("strategy", ["library", "sequence"])
def test_scenes_of_one_full_name_keep_their_own_pixels(tmp_path: Path, strategy: str) -> None:
    (tmp_path / "other").mkdir()
    first = row("a", "0.25", date="2023-06-02", place="here")
    one = own_collection(tmp_path / "mine", [first])
    other = own_collection(
        tmp_path / "other" / "mine", [first | {"cloud_fraction": "0.75", "date": "2023-06-12"}]
    )
    found = library(one, other, strategy=strategy)
    seen = [
        found.pixels("X", None, 0.0, day * 86400.0, cover, frame_px=(32, 32)).cover
        for day, cover in ((0, 0.25), (11, 0.75))
    ]
    assert seen == [0.25, 0.75]


@pytest.mark.parametrize("strategy", ["library", "composite", "sequence", "stac"])
def test_a_collection_without_truth_is_refused_with_the_remedy(
    tmp_path: Path, strategy: str
) -> None:
    scenes = own_collection(tmp_path / "mine", [row("a", "", label="none")])
    with pytest.raises(SceneError, match=r"mine.*no scene serves.*list a collection"):
        library(scenes, strategy=strategy)


def test_an_unknown_strategy_is_refused(samples: SceneCollection) -> None:
    with pytest.raises(SceneError, match=r"strategy is 'mosaic'"):
        library(samples, strategy="mosaic")


def test_with_stac_a_target_shows_its_own_ground_and_no_other(tmp_path: Path) -> None:
    rows = [
        row(f"{place}{month}", cover, date=f"2023-{month}-01", place=place, surface=surface)
        for place, surface in (("here", "forest"), ("there", "desert"))
        for month, cover in (("06", "0.25"), ("12", "0.75"))
    ]
    found = library(own_collection(tmp_path / "mine", rows), strategy="stac")
    # The surface that a target's file tells does not lead to another place's scenes.
    assert found.pixels("here", "desert", 0.0, 0.0, 0.9).scene == "mine/here06"
    assert found.pixels("there", None, 0.0, 190 * 86400.0, 0.9).scene == "mine/there12"
    assert found.recorded_cover("there", None, 0.0, 190 * 86400.0) == 0.75
    found.check_targets(["here", "there"])
    with pytest.raises(SceneError, match=r"place 'a', 'b', 'c', 'd', 'e' and 2 more; fetch more"):
        found.check_targets(["here", *"abcdefg"])
    with pytest.raises(SceneError, match="place 'nowhere'"):
        found.pixels("nowhere", None, 0.0, 0.0, 0.5)


def test_other_strategies_ask_for_no_scene_of_a_target(samples: SceneCollection) -> None:
    library(samples).check_targets(["nowhere"])
