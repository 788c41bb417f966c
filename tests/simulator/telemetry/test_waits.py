"""Waiting times against values worked out by hand."""

from __future__ import annotations

import pytest

from simulator.telemetry.waits import time_to_clear

EXACT = 1e-12


def test_waiting_time_with_all_targets_satisfied() -> None:
    wait = time_to_clear([3600.0, 7200.0, 10800.0, 14400.0], targets=4, horizon_s=36000.0)
    assert wait.median_h == 2.0
    assert wait.restricted_mean_h == pytest.approx(2.5, rel=EXACT)


def test_waiting_time_without_any() -> None:
    wait = time_to_clear([], targets=4, horizon_s=36000.0)
    assert (wait.median_h, wait.restricted_mean_h) == (None, 10.0)
    assert time_to_clear([], targets=0, horizon_s=36000.0).restricted_mean_h is None
