"""Frames: native pixels, clouds over known ground only, the same to the bit every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.frame import NO_DATA, content_sha256
from payload.scene_writer import write_image, write_mask
from payload.scenes import Scene, SceneError
from simulator.environment import frames as frames_module
from simulator.environment.frames import Frames, cover_of, fill_frame

EDGE_PX = 32
FRAME_PX = (EDGE_PX, EDGE_PX)


def scene(folder: Path, name: str, digital_number: int = 1000, known_from_px: int = 0) -> Scene:
    """A clear, flat scene that has data right of a column."""
    known = np.broadcast_to(np.arange(EDGE_PX) >= known_from_px, FRAME_PX)
    write_image(folder / f"{name}.tif", np.where(known, digital_number, 0)[None].repeat(4, 0))
    write_mask(folder / f"{name}.mask.tif", np.where(known, 0, NO_DATA).astype(np.uint8))
    return Scene(
        "own", name, folder / f"{name}.tif", folder / f"{name}.mask.tif", "S", "L1C", 10.0,
        EDGE_PX, EDGE_PX, "human", 0.0, "test", "forest",
    )  # fmt: skip


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), rows=st.integers(1, 90),
    columns=st.integers(1, 90),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_frame_is_made_of_native_pixels_that_turn_at_edges(
    height: int, width: int, rows: int, columns: int
) -> None:
    image = np.arange(height * width, dtype=np.int64).reshape(1, height, width)
    frame = fill_frame(image, (rows, columns))
    assert frame.shape == (1, rows, columns)
    assert set(np.unique(frame)) <= set(range(height * width))
    top, left = max((height - rows) // 2, 0), max((width - columns) // 2, 0)
    part = frame[0, : min(rows, height), : min(columns, width)]
    np.testing.assert_array_equal(
        part, image[0, top : top + part.shape[0], left : left + part.shape[1]]
    )
    if rows > height:
        np.testing.assert_array_equal(frame[0, height], frame[0, height - 1])


def test_frames_that_left_the_cache_are_made_again_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [scene(tmp_path, "a"), scene(tmp_path, "b", 2000)]
    roomy = Frames()
    wide = [roomy.under_clouds(s, 0.5, FRAME_PX) for s in scenes]
    assert [roomy.under_clouds(s, 0.5, FRAME_PX) for s in scenes] == wide  # the same objects
    monkeypatch.setattr(frames_module, "CACHE_BYTES", 1)
    tight = Frames()
    for _ in range(2):
        narrow = [tight.under_clouds(s, 0.5, FRAME_PX) for s in scenes]
        assert [f.frame_sha256 for f in narrow] == [f.frame_sha256 for f in wide]
        assert [content_sha256(f.reflectance) for f in narrow] == [f.frame_sha256 for f in wide]
    assert not {id(f) for f in narrow} & {id(tight.under_clouds(s, 0.5, FRAME_PX)) for s in scenes}


def test_a_scene_as_it_is_and_under_clouds_are_two_frames(tmp_path: Path) -> None:
    frames, ground = Frames(), scene(tmp_path, "a")
    as_it_is, clouded = (
        frames.as_it_is(ground, FRAME_PX),
        frames.under_clouds(ground, 0.5, FRAME_PX),
    )
    assert (as_it_is.scene_kind, as_it_is.cover, as_it_is.cloud_px) == ("real", 0.0, 0)
    assert clouded.scene_kind == "composite"
    assert clouded.cover == clouded.cloud_px / EDGE_PX**2 > 0
    assert as_it_is.frame_sha256 != clouded.frame_sha256


def test_ground_of_which_nothing_is_known_stays_unknown_under_clouds(tmp_path: Path) -> None:
    """A swath that ends within the scene: its left half has no data."""
    half = EDGE_PX // 2
    frame = Frames().under_clouds(scene(tmp_path, "edge", known_from_px=half), 0.5, FRAME_PX)
    assert frame.clear_px + frame.cloud_px == EDGE_PX * half
    assert frame.cloud_px > 0
    assert (frame.truth[:, :half] == NO_DATA).all()
    assert (frame.reflectance[:, :, :half] == 0).all()


def test_what_nobody_labelled_counts_as_covered() -> None:
    """Nothing clear can be claimed of it."""
    assert cover_of(np.full((2, 2), NO_DATA, np.uint8)) == 1.0
    assert cover_of(np.array([[0, 1], [2, NO_DATA]], np.uint8)) == 2 / 3


def test_a_scene_without_a_mask_is_not_imaged(tmp_path: Path) -> None:
    bare = replace(scene(tmp_path, "bare"), mask_path=None)
    with pytest.raises(SceneError, match="own/bare: has no mask"):
        Frames().as_it_is(bare, FRAME_PX)
