"""Low power, an empty battery and recovery come whatever else happens at that very instant."""

from __future__ import annotations

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.spacecraft.battery import Battery, BatteryState, GenerationCurve
from simulator.spacecraft.power import PowerLimits, PowerSubsystem
from simulator.telemetry.events import Power

END_S = 400_000.0
LOW, RECOVER = 0.3, 0.5

tenths_w = st.integers(1, 120).map(lambda tenths: tenths / 10)
instants_s = st.integers(10, 4000).map(lambda hundredths: hundredths / 100 * 3600)
capacities_wh = st.sampled_from((40.0, 400.0, 100_000.0))


def flown(
    capacity_wh: float, charge_wh: float, generation_w: float, load_w: float, switch_s: float
) -> list[Power]:
    """A satellite whose radio is switched on and off again at one instant."""
    env = simpy.Environment()
    rows: list[Power] = []
    curve = GenerationCurve(np.array([0.0, END_S]), np.full(2, generation_w))
    power = PowerSubsystem(
        env,
        "neph-1",
        Battery(capacity_wh, curve),
        BatteryState(0.0, charge_wh),
        PowerLimits(LOW * capacity_wh, RECOVER * capacity_wh),
        (),
        rows.append,  # type: ignore[arg-type]
    )
    power.switch("bus", load_w, "on")
    env.process(power.run())

    def switches():
        yield env.timeout(switch_s)
        power.switch("radio", 1.0, "on")
        power.switch("radio", 0.0, "off")

    env.process(switches())
    env.run(until=END_S)
    return rows


@given(capacities_wh, tenths_w, instants_s)
def test_a_load_that_switches_at_the_crossing_does_not_hide_it(capacity_wh, load_w, switch_s):
    charge_wh = LOW * capacity_wh + load_w * switch_s / 3600
    if charge_wh > capacity_wh:
        charge_wh, switch_s = capacity_wh, (1 - LOW) * capacity_wh / load_w * 3600
    rows = flown(capacity_wh, charge_wh, 0.0, load_w, switch_s)
    entered = [row.t_s for row in rows if row.reason.startswith("charge fell")]
    assert entered == pytest.approx([switch_s] if switch_s < END_S else [])


@given(tenths_w, instants_s)
def test_nor_that_the_battery_is_empty(load_w, switch_s):
    rows = flown(1000.0, load_w * switch_s / 3600, 0.0, load_w, switch_s)
    emptied = [row.t_s for row in rows if row.reason.startswith("the battery is empty")]
    assert emptied == pytest.approx([switch_s])


@given(capacities_wh, tenths_w, instants_s)
def test_nor_that_it_has_recovered(capacity_wh, surplus_w, switch_s):
    charge_wh = RECOVER * capacity_wh - surplus_w * switch_s / 3600
    if charge_wh < 0.0:
        charge_wh, switch_s = 0.0, RECOVER * capacity_wh / surplus_w * 3600
    rows = flown(capacity_wh, charge_wh, 10.0 + surplus_w, 10.0, switch_s)
    recovered = [row.t_s for row in rows if row.reason.startswith("charge recovered")]
    was_low = charge_wh <= LOW * capacity_wh
    assert recovered == pytest.approx([switch_s] if was_low and switch_s < END_S else [])
