"""Training a student: from labels, from the teacher, or from both.

Where a label exists it is learnt with cross-entropy and Dice, each pixel weighing as much as its
label is trusted. Where the teacher has looked, the student also learns the teacher's probability,
softened by a temperature (Hinton, Vinyals, Dean 2015): at temperature 1 a teacher that is sure
says hardly more than a label; softened, it tells thin cloud from haze and haze from snow.

A recipe and a training set determine the student: batch `k` depends on the seed and on `k` alone.
One thread learns while another draws the next batch and works out what does not depend on the
student, on however many cores: the sums, and with them the student, do not depend on the machine's
number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from payload.training.augmentation import MODERATE, Augmentation, Batch
from payload.training.calibration import Calibration, calibrate
from payload.training.datasets import LABEL_KINDS, Sample, TrainingSet
from payload.training.losses import (
    SoftTarget,
    cross_entropy,
    soft_loss,
    softened,
    squared_dice_loss,
)
from payload.training.muon import KernelMuon
from payload.training.sampling import Sampler
from payload.training.soft_labels import NNUNET
from payload.training.students import Student, StudentError, student_shape

WARM_UP_SHARE = 0.08
"""Share of the steps in which the learning rate rises to its peak."""

GRADIENT_LIMIT = 1.0
"""Norm the gradient is cut to: one odd batch must not undo a hundred."""

BATCHES_AHEAD = 2

SNOW_AND_ICE = "snow_ice"

Report = Callable[[int, int, float], None]
"""Called after each step with (steps done, steps in all, loss)."""


TEACHERS: tuple[str, ...] = ("peers", NNUNET)


@dataclass(frozen=True)
class StudentRecipe:
    """Everything that decides a student, beside the training set.

    Attributes
    ----------
    size : str
        One of `payload.training.students.FAMILY`.
    steps, batch_size, patch_px : int
        How long is learnt, on how much every step looks.
    seed : int
        Of the initial weights and of every draw.
    label_kinds : tuple of str
        Of `payload.training.datasets.LABEL_KINDS`.
    teacher : {"peers", "nnunet"}
        Whose soft targets: the joint opinion of the peers (`payload.training.weak_labels`), or
        the committed soft labels of the nnU-Net teacher, of images and of their views.
    teacher_share : float
        Share of the loss given to soft targets; 0 learns from labels alone.
    temperature : float
        Softening of teacher and student in the soft loss.
    learning_rate, weight_decay : float
        Peak rate and decay of `payload.training.muon.KernelMuon`.
    false_cloud_fraction : float
        Largest share of clear pixels called cloud at the operating point, on training patches a
        person labelled, snow and ice left out; within it, the best Jaccard on everything learnt.
    augmentation : Augmentation
    """

    size: str = "120k"
    steps: int = 30000
    batch_size: int = 6
    patch_px: int = 192
    seed: int = 0
    label_kinds: tuple[str, ...] = LABEL_KINDS
    teacher: str = NNUNET
    teacher_share: float = 0.5
    temperature: float = 2.0
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    false_cloud_fraction: float = 0.05
    augmentation: Augmentation = field(default_factory=lambda: MODERATE)

    def __post_init__(self) -> None:
        student_shape(self.size)
        if self.steps < 1:
            raise StudentError(f"steps is {self.steps}, expected at least 1")
        if not 0 <= self.teacher_share <= 1:
            raise StudentError(f"teacher_share is {self.teacher_share}, expected 0 to 1")
        if self.teacher not in TEACHERS:
            raise StudentError(
                f"teacher is {self.teacher!r}, which is not known; use {' or '.join(TEACHERS)}"
            )
        if self.temperature <= 0:
            raise StudentError(f"temperature is {self.temperature}, expected more than 0")
        if not 0 < self.false_cloud_fraction < 1:
            raise StudentError(
                f"false_cloud_fraction is {self.false_cloud_fraction}, expected between 0 and 1"
            )

    @property
    def is_taught(self) -> bool:
        """Whether soft targets are learnt."""
        return self.teacher_share > 0


@dataclass(frozen=True)
class TrainedStudent:
    """A calibrated student with the record of its training.

    Attributes
    ----------
    student : Student
        In evaluation mode.
    recipe : StudentRecipe
    calibration : Calibration
    losses : ndarray of float64, shape (steps,)
    images : dict
        Number of training images per ``collection (label kind)``.
    """

    student: Student
    recipe: StudentRecipe
    calibration: Calibration
    losses: NDArray[np.float64]
    images: dict[str, int]


def train_student(
    training_set: TrainingSet, recipe: StudentRecipe, report: Report | None = None
) -> TrainedStudent:
    """Train and calibrate one student on the CPU.

    Parameters
    ----------
    training_set : TrainingSet
        Of `payload.training.datasets.load_training_set`; with teacher labels when
        ``recipe.teacher_share`` is above 0.
    recipe : StudentRecipe
    report : callable, optional
        Told of every step.

    Raises
    ------
    StudentError
        The recipe asks for a teacher that has looked at none of the images.
    """
    _check_teacher(training_set, recipe)
    with _one_torch_thread():
        return _train(training_set, recipe, report)


def _train(
    training_set: TrainingSet, recipe: StudentRecipe, report: Report | None
) -> TrainedStudent:
    student = _new_student(recipe)
    sampler = Sampler(
        training_set, recipe.patch_px, recipe.batch_size, recipe.seed, recipe.augmentation
    )
    losses = learn(student, sampler, recipe, report)
    return finish(student, sampler, recipe, np.array(losses))


def learn(
    student: Student, sampler: Sampler, recipe: StudentRecipe, report: Report | None = None
) -> list[float]:
    """One cycle of the learning rate over the recipe's steps; the student is changed.

    Returns
    -------
    list of float
        Loss of each step.
    """
    student.train()
    learner = KernelMuon(student, recipe.learning_rate, recipe.weight_decay)
    schedules = [_one_cycle(optimiser, recipe.steps) for optimiser in learner.optimisers]
    losses: list[float] = []
    for lesson in _lessons(sampler, recipe):
        loss = student_loss(student, lesson, recipe.teacher_share)
        learner.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), GRADIENT_LIMIT)
        learner.step()
        for schedule in schedules:
            schedule.step()
        losses.append(loss.item())
        if report is not None:
            report(len(losses), recipe.steps, losses[-1])
    return losses


def _one_cycle(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    """The learning rate rises to the optimiser's own and falls to almost nothing."""
    peak = optimiser.param_groups[0]["lr"]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, peak, steps, pct_start=WARM_UP_SHARE, cycle_momentum=False
    )


def finish(
    student: Student, sampler: Sampler, recipe: StudentRecipe, losses: NDArray[np.float64]
) -> TrainedStudent:
    """Calibrate a student that has learnt, on batches after those it learnt from."""
    student.eval()
    learnt, drawn = _calibration_samplers(sampler)
    calibration = calibrate(
        student,
        learnt=learnt,
        drawn=drawn,
        first_step=recipe.steps,
        false_cloud_fraction=recipe.false_cloud_fraction,
    )
    return TrainedStudent(student, recipe, calibration, losses, sampler.training_set.describe())


@dataclass(frozen=True)
class Lesson:
    """A batch as it is learnt: all that can be worked out before the student answers.

    Attributes
    ----------
    reflectance : Tensor of float32, shape (n, 4, h, w)
    target, weight : Tensor of float32, shape (n, 1, h, w)
    soft : SoftTarget or None
        What the teacher says; None where only labels are learnt.
    """

    reflectance: Tensor
    target: Tensor
    weight: Tensor
    soft: SoftTarget | None


def lesson_of(batch: Batch, recipe: StudentRecipe) -> Lesson:
    """Tensors of a batch, and its soft targets if the recipe is taught."""
    reflectance = torch.from_numpy(batch.reflectance).contiguous(memory_format=torch.channels_last)
    soft = None
    if recipe.is_taught:
        seen = (reflectance != 0).any(dim=1, keepdim=True).float()
        teacher, taught = torch.from_numpy(batch.teacher), torch.from_numpy(batch.taught)
        soft = softened(teacher, seen * taught, recipe.temperature)
    return Lesson(reflectance, torch.from_numpy(batch.target), torch.from_numpy(batch.weight), soft)


def student_loss(student: Student, lesson: Lesson, teacher_share: float) -> Tensor:
    """Loss of one batch: cross-entropy + Dice on labels, softened cross-entropy on the teacher."""
    logit = student.logit(lesson.reflectance)
    label_loss = cross_entropy(logit, lesson.target, lesson.weight) + squared_dice_loss(
        logit, lesson.target, lesson.weight
    )
    if lesson.soft is None:
        return label_loss
    return (1 - teacher_share) * label_loss + teacher_share * soft_loss(logit, lesson.soft)


def _calibration_samplers(sampler: Sampler) -> tuple[Sampler, Sampler]:
    """Draw from all that was learnt from; and from what a person labelled, where there is any.

    Snow and ice are left out of both, because four bands leave them as bright as cloud: a
    threshold that spared them would miss most cloud everywhere else. What is called cloud over
    snow is told apart by the evaluation instead.
    """
    every = sampler.training_set.samples
    learnt = tuple(s for s in every if s.surface != SNOW_AND_ICE) or every
    drawn = tuple(s for s in learnt if s.label_kind == "human") or learnt
    return _drawing_from(learnt, sampler), _drawing_from(drawn, sampler)


def _drawing_from(samples: tuple[Sample, ...], sampler: Sampler) -> Sampler:
    return Sampler(
        TrainingSet(samples),
        sampler.patch_px,
        sampler.batch_size,
        sampler.seed,
        sampler.augmentation,
    )


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_teacher(training_set: TrainingSet, recipe: StudentRecipe) -> None:
    seen = sum(sample.teacher is not None for sample in training_set.samples)
    if recipe.is_taught and seen == 0:
        raise StudentError(
            f"the recipe learns soft targets, but the teacher has looked at none of the "
            f"{len(training_set.samples)} training images; give load_training_set its labels, or "
            "set teacher_share to 0"
        )


def _new_student(recipe: StudentRecipe) -> Student:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        student = Student(student_shape(recipe.size))
    return student.to(memory_format=torch.channels_last).train()


def _lessons(sampler: Sampler, recipe: StudentRecipe) -> Iterator[Lesson]:
    """A lesson for each step, the next ones being drawn while one is learnt."""
    steps = range(recipe.steps)
    with ThreadPoolExecutor(max_workers=1) as drawer:

        def ahead(step: int) -> Future[Lesson]:
            return drawer.submit(lambda: lesson_of(sampler.draw(step), recipe))

        waiting = [ahead(step) for step in steps[:BATCHES_AHEAD]]
        for step in steps:
            if step + BATCHES_AHEAD in steps:
                waiting.append(ahead(step + BATCHES_AHEAD))
            yield waiting.pop(0).result()
