"""The search engine on signals whose intervals are known in closed form."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.geometry.search import (
    find_intervals,
    largest_in_intervals,
    sample_intervals,
    sample_slices,
)

TOLERANCE_S = 1e-4
PERIOD_S = 100.0
STEP_S = 7.0


def _wave_above(
    level: float, phase: float, start_s: np.ndarray, end_s: np.ndarray
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Intervals of ``cos(2 pi (t - phase) / PERIOD) >= level``: as found, and exact."""
    found = find_intervals(
        lambda t, _: np.cos(2 * np.pi * (t - phase) / PERIOD_S) - level,
        start_s,
        end_s,
        step_s=STEP_S,
        tolerance_s=TOLERANCE_S,
    )
    half = PERIOD_S * np.arccos(level) / (2 * np.pi)
    exact = []
    for low, high in zip(start_s, end_s, strict=True):
        for k in range(-2, 12):
            top = phase + k * PERIOD_S
            begin, end = max(low, top - half), min(high, top + half)
            if end - begin > 2 * TOLERANCE_S:
                exact.append((begin, end))
    return list(zip(found.start_s.tolist(), found.end_s.tolist(), strict=True)), exact


@given(
    # At 1 - 1e-5 an interval lasts 0.14 s, a fiftieth of the grid step.
    level=st.floats(-1 + 1e-5, 1 - 1e-5),
    phase=st.floats(0.0, PERIOD_S),
    cut=st.floats(250.0, 420.0),
)
def test_every_interval_of_a_wave_is_found(level: float, phase: float, cut: float) -> None:
    found, exact = _wave_above(level, phase, np.array([0.0]), np.array([cut]))
    # One that barely enters the window may be found or not: drop those from both.
    found = [pair for pair in found if pair[1] - pair[0] > 4 * TOLERANCE_S]
    exact = [pair for pair in exact if pair[1] - pair[0] > 4 * TOLERANCE_S]
    assert len(found) == len(exact)
    assert np.allclose(found, exact, rtol=0.0, atol=2 * TOLERANCE_S)


def test_windows_do_not_mix() -> None:
    starts, ends = np.array([0.0, 30.0, 500.0]), np.array([20.0, 170.0, 500.5])
    found, exact = _wave_above(0.0, 0.0, starts, ends)
    assert np.allclose(found, exact, atol=TOLERANCE_S)
    assert len(found) == 3


@given(level=st.floats(0.9, 1 - 1e-6), phase=st.floats(0.0, PERIOD_S))
def test_the_signal_is_not_negative_at_the_ends(level: float, phase: float) -> None:
    def signal(t: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.cos(2 * np.pi * (t - phase) / PERIOD_S) - level

    found = find_intervals(
        signal, np.array([0.0]), np.array([1000.0]), step_s=STEP_S, tolerance_s=TOLERANCE_S
    )
    assert (signal(found.start_s, found.window) >= 0.0).all()
    assert (signal(found.end_s, found.window) >= 0.0).all()


def test_a_dip_shorter_than_the_step_splits_an_interval() -> None:
    found = find_intervals(
        lambda t, _: (t - 50.3) ** 2 - 0.01,
        np.array([0.0]),
        np.array([100.0]),
        step_s=STEP_S,
        tolerance_s=TOLERANCE_S,
    )
    assert np.allclose(found.start_s, [0.0, 50.4], atol=TOLERANCE_S)
    assert np.allclose(found.end_s, [50.2, 100.0], atol=TOLERANCE_S)


def test_samples_span_each_interval_and_its_maximum_is_found() -> None:
    found = find_intervals(
        lambda t, _: np.sin(t), np.array([0.0]), np.array([20.0]), step_s=0.3, tolerance_s=1e-6
    )
    t_s, first = sample_intervals(found, step_s=0.4, least_spans=3)
    for part, start, end in zip(sample_slices(first), found.start_s, found.end_s, strict=True):
        assert t_s[part][0] == start
        assert t_s[part][-1] == end
        assert np.diff(t_s[part]).max() <= 0.4
    at, value = largest_in_intervals(lambda t, _: np.sin(t), t_s, np.sin(t_s), first, 1e-6)
    # The last interval is cut before or after its top at 6.5 pi = 20.42.
    expected = np.array([0.5 * np.pi, 2.5 * np.pi, 4.5 * np.pi, 20.0])
    assert np.allclose(at, expected, atol=1e-5)
    assert np.allclose(value, np.sin(expected))
