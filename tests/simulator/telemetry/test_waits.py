"""Waiting times against values worked out by hand."""

from __future__ import annotations

import pytest

from simulator.telemetry.waits import time_to_clear

EXACT = 1e-12


def test_waiting_time_with_all_targets_satisfied() -> None:
    wait = time_to_clear([3600.0, 7200.0, 10800.0, 14400.0], targets=4, horizon_s=36000.0)
    assert wait.median_h == 2.0
    assert wait.restricted_mean_h == pytest.approx(2.5, rel=EXACT)


@pytest.mark.parametrize("targets", range(2, 201))
def test_the_median_is_when_half_of_the_targets_are_satisfied(targets: int) -> None:
    half = (targets + 1) // 2
    satisfied_s = [3600.0 * hour for hour in range(half + 1, 0, -1)]
    assert time_to_clear(satisfied_s[1:], targets, 3.6e6).median_h == half
    assert time_to_clear(satisfied_s[: half + 1], targets + 2, 3.6e6).median_h == half + 1
    assert time_to_clear(satisfied_s[2:], targets, 3.6e6).median_h is None


def test_waiting_time_without_any() -> None:
    wait = time_to_clear([], targets=4, horizon_s=36000.0)
    assert (wait.median_h, wait.restricted_mean_h) == (None, 10.0)
    assert time_to_clear([], targets=0, horizon_s=36000.0).restricted_mean_h is None
