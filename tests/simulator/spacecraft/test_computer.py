"""The payload computer's orbits: an instant belongs to one of them, edges to the one they open.

And what they can pay for where a frame's cost is known only when it is done.
"""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from payload.frame import Frame, FrameResult
from simulator.pace import RealtimeEnvironment
from simulator.spacecraft.battery import Battery, BatteryState, GenerationCurve
from simulator.spacecraft.computer import (
    ComputerLimits,
    Job,
    Outcome,
    PayloadComputer,
    orbit_number,
)
from simulator.spacecraft.power import PowerLimits, PowerSubsystem


@given(st.integers(0, 500), st.floats(3000.0, 90_000.0))
def test_the_edge_of_an_orbit_belongs_to_the_orbit_it_opens(number, orbit_s):
    assert orbit_number(number * orbit_s, orbit_s) == number


@given(st.floats(0.0, 1e7), st.floats(3000.0, 90_000.0))
def test_the_next_edge_is_always_ahead(t_s, orbit_s):
    number = orbit_number(t_s, orbit_s)
    assert number * orbit_s <= t_s < (number + 1) * orbit_s


class SlowPayload:
    """Takes 20 ms of wall time for a frame, and says it takes 5 s and 5 mWh."""

    def describe(self) -> SimpleNamespace:
        return SimpleNamespace(active_power_w=3.6)

    def process(self, frame: Frame) -> FrameResult:
        time.sleep(0.02)
        crashed = FrameResult.without_mask(
            frame.frame_id, "crashed", "", model="m", model_sha256="0", device="d",
            latency_s=5.0, energy_wh=0.005,
        )  # fmt: skip
        return replace(crashed, status="ok")


def test_in_real_time_an_orbit_that_has_spent_its_energy_begins_no_frame():
    """At 1000 times 20 ms are 20 s: each frame spends an orbit's energy of 0.015 Wh alone."""
    env, orbit_s = RealtimeEnvironment(1000.0), 400.0
    battery = Battery(1e3, GenerationCurve(np.array([0.0, 1e4]), np.zeros(2)))
    power = PowerSubsystem(
        env, "neph-1", battery, BatteryState(0.0, 1e3), PowerLimits(1.0, 2.0), (), lambda _: None
    )
    done: list[Outcome] = []
    computer = PayloadComputer(
        env,
        "neph-1",
        SlowPayload(),
        power,
        ComputerLimits(3.6, 0.015, orbit_s, 3 * orbit_s),
        (),
        idle_power_w=0.5,
        reboots_s={},
        log=lambda _: None,
        on_outcome=done.append,
    )
    env.process(computer.run())
    pixels = SimpleNamespace(reflectance=np.zeros((4, 8, 8), np.float32))
    for number in range(4):
        computer.submit(Job(f"frame-{number}", "po", 0.0, pixels))
    env.run(until=3.5 * orbit_s)
    env.close(10.0)
    assert [outcome.status for outcome in done] == ["ok", "ok", "ok", "deadline_missed"]
    assert [orbit_number(o.start_s, orbit_s) for o in done] == [0, 1, 2, 3]
    assert done[0].start_s == 0.0, "its work is the asking, and begins with it"
    assert min(outcome.energy_wh for outcome in done[:3]) > 0.015
    assert done[3].energy_wh == 0.0
