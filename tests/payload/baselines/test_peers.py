"""Peers: their cards against the installed packages, and both against the labelled scenes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from payload.baselines import s2cloudless, ukis
from payload.card_library import load_card
from payload.model import CloudModel
from payload.scenes import read_scenes
from payload.training.evaluation import evaluate, select_scenes

REFLECTANCE_SCALE = 1e4

JACCARD_TOLERANCE = 0.005
"""Cover of a few pixels near the operating point may fall differently on another processor."""

WEAK_LABEL_SETTINGS = s2cloudless.MaskSettings(threshold=0.7, average_over_px=4, dilation_px=2)
"""How the masks of the collection `sen12mscr_weak` were made, by its description."""


@pytest.fixture(scope="module")
def scenes_root() -> Path:
    if "NEPHOSCOPE_SCENES" not in os.environ:
        pytest.skip("NEPHOSCOPE_SCENES is not set: there are no labelled scenes")
    return Path(os.environ["NEPHOSCOPE_SCENES"])


def test_card_says_what_the_installed_package_says() -> None:
    pytest.importorskip("ukis_csmask", reason="the extra `peers` is not installed")
    level: ukis.Level = "l2a"
    card = load_card(f"ukis-csmask-{level}")
    described = ukis.describe(level)
    measured: dict[str, Any] = {
        "peak_memory_mib": card.peak_memory_mib,
        "peak_memory_host": card.peak_memory_host,
        "jaccard": card.jaccard,
        "measurements": card.measurements,
    }
    assert replace(described, **measured) == card


def test_foreign_peer_sees_white_cloud_over_dark_ground() -> None:
    pytest.importorskip("ukis_csmask", reason="the extra `peers` is not installed")
    generator = np.random.default_rng(5)
    rows, cols = np.mgrid[:300, :300]
    cloud = np.exp(-(((rows - 150) ** 2 + (cols - 150) ** 2) / 60.0**2))
    ground = np.array([0.06, 0.07, 0.06, 0.25])[:, None, None]
    image = ground + (0.6 - ground) * cloud + generator.normal(0, 0.004, (4, 300, 300))
    probability = CloudModel(load_card("ukis-csmask-l1c")).probability(
        image[None].astype(np.float32)
    )[0]
    assert (probability[120:180, 120:180] >= 0.5).mean() > 0.9
    assert (probability[:30, :30] >= 0.5).mean() < 0.1


@pytest.mark.parametrize("model", ["threshold", "ukis-csmask-l1c"])
def test_score_on_the_labelled_scenes_is_that_of_the_card(scenes_root: Path, model: str) -> None:
    if model.startswith("ukis"):
        pytest.importorskip("ukis_csmask", reason="the extra `peers` is not installed")
    card = load_card(model)
    scenes = select_scenes(read_scenes(scenes_root), "val", ["l8biome"])
    found = evaluate(CloudModel(card), scenes).group("human", "l8biome").figures["jaccard"].value
    (recorded,) = (r.value for r in card.jaccard if (r.data_set, r.split) == ("l8biome", "val"))
    assert found == pytest.approx(recorded, abs=JACCARD_TOLERANCE)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_s2cloudless_makes_the_weak_labels_again(scenes_root: Path) -> None:
    pytest.importorskip("s2cloudless", reason="the extra `peers` is not installed")
    mask_path = min((scenes_root / "sen12mscr_weak").glob("*.mask.tif"))
    image_path = mask_path.with_name(mask_path.name.replace(".mask", ""))
    with rasterio.open(mask_path) as mask, rasterio.open(image_path) as image:
        label = mask.read(1)
        reflectance = image.read().astype(np.float32) / REFLECTANCE_SCALE
    found = s2cloudless.mask(reflectance[None], settings=WEAK_LABEL_SETTINGS)[0]
    np.testing.assert_array_equal(found, label)


def test_s2cloudless_orders_the_bands_itself() -> None:
    pytest.importorskip("s2cloudless", reason="the extra `peers` is not installed")
    image = np.random.default_rng(2).uniform(0, 1, (1, 13, 6, 5)).astype(np.float32)
    backwards = s2cloudless.probability(image[:, ::-1], s2cloudless.SENTINEL2_BANDS[::-1])
    found = s2cloudless.probability(image)
    assert found.shape == (1, 6, 5)
    assert found.std() > 0
    np.testing.assert_array_equal(found, backwards)


def test_s2cloudless_says_which_bands_are_missing() -> None:
    pytest.importorskip("s2cloudless", reason="the extra `peers` is not installed")
    image = np.ones((1, 4, 6, 5), np.float32)
    with pytest.raises(s2cloudless.S2CloudlessError, match="missing: B01, B05, B8A, B09"):
        s2cloudless.probability(image, ("B02", "B03", "B04", "B08"))
    with pytest.raises(s2cloudless.S2CloudlessError, match="expected \\(n, 13, height, width\\)"):
        s2cloudless.probability(image)
