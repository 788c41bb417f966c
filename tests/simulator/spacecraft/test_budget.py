"""What a planner is told it may spend: the radio's passes are spent already."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from simulator.scenario import StorageQuota, load_scenario
from simulator.spacecraft.battery import Battery, BatteryState, GenerationCurve
from simulator.spacecraft.budget import CaptureBudget
from simulator.spacecraft.imaging import exposure_s
from simulator.spacecraft.power import PowerLimits
from simulator.spacecraft.storage import Storage

DAY_S = 86400.0
PASS_S = (3600.0, 7200.0)


def captures_in_the_dark(
    passes: list[SimpleNamespace], frame_wh: float = 0.0, under_way: str | None = None
) -> int:
    """Captures that 400 Wh allow in all until the plan is renewed, without any sunlight."""
    dark = GenerationCurve(np.array([0.0, DAY_S]), np.zeros(2))
    power = SimpleNamespace(
        battery=Battery(400.0, dark),
        projected=lambda: BatteryState(0.0, 400.0),
        limits=PowerLimits(120.0, 200.0),
        sunlight_changes_s=(),
    )
    budget = CaptureBudget(
        load_scenario("first_light").satellites[0],
        SimpleNamespace(passes=passes, glances=(), period_s=5700.0),
        power,
        Storage(10**12, lambda _: None),
        None,
        frame_wh=frame_wh,
        drops_for_room=True,
        duration_s=DAY_S,
    )
    return min(limit.captures for limit in budget.limits(0.0, under_way))


def test_a_share_of_the_storage_is_room_for_its_targets_only():
    section = load_scenario("first_light").satellites[0]
    frame_bytes = section.imager.frame_bytes
    storage = Storage(10 * frame_bytes, lambda _: None)
    storage.admit("a", frame_bytes, 1.0)
    los = SimpleNamespace(los_s=DAY_S / 2)
    emptied = SimpleNamespace(contact=los, served_s=(), served_bytes=2 * frame_bytes)
    bright = SimpleNamespace(
        battery=Battery(1e9, GenerationCurve(np.array([0.0, DAY_S]), np.zeros(2))),
        projected=lambda: BatteryState(0.0, 1e9),
        limits=PowerLimits(120.0, 200.0),
        sunlight_changes_s=(),
    )
    budget = CaptureBudget(
        section,
        SimpleNamespace(passes=[emptied], glances=(), period_s=DAY_S),
        bright,
        storage,
        None,
        frame_wh=0.0,
        drops_for_room=False,
        duration_s=DAY_S,
        quotas=(StorageQuota(max_priority=1, fraction=0.3),),
        priorities={"low": 1.0, "high": 5.0},
    )

    def room(under_way: str | None) -> list[tuple[int, frozenset[str] | None]]:
        found = budget.limits(0.0, under_way)
        return [(one.captures, one.targets) for one in found if one.reason == "storage"]

    low = frozenset({"low"})
    after_los = [(10, None), (3, low)]  # however much the pass could carry
    assert set(room(None)) == {(9, None), (11, None), (2, low), (4, low), *after_los}
    assert set(room("high")) == {(8, None), (10, None), (2, low), (4, low), *after_los}
    assert set(room("low")) == {(8, None), (10, None), (1, low), (3, low), *after_los}


def test_what_the_radio_will_draw_is_not_left_for_captures():
    section = load_scenario("first_light").satellites[0]
    imager = section.imager
    capture_wh = imager.power_w * (imager.warmup_s + exposure_s(imager)) / 3600.0
    radio_wh = section.radio.power_w * (PASS_S[1] - PASS_S[0]) / 3600.0
    silent = captures_in_the_dark([])
    sending = captures_in_the_dark([SimpleNamespace(served_s=(PASS_S,))])
    assert silent - sending == pytest.approx(radio_wh / capture_wh, abs=1.0)


def test_two_passes_at_once_are_one_transmission():
    one = SimpleNamespace(served_s=(PASS_S,))
    assert captures_in_the_dark([one, one]) == captures_in_the_dark([one])


def test_a_capture_is_charged_with_the_work_on_its_frame():
    assert captures_in_the_dark([], frame_wh=1.0) < captures_in_the_dark([]) / 10


def test_a_capture_under_way_is_paid_for_before_the_others():
    assert captures_in_the_dark([], under_way="a") == captures_in_the_dark([]) - 1
    assert captures_in_the_dark([], frame_wh=1e6, under_way="a") == 0
