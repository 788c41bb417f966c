"""Losses that are right at the ends, and a training that learns and repeats itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training import calibration, distillation  # noqa: E402
from payload.training.augmentation import NO_AUGMENTATION  # noqa: E402
from payload.training.datasets import Sample, TrainingSet  # noqa: E402
from payload.training.distillation import (  # noqa: E402
    StudentRecipe,
    _calibration_samplers,
    _new_student,
    lesson_of,
    student_loss,
    train_student,
)
from payload.training.sampling import Sampler  # noqa: E402
from payload.training.students import StudentError  # noqa: E402

EDGE_PX = 64
NOTHING = 1e-4


@pytest.fixture(autouse=True)
def _few_calibration_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "CALIBRATION_BATCHES", 4)


def bright_is_cloud(count: int, with_teacher: bool = False) -> TrainingSet:
    """Images whose bright discs are cloud: learnable in a few steps."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:EDGE_PX, :EDGE_PX]
    samples = []
    for i in range(count):
        centre, radius = generator.uniform(16, 48, 2), generator.uniform(8, 20)
        cloud = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        image = generator.uniform(500, 1500, (4, EDGE_PX, EDGE_PX)) + 6000 * cloud
        target = (cloud * 255).astype(np.uint8)
        samples.append(
            Sample(
                name=f"disc{i}",
                collection="discs",
                surface="unknown",
                split="train",
                label_kind="human",
                gsd_m=10.0,
                sha256=f"{i:064d}",
                digital_number=image.astype(np.uint16),
                target=target,
                weight=np.full_like(target, 255),
                teacher=target if with_teacher else None,
                sampling_weight=1 / count,
            )
        )
    return TrainingSet(tuple(samples))


def recipe(**changes: object) -> StudentRecipe:
    settings = {
        "size": "8k",
        "steps": 40,
        "teacher_share": 0.0,
        "batch_size": 4,
        "patch_px": EDGE_PX,
        "augmentation": NO_AUGMENTATION,
    }
    return StudentRecipe(**{**settings, **changes})  # type: ignore[arg-type]


def test_training_learns_and_calibrates() -> None:
    trained = train_student(bright_is_cloud(6), recipe(steps=80))
    assert trained.losses[-10:].mean() < 0.5 * trained.losses[:5].mean()
    assert trained.calibration.jaccard > 0.9
    assert trained.images == {"discs (human)": 6}


def test_same_recipe_gives_the_same_student() -> None:
    first, second = (train_student(bright_is_cloud(3), recipe(steps=4)) for _ in range(2))
    for a, b in zip(first.student.parameters(), second.student.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(first.losses, second.losses)


def test_every_weight_learns() -> None:
    """Kernels are learnt through matrices that share their memory: a copy would learn in vain."""
    before = _new_student(recipe())
    after = train_student(bright_is_cloud(3), recipe(steps=3)).student
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert not torch.equal(old, new), name


def test_every_step_is_told() -> None:
    told: list[tuple[int, int]] = []
    trained = train_student(
        bright_is_cloud(3), recipe(steps=3), lambda done, steps, _loss: told.append((done, steps))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len(trained.losses) == 3


def test_snow_does_not_set_the_operating_point() -> None:
    """A snow patch as bright as cloud, called clear: the threshold stays where cloud is found."""
    ordinary = bright_is_cloud(6)
    snow = replace(
        ordinary.samples[0],
        name="snow",
        surface="snow_ice",
        digital_number=np.full((4, EDGE_PX, EDGE_PX), 7000, np.uint16),
        target=np.zeros((EDGE_PX, EDGE_PX), np.uint8),
        sampling_weight=0.3,
    )
    trained = train_student(TrainingSet((*ordinary.samples, snow)), recipe(steps=60))
    assert trained.calibration.jaccard > 0.85


def test_a_person_limits_and_all_but_snow_calibrates() -> None:
    drawn, seen_anew, snow = bright_is_cloud(3).samples
    seen_anew = replace(seen_anew, label_kind="pseudo")
    snow = replace(snow, surface="snow_ice")
    every = Sampler(TrainingSet((drawn, seen_anew, snow)), EDGE_PX, 4, 0, NO_AUGMENTATION)
    learnt, limiting = _calibration_samplers(every)
    assert learnt.training_set.samples == (drawn, seen_anew)
    assert limiting.training_set.samples == (drawn,)
    nobody = Sampler(TrainingSet((seen_anew,)), EDGE_PX, 4, 0, NO_AUGMENTATION)
    assert _calibration_samplers(nobody)[1].training_set.samples == (seen_anew,)


def test_a_student_is_calibrated_as_its_samplers_say(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, seen_anew = bright_is_cloud(2).samples
    seen_anew = replace(seen_anew, label_kind="pseudo")
    sizes: dict[str, int] = {}

    def noted(student, *, learnt, drawn, **limits):  # type: ignore[no-untyped-def]
        sizes.update(learnt=len(learnt.training_set.samples), drawn=len(drawn.training_set.samples))
        return calibration.calibrate(student, learnt=learnt, drawn=drawn, **limits)

    monkeypatch.setattr(distillation, "calibrate", noted)
    train_student(TrainingSet((drawn, seen_anew)), recipe(steps=1))
    assert sizes == {"learnt": 2, "drawn": 1}


def test_another_seed_gives_another_student() -> None:
    first, second = (train_student(bright_is_cloud(3), recipe(steps=2, seed=s)) for s in (0, 1))
    assert first.losses[0] != second.losses[0]


def test_teacher_is_learnt_from() -> None:
    trained = train_student(bright_is_cloud(4, with_teacher=True), recipe(teacher_share=0.7))
    assert trained.losses[-5:].mean() < trained.losses[:5].mean()


@pytest.mark.parametrize("patch_px", [EDGE_PX, EDGE_PX // 2])
def test_where_neither_a_label_nor_the_teacher_speaks_nothing_is_learnt(patch_px: int) -> None:
    class Undecided:
        """Says one half everywhere, and keeps its logit for its gradient."""

        def logit(self, reflectance: torch.Tensor) -> torch.Tensor:
            self.said = torch.zeros_like(reflectance[:, :1], requires_grad=True)
            return self.said

    (sample,) = bright_is_cloud(1).samples
    unlabelled = np.zeros_like(sample.weight)
    for teacher, speaks in ((None, False), (sample.target, True)):
        of_sample = replace(sample, weight=unlabelled, teacher=teacher)
        batch = Sampler(TrainingSet((of_sample,)), patch_px, 1, 0, NO_AUGMENTATION).draw(0)
        student = Undecided()
        lesson = lesson_of(batch, recipe(teacher_share=0.5, temperature=2.0))
        student_loss(student, lesson, 0.5).backward()  # type: ignore[arg-type]
        assert (student.said.grad != 0).all() == speaks
        assert (student.said.grad != 0).any() == speaks


def test_where_there_is_no_data_the_teacher_is_not_heard() -> None:
    (sample,) = bright_is_cloud(1, with_teacher=True).samples
    digital_number = sample.digital_number.copy()
    digital_number[:, :, : EDGE_PX // 2] = 0
    gap = replace(sample, digital_number=digital_number)
    batch = Sampler(TrainingSet((gap,)), EDGE_PX, 1, 0, NO_AUGMENTATION).draw(0)
    lesson = lesson_of(batch, recipe(teacher_share=0.5))
    assert lesson.soft is not None
    heard = lesson.soft.weight > 0
    assert torch.equal(heard, (lesson.reflectance != 0).any(dim=1, keepdim=True))
    assert 0 < heard.float().mean() < 1


def test_a_teacher_that_has_not_looked_is_refused() -> None:
    with pytest.raises(StudentError, match="looked at none of the 2 training images"):
        train_student(bright_is_cloud(2), recipe(teacher_share=0.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "1k"}, "size '1k' does not exist"),
        ({"steps": 0}, "steps is 0"),
        ({"teacher": "nobody"}, "use peers or nnunet"),
        ({"teacher_share": 1.5}, "teacher_share is 1.5"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"false_cloud_fraction": 0.0}, "false_cloud_fraction is 0.0"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StudentError, match=message):
        recipe(**changes)
