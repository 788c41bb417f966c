"""Views: judged as seen, made once, and never worth more than the image they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.scenes import REFLECTANCE_SCALE, read_scenes
from payload.training import views
from payload.training.datasets import TrainingSet, load_training_set
from payload.training.soft_labels import FULL_SCALE, SoftLabel
from payload.training.views import VIEW_PX, VIEWS_PER_IMAGE, view_of, with_views
from payload.training.weak_labels import Opinion

MakeCollection = Callable[..., Path]


class BrightIsCloud:
    """Both models of the peers call what is bright cloud, as bright as it is seen now."""

    made = 0

    def __init__(self, threads: int = 1) -> None:
        assert threads >= 1
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


def test_a_view_is_labelled_by_what_is_seen_and_by_what_was_known(pseudo_set) -> None:  # type: ignore[no-untyped-def]
    (sample,) = (s for s in pseudo_set.samples if s.label_kind == "pseudo")
    view = view_of(sample, BrightIsCloud(), np.random.default_rng(1))  # type: ignore[arg-type]
    assert view.target.shape == (VIEW_PX, VIEW_PX)
    seen_bright = view.digital_number[0] > 0.4 * REFLECTANCE_SCALE
    assert seen_bright.any()
    # Two models say cloud, the joint label of the image as it was says clear.
    assert np.all(view.target[seen_bright] == round(FULL_SCALE * 2 / 3))
    assert view.gsd_m != sample.gsd_m


def test_views_share_the_draws_of_their_image_and_come_from_the_cache(
    pseudo_set,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr(views, "UkisDetector", BrightIsCloud)
    monkeypatch.setattr(BrightIsCloud, "made", 0)
    said: list[str] = []
    grown = with_views(pseudo_set, tmp_path / "views.npz", said.append)
    assert len(grown.samples) == len(pseudo_set.samples) + VIEWS_PER_IMAGE
    assert grown.sampling_weights.sum() == pytest.approx(1.0)
    assert grown.describe() == pseudo_set.describe()
    again = with_views(pseudo_set, tmp_path / "views.npz", said.append)
    assert BrightIsCloud.made == 1
    assert said == ["views: 1 of 1 images"]
    for first, second in zip(grown.samples, again.samples, strict=True):
        np.testing.assert_array_equal(first.digital_number, second.digital_number)
        np.testing.assert_array_equal(first.target, second.target)


def test_what_a_person_drew_is_not_judged_anew(pseudo_set, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    human = TrainingSet(tuple(s for s in pseudo_set.samples if s.label_kind == "human"))
    assert with_views(human, tmp_path / "views.npz") is human
    assert not (tmp_path / "views.npz").exists()
