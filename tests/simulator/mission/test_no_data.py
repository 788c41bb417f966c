"""Pixels without data are neither clear nor cloud: on board, on the ground and in the audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from payload.frame import BLOCK_PX, NO_DATA
from payload.scene_writer import SceneRow, write_collection, write_image, write_mask
from simulator.telemetry.audit import audit

FRAME_PX = 1024
FIRST_VALID_PX = 640
"""Two columns of blocks and half of the third are empty."""

NOT_CLEAR = BLOCK_PX**2 / (FRAME_PX * (FRAME_PX - FIRST_VALID_PX))
"""One block of cloud over the pixels with data: 1/6, where targets allow 0.2."""

SIX_PLACES = 5e-7
"""What is not shown clear is rounded to six places."""

MIDDLE = {"data_handling__region_of_interest_km": [5.12, 5.12]}
"""The four middle blocks, of which two are empty, and the others half and clear."""


@pytest.fixture(scope="module")
def half_empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of one scene: dark, a bright cloud in one corner, no data in its left part."""
    folder = tmp_path_factory.mktemp("scenes") / "swath_edge"
    mask = np.zeros((FRAME_PX, FRAME_PX), dtype=np.uint8)
    mask[:BLOCK_PX, -BLOCK_PX:] = 1
    mask[:, :FIRST_VALID_PX] = NO_DATA
    image = np.where(mask == 1, 8000, 500).astype(np.uint16) * np.ones((4, 1, 1), np.uint16)
    image[:, mask == NO_DATA] = 0
    write_image(folder / "edge.tif", image)
    write_mask(folder / "edge.mask.tif", mask)
    row = SceneRow.of(
        name="edge",
        sensor="made up",
        level="L1C",
        gsd_m=10.0,
        image=image,
        mask=mask,
        label="exact",
        split="sample",
        source="this test",
        licence="CC0",
        surface="grass_crops",
    )
    write_collection(folder, [row])
    return folder


@pytest.mark.parametrize(
    ("changes", "source", "not_clear"),
    [
        ({"autonomy__policy": "oracle"}, "telemetry", NOT_CLEAR),
        ({"autonomy__policy": "prune"}, "telemetry", NOT_CLEAR),
        (
            {"autonomy__policy": "prioritise", "data_handling__preview": "mask"},
            "mask",
            NOT_CLEAR,
        ),
        (
            {"autonomy__policy": "bent_pipe", "ground__screening": "threshold"},
            "downlink",
            NOT_CLEAR,
        ),
        (
            {"autonomy__policy": "discard", "autonomy__max_cloud_fraction": 0.1} | MIDDLE,
            "telemetry",
            0.0,
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_what_satisfies_but_for_empty_pixels_is_not_imaged_again(
    fly, half_empty, changes, source, not_clear
):
    run = fly(
        **changes,
        duration_h=36,
        scenes__strategy="library",
        scenes__collections=[str(half_empty)],
        satellites__0__radio__rate_mbps=50,
    )
    news = [row["cover"] for row in run.events("ground").to_pylist() if row["source"] == source]
    assert len(news) > 5
    assert news == pytest.approx([not_clear] * len(news), abs=SIX_PLACES)
    metrics = run.metrics()
    assert metrics["reacquisitions"] == 0
    assert metrics["targets_satisfied"] > 5
    report = audit(run)
    assert report.passed, report.text()
