"""A short run of the million-packet fuzz in `tests/evidence/hil_fuzz.py`."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "evidence" / "hil_fuzz.py"


def test_hostile_packets_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    figures = runpy.run_path(str(SCRIPT))["fuzz"](packets=6000, seed=11)
    assert figures["friends"] > 0
    assert figures["friends_answered"] == figures["friends"]
    assert figures["frames_a_stranger_got_processed"] == 0
    assert figures["hang_ups"] > 0
    assert figures["peak_growth_mib"] < 100
