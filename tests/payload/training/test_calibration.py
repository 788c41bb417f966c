"""Calibration: the operating point it promises, and that merging it moves 0.5 there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training.calibration import (  # noqa: E402
    LOGIT_BINS,
    LogitHistogram,
    fit,
    likeliest_slope,
    logit_histogram,
)

BIN_WIDTH = 0.02
SLOPE_TOLERANCE = 0.05


def histogram_of(clear: np.ndarray, cloud: np.ndarray) -> LogitHistogram:
    edges = np.linspace(-20, 20, LOGIT_BINS + 1)
    return LogitHistogram(
        np.histogram(clear, edges)[0].astype(float), np.histogram(cloud, edges)[0].astype(float)
    )


@settings(max_examples=40, deadline=None)
@given(
    clear_mean=st.floats(-6, 4),
    cloud_mean=st.floats(-4, 6),
    allowed=st.floats(0.005, 0.2),
    seed=st.integers(0, 1000),
)
def test_no_more_clear_is_called_cloud_than_allowed(
    clear_mean: float, cloud_mean: float, allowed: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    clear = generator.normal(clear_mean, 1.5, 4000)
    cloud = generator.normal(cloud_mean, 1.5, 2000)
    histogram = histogram_of(clear, cloud)
    found = fit(histogram, histogram, allowed)
    assert found.false_cloud_fraction <= allowed
    assert np.mean(clear >= found.threshold) == pytest.approx(found.false_cloud_fraction, abs=2e-3)


def test_true_slope_is_found() -> None:
    """Clear normal at -m, cloud at m, twice as much clear as cloud.

    The odds of cloud are then exp(2 m logit / variance) / 2, so with the threshold held at the
    logit of even odds the likeliest slope is 2 m / variance.
    """
    generator = np.random.default_rng(1)
    mean, sigma = 1.0, 1.4
    clear = generator.normal(-mean, sigma, 400_000)
    cloud = generator.normal(mean, sigma, 200_000)
    true_slope = 2 * mean / sigma**2
    even_odds = np.log(2) / true_slope
    found = likeliest_slope(histogram_of(clear, cloud), even_odds)
    assert found == pytest.approx(true_slope, abs=SLOPE_TOLERANCE)


def test_a_constraint_that_bites_raises_the_threshold() -> None:
    generator = np.random.default_rng(2)
    histogram = histogram_of(generator.normal(-1, 1.5, 9000), generator.normal(1, 1.5, 9000))
    strict, lax = (fit(histogram, histogram, allowed).threshold for allowed in (0.01, 0.3))
    assert strict > lax + 10 * BIN_WIDTH


def test_a_person_sets_the_limit_and_all_that_was_learnt_the_threshold() -> None:
    generator = np.random.default_rng(3)
    learnt = histogram_of(generator.normal(-1, 1, 9000), generator.normal(2, 1, 9000))
    far_apart = histogram_of(generator.normal(-8, 0.1, 900), generator.normal(8, 0.1, 900))
    close = histogram_of(generator.normal(3, 0.1, 900), generator.normal(4, 0.1, 900))
    best = fit(learnt, learnt, 0.3)
    assert fit(learnt, far_apart, 0.05).threshold == best.threshold
    limited = fit(learnt, close, 0.05)
    assert limited.threshold > 3.0
    assert limited.false_cloud_fraction <= 0.05
    assert limited.jaccard < best.jaccard


def test_each_draw_has_its_own_say() -> None:
    """The limit is of the second, the Jaccard of the first: they are not mixed up on the way."""
    from payload.training.augmentation import Batch
    from payload.training.calibration import calibrate
    from payload.training.students import Student, student_shape

    torch.manual_seed(0)
    image = np.random.default_rng(0).uniform(0, 1, (2, 4, 64, 64)).astype(np.float32)

    class All:
        """The same image, all of it clear or all of it cloud."""

        def __init__(self, target: float) -> None:
            self.target = np.full((2, 1, 64, 64), target, dtype=np.float32)

        def draw(self, _step: int) -> Batch:
            sure = np.ones_like(self.target)
            return Batch(image, self.target, sure, self.target, sure)

    student = Student(student_shape("8k")).eval()
    found = calibrate(
        student,
        learnt=All(1.0),  # type: ignore[arg-type]
        drawn=All(0.0),  # type: ignore[arg-type]
        first_step=0,
        false_cloud_fraction=0.05,
    )
    assert 0.0 < found.false_cloud_fraction <= 0.05
    assert 0.0 < found.jaccard <= 0.05, "as much cloud is found as clear may be called cloud"


def test_calibration_moves_the_operating_point_to_one_half() -> None:
    from payload.training import calibration
    from payload.training.augmentation import Batch
    from payload.training.students import Student, student_shape

    torch.manual_seed(0)
    student = Student(student_shape("8k")).eval()
    generator = np.random.default_rng(0)
    image = generator.uniform(0, 1, (4, 4, 64, 64)).astype(np.float32)
    target = (image[:, :1] > 0.6).astype(np.float32)
    sure = np.ones_like(target)
    batch = Batch(image, target, sure, target, sure)

    class Repeated:
        """The same batch at every step."""

        def draw(self, _step: int) -> Batch:
            return batch

    allowed = 0.05
    found = calibration.calibrate(
        student,
        learnt=Repeated(),  # type: ignore[arg-type]
        drawn=Repeated(),  # type: ignore[arg-type]
        first_step=0,
        false_cloud_fraction=allowed,
    )
    after = logit_histogram(student, [batch])
    called_cloud = after.clear[LOGIT_BINS // 2 :].sum() / after.clear.sum()
    assert called_cloud == pytest.approx(found.false_cloud_fraction, abs=5e-3)
    assert found.false_cloud_fraction <= allowed
