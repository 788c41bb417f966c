"""Evaluation: figures against arithmetic by hand, intervals against enumeration."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from payload.card_library import load_card
from payload.model import CloudModel
from payload.scenes import Scene, read_scenes
from payload.training import evaluation
from payload.training.case_pictures import PANEL_PX, draw_cases, worst_and_best
from payload.training.evaluation import ALL, Evaluation, EvaluationError, PatchScore
from payload.training.paired import paired_difference

QUANTILE_TOLERANCE = 0.02
HUMAN = "human"


def scene(
    name: str = "a", label: str = HUMAN, collection: str = "c", surface: str = "water"
) -> Scene:
    return Scene(
        collection=collection,
        name=name,
        path=Path(f"{name}.tif"),
        mask_path=Path(f"{name}.mask.tif"),
        sensor="test",
        level="L1C",
        gsd_m=10.0,
        height_px=4,
        width_px=4,
        label=label,
        cloud_fraction=None,
        split="val",
        surface=surface,
    )


def patch(counts: tuple[int, int, int, int], **of_scene: str) -> PatchScore:
    """A patch with these counts whose probabilities were all 0 or 1."""
    bins = np.zeros((3, evaluation.CALIBRATION_BINS))
    found, false, missed, clear = counts
    bins[0, [0, -1]] = missed + clear, found + false
    bins[1, -1] = found + false
    bins[2, [0, -1]] = missed, found
    mask = np.zeros((4, 4), np.uint8)
    return PatchScore(scene(**of_scene), np.array(counts), bins, mask)


def figures(*patches: PatchScore) -> dict[str, float]:
    groups = evaluation.group_scores(patches)
    return {name: e.value for name, e in groups[0].figures.items()}


def test_figures_by_hand() -> None:
    found = figures(patch((6, 1, 2, 7)), patch((0, 2, 0, 14), name="b"))
    assert found["jaccard"] == pytest.approx(6 / 11)
    assert found["scene_jaccard"] == pytest.approx((6 / 9 + 0) / 2)
    assert found["accuracy"] == pytest.approx(27 / 32)
    assert found["precision"] == pytest.approx(6 / 9)
    assert found["recall"] == pytest.approx(6 / 8)
    assert found["false_cloud_fraction"] == pytest.approx(3 / 24)
    # 23 px said 0, of which 2 cloud; 9 px said 1, of which 6 cloud.
    assert found["calibration_error"] == pytest.approx((2 + 3) / 32)


def test_what_is_not_defined_is_nan_and_not_a_number() -> None:
    found = figures(patch((0, 0, 0, 16)))
    assert math.isnan(found["jaccard"])
    assert math.isnan(found["recall"])
    assert found["false_cloud_fraction"] == 0.0


def test_human_and_weak_labels_are_never_pooled() -> None:
    groups = evaluation.group_scores(
        [patch((4, 0, 0, 12)), patch((0, 8, 8, 0), name="b", label="s2cloudless")]
    )
    by_label = {g.label: g for g in groups if g.collection == ALL and g.surface == ALL}
    assert by_label["human"].figures["jaccard"].value == 1.0
    assert by_label["s2cloudless"].figures["jaccard"].value == 0.0
    assert all(g.patches == 1 for g in groups)


def test_surfaces_and_collections_have_their_rows() -> None:
    patches = [
        patch((4, 0, 0, 12)),
        patch((0, 4, 0, 12), name="b", surface="snow_ice"),
        patch((8, 0, 8, 0), name="c", collection="d"),
    ]
    result = evaluation.Evaluation("m", tuple(patches), tuple(evaluation.group_scores(patches)))
    snow = result.group(HUMAN, surface="snow_ice")
    assert snow.figures["false_cloud_fraction"].value == pytest.approx(0.25)
    assert result.group(HUMAN, collection="d").figures["recall"].value == pytest.approx(0.5)
    with pytest.raises(EvaluationError, match="no patches of label"):
        result.group("scl")


def test_interval_is_that_of_all_ways_to_redraw_the_patches() -> None:
    counts = [(90, 5, 5, 0), (50, 20, 30, 0), (10, 60, 30, 0)]
    patches = [patch(c, name=str(i)) for i, c in enumerate(counts)]
    estimate = evaluation.group_scores(patches)[0].figures["jaccard"]
    redrawn = []
    for drawn in itertools.product(counts, repeat=3):
        found, false, missed, _ = np.sum(drawn, axis=0)
        redrawn.append(found / (found + false + missed))
    low, high = np.quantile(redrawn, [0.025, 0.975], method="inverted_cdf")
    assert estimate.low == pytest.approx(low, abs=QUANTILE_TOLERANCE)
    assert estimate.high == pytest.approx(high, abs=QUANTILE_TOLERANCE)


masks = hnp.arrays(np.uint8, (8, 8), elements=st.sampled_from([0, 1, 2, 3, 255]))
probabilities = hnp.arrays(np.float32, (8, 8), elements=st.floats(0, 1, width=32))


@settings(max_examples=60, deadline=None)
@given(truth=masks, probability=probabilities)
def test_every_labelled_pixel_is_counted_once(truth: np.ndarray, probability: np.ndarray) -> None:
    score = evaluation.score_patch(scene(), probability, truth)
    labelled = truth != 255
    assert score.counts.sum() == labelled.sum()
    assert score.bins[0].sum() == labelled.sum()
    assert score.counts[0] + score.counts[2] == np.isin(truth, [1, 2]).sum()
    assert score.bins[1].sum() == pytest.approx(probability[labelled].astype(float).sum())
    assert np.array_equal(score.mask == 255, ~labelled)


@pytest.fixture
def collection(make_collection, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    names = [("bright", "human", "val"), ("other", "human", "train"), ("weak", "scl", "val")]
    return make_collection(tmp_path / "made", names)


def test_bright_blocks_are_found_by_the_threshold(collection: Path, tmp_path: Path) -> None:
    model = CloudModel(load_card("threshold"))
    scenes = evaluation.select_scenes(read_scenes(collection), "val")
    result = evaluation.evaluate(model, scenes)
    assert [p.scene.name for p in result.patches] == ["bright", "weak"]
    assert result.group("human").figures["recall"].value > 0.9
    records = evaluation.jaccard_records(result, "val")
    assert {(r.data_set, r.label) for r in records} == {
        (name, label) for name in (ALL, "made") for label in ("human", "scl")
    }
    plain = evaluation.as_plain(result)
    assert len(plain["patches"]) == 2  # type: ignore[arg-type]

    picture = tmp_path / "cases.png"
    draw_cases(worst_and_best(result.patches, each=2), picture)
    from PIL import Image

    with Image.open(picture) as sheet:
        assert sheet.width > 4 * PANEL_PX
        assert sheet.height > 2 * PANEL_PX


def test_patch_without_a_label_is_no_mistake_and_null_in_json() -> None:
    unlabelled = patch((0, 0, 0, 0))
    assert unlabelled.wrong_fraction == 0.0
    (group, *_) = evaluation.group_scores([unlabelled])
    plain = evaluation.as_plain(evaluation.Evaluation("m", (unlabelled,), (group,)))
    json.dumps(plain, allow_nan=False)


def test_worst_come_first() -> None:
    patches = [patch((16 - n, n, 0, 0), name=str(n)) for n in range(6)]
    assert [p.scene.name for p in worst_and_best(patches, 1)] == ["5", "0"]


def test_a_split_without_labels_is_refused_with_what_there_is(collection: Path) -> None:
    with pytest.raises(EvaluationError, match=r"split 'test'.*\('made', 'train'\)"):
        evaluation.select_scenes(read_scenes(collection), "test")


def test_a_collection_that_is_misspelt_is_not_left_out_silently(collection: Path) -> None:
    scenes = read_scenes(collection)
    assert len(evaluation.select_scenes(scenes, "val", ["made"])) == 2
    with pytest.raises(EvaluationError, match=r"collection \['mad'\]; there are .*'made', 'val'"):
        evaluation.select_scenes(scenes, "val", ["made", "mad"])


def evaluated(model: str, *patches: PatchScore) -> Evaluation:
    return Evaluation(model, patches, tuple(evaluation.group_scores(patches)))


def test_a_paired_difference_takes_out_what_patches_share() -> None:
    """Patches that differ widely, one model always a little better: the difference is sure."""
    easy, hard = ((90, 5, 5, 100), (10, 40, 50, 100)), ((94, 3, 3, 100), (16, 36, 44, 100))
    names = ("a", "b", "c", "d")
    worse, better = (
        evaluated(model, *(patch(counts[i % 2], name=name) for i, name in enumerate(names)))
        for model, counts in (("worse", easy), ("better", hard))
    )
    found = paired_difference(better, worse)
    assert found.difference.value == pytest.approx(110 * 2 / 392 - 100 * 2 / 400, abs=1e-9)
    assert found.difference.low > 0
    own = better.group(HUMAN).figures["jaccard"]
    assert found.difference.high - found.difference.low < 0.2 * (own.high - own.low)


def test_models_judged_on_different_scenes_are_not_compared() -> None:
    one, other = evaluated("m", patch((1, 1, 1, 1))), evaluated("n", patch((1, 1, 1, 1), name="z"))
    with pytest.raises(EvaluationError, match="on different scenes"):
        paired_difference(one, other)
    with pytest.raises(EvaluationError, match="no patch has label 'scl'"):
        paired_difference(one, one, label="scl")
