"""Views: judged as seen, made once, and never worth more than the image they were made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.scenes import REFLECTANCE_SCALE, read_scenes
from payload.training import views
from payload.training.datasets import TrainingSet, load_training_set
from payload.training.soft_labels import (
    FULL_SCALE,
    PROBABILITY_STEP,
    SoftLabel,
    read_soft_labels,
    write_soft_labels,
)
from payload.training.views import VIEW_PX, view_of, with_views
from payload.training.weak_labels import Opinion

MakeCollection = Callable[..., Path]


class BrightIsCloud:
    """Both models of the peers call what is bright cloud, as bright as it is seen now."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def opinions(self, reflectance: np.ndarray) -> list[Opinion]:
        assert reflectance.shape == (4, VIEW_PX, VIEW_PX)
        bright = (reflectance[0] > 0.4).astype(np.float32)
        return [Opinion("ukis_l1c", bright), Opinion("ukis_l2a", bright)]


@pytest.fixture
def pseudo_set(make_collection: MakeCollection, tmp_path: Path):  # type: ignore[no-untyped-def]
    rows = [("a", "none", "unlabelled"), ("b", "human", "train")]
    root = make_collection(tmp_path / "c", rows)
    full = np.full((64, 64), FULL_SCALE, dtype=np.uint8)
    nothing = SoftLabel(np.zeros_like(full), full)
    return load_training_set(root, pseudo={s.sha256: nothing for s in read_scenes(root)})


def test_a_view_is_labelled_by_what_is_seen_not_by_what_was_known(pseudo_set) -> None:  # type: ignore[no-untyped-def]
    (sample,) = (s for s in pseudo_set.samples if s.label_kind == "pseudo")
    view = view_of(sample, BrightIsCloud(), np.random.default_rng(1))  # type: ignore[arg-type]
    assert view.target.shape == (VIEW_PX, VIEW_PX)
    seen_bright = view.digital_number[0] > 0.4 * REFLECTANCE_SCALE
    assert seen_bright.any()
    # The joint label of the image as it was says clear everywhere.
    assert np.all(view.target[seen_bright] == FULL_SCALE)
    assert np.all(view.weight == FULL_SCALE), "no gap in the data, and no doubt"
    assert view.gsd_m != sample.gsd_m


@pytest.mark.parametrize(
    ("drawn", "trust", "said"),
    [(0, FULL_SCALE, round(FULL_SCALE / 2)), (0, 0, FULL_SCALE)],
    ids=["a person is heard as much as both models", "and not where nothing was said"],
)
def test_how_far_a_person_is_heard(pseudo_set, drawn: int, trust: int, said: int) -> None:  # type: ignore[no-untyped-def]
    (sample,) = (s for s in pseudo_set.samples if s.label_kind == "human")
    changed = replace(
        sample,
        target=np.full_like(sample.target, drawn),
        weight=np.full_like(sample.weight, trust),
    )
    view = view_of(changed, BrightIsCloud(), np.random.default_rng(1))  # type: ignore[arg-type]
    seen_bright = view.digital_number[0] > 0.4 * REFLECTANCE_SCALE
    assert seen_bright.any()
    assert np.all(view.target[seen_bright] == said)


def test_a_gap_in_the_data_is_not_trusted(pseudo_set) -> None:  # type: ignore[no-untyped-def]
    (sample,) = (s for s in pseudo_set.samples if s.label_kind == "pseudo")
    gap = sample.digital_number.copy()
    gap[:, :, : gap.shape[2] // 2] = 0
    view = view_of(
        replace(sample, digital_number=gap),
        BrightIsCloud(),  # type: ignore[arg-type]
        np.random.default_rng(1),
    )
    missing = np.all(view.digital_number == 0, axis=0)
    assert missing.any()
    assert not missing.all()
    np.testing.assert_array_equal(view.weight, np.where(missing, 0, FULL_SCALE))


def test_what_a_person_corrects_is_seen_in_the_views(
    pseudo_set,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "UkisDetector", BrightIsCloud)
    for drawn, said in ((0, FULL_SCALE // 2), (FULL_SCALE, FULL_SCALE)):
        samples = tuple(
            replace(s, target=np.full_like(s.target, drawn)) if s.label_kind == "human" else s
            for s in pseudo_set.samples
        )
        grown = with_views(TrainingSet(samples), tmp_path / "views.npz").samples
        human = {s.sha256 for s in samples if s.label_kind == "human"}
        most = max(int(s.target.max()) for s in grown if s.sha256 in human and views.is_view(s))
        assert most == pytest.approx(said, abs=1)


def test_views_are_made_anew_for_another_cell_size(
    pseudo_set,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "UkisDetector", BrightIsCloud)
    monkeypatch.setattr(BrightIsCloud, "made", 0)
    for gsd_m in (10.0, 30.0, 30.0):
        samples = tuple(replace(sample, gsd_m=gsd_m) for sample in pseudo_set.samples)
        with_views(TrainingSet(samples), tmp_path / "views.npz")
    assert BrightIsCloud.made == 2, "the detectors are asked once for each cell size"


@pytest.fixture
def five_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the image without a person's label, three of the other, judged by brightness."""
    monkeypatch.setattr(views, "UkisDetector", BrightIsCloud)
    monkeypatch.setattr(views, "VIEWS_PER_IMAGE", {"pseudo": 2, "human": 3})
    monkeypatch.setattr(BrightIsCloud, "made", 0)


@pytest.mark.usefixtures("five_views")
def test_views_share_the_draws_of_their_image_and_come_from_the_cache(
    pseudo_set,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    said: list[str] = []
    grown = with_views(pseudo_set, tmp_path / "views.npz", said.append)
    assert [s.label_kind for s in grown.samples] == ["pseudo"] * 3 + ["human"] + ["pseudo"] * 3
    assert grown.sampling_weights.sum() == pytest.approx(1.0)
    own, *seen_anew = grown.sampling_weights[:3]
    assert own == pytest.approx((1 - views.VIEW_SHARE) * pseudo_set.sampling_weights[0])
    assert seen_anew == pytest.approx([views.VIEW_SHARE / 2 * pseudo_set.sampling_weights[0]] * 2)
    assert grown.describe() == {"c (human)": 1, "c (pseudo)": 1}, "images, however often seen"
    again = with_views(pseudo_set, tmp_path / "views.npz", said.append)
    assert BrightIsCloud.made == 1
    assert said == ["views: 2 of 2 images"]
    for first, second in zip(grown.samples, again.samples, strict=True):
        np.testing.assert_array_equal(first.digital_number, second.digital_number)
        np.testing.assert_array_equal(first.target, second.target)
        np.testing.assert_array_equal(first.weight, second.weight)


@pytest.mark.usefixtures("five_views")
def test_what_the_teacher_says_of_a_view_is_kept_and_heard(
    pseudo_set,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    cache = tmp_path / "views.npz"
    seen: list[np.ndarray] = []

    def dark_is_cloud(reflectance: np.ndarray) -> np.ndarray:
        seen.append(reflectance)
        return np.asarray(reflectance[0] <= 0.4, dtype=np.float32)

    grown = with_views(pseudo_set, cache)
    opinions = views.opinions_of_views(grown, cache, dark_is_cloud)
    assert len(opinions) == len(seen) == 5
    write_soft_labels(tmp_path / "kept.npz", opinions)
    taught = with_views(pseudo_set, cache, teacher=read_soft_labels(tmp_path / "kept.npz"))
    for sample in taught.samples:
        if not views.is_view(sample):
            assert sample.teacher is None
            continue
        assert sample.teacher is not None
        said = (sample.digital_number[0] <= 0.4 * REFLECTANCE_SCALE).astype(float)
        whole = said.reshape(VIEW_PX // 2, 2, VIEW_PX // 2, 2).mean(axis=(1, 3))
        kept = sample.teacher[::2, ::2] / FULL_SCALE
        np.testing.assert_allclose(kept, whole, atol=PROBABILITY_STEP / FULL_SCALE / 2 + 1e-6)
        np.testing.assert_array_equal(sample.teacher[1::2, 1::2], sample.teacher[::2, ::2])


def test_what_one_detector_alone_labelled_is_not_seen_anew(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", [("m", "scl", "train")])
    alone = load_training_set(root)
    assert with_views(alone, tmp_path / "views.npz") is alone
    assert not (tmp_path / "views.npz").exists()
