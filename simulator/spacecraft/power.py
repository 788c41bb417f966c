"""The power subsystem in simulated time: loads switch, the battery integrates, low power sheds.

Loads are named and constant between switches. At every switch, every change of sunlight, every
crossing of a threshold and every minimum of the charge the battery is advanced exactly and one
`Power` event is written. When the charge falls to the low-power threshold payload, imager and
look-ahead are shed until it has recovered; when the battery is empty the radio is shed as well,
until then, and there is no link to the ground. The bus is never shed: what it lacks is counted as
unserved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal

import simpy

from simulator.spacecraft.battery import Battery, BatteryState
from simulator.telemetry.events import Event, Power

Load = Literal["bus", "payload", "imager", "radio", "look_ahead"]


@dataclass(frozen=True)
class PowerLimits:
    """Charges at which payload and imager are shed and come back, Wh."""

    low_power_wh: float
    recover_wh: float


@dataclass
class PowerSubsystem:
    """Battery, loads and the low-power rule of one satellite.

    Parameters
    ----------
    env : simpy.Environment
    satellite : str
    battery : Battery
    state : BatteryState
        At the start of the simulation.
    limits : PowerLimits
    sunlight_changes_s : sequence of float
        Times at which the satellite enters or leaves umbra or penumbra, increasing.
    log : callable
        Receives the events.
    """

    env: simpy.Environment
    satellite: str
    battery: Battery
    state: BatteryState
    limits: PowerLimits
    sunlight_changes_s: tuple[float, ...]
    log: Callable[[Event], None]
    low_power: bool = False
    empty: bool = False
    loads_w: dict[Load, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("bus", "payload", "imager", "radio", "look_ahead"), 0.0
        )
    )
    payload_wh: float = 0.0

    def __post_init__(self) -> None:
        self._switched = self.env.event()
        self.shed = self.env.event()
        self.emptied = self.env.event()
        self.recovered = self.env.event()
        self.low_power = self.state.charge_wh <= self.limits.low_power_wh
        self.empty = self.state.charge_wh <= self.battery.tolerance_wh

    @property
    def load_w(self) -> float:
        """All loads together."""
        return math.fsum(self.loads_w.values())

    def switch(self, load: Load, power_w: float, reason: str) -> None:
        """Change one load from now on."""
        if self.loads_w[load] == power_w:
            return
        self._advance()
        self._cross_reached()
        self.loads_w[load] = power_w
        self._write(reason)
        self._switched.succeed()
        self._switched = self.env.event()

    def run(self) -> Generator[simpy.Event, None, None]:
        """The process: wake at sunlight changes, threshold crossings and minima of the charge."""
        self._write("start of the mission")
        change = 0
        while True:
            while (
                change < len(self.sunlight_changes_s)
                and self.sunlight_changes_s[change] <= self.env.now
            ):
                change += 1
            next_change_s = (
                self.sunlight_changes_s[change]
                if change < len(self.sunlight_changes_s)
                else float(self.battery.generation.t_s[-1])
            )
            if next_change_s <= self.env.now:
                return
            crossing_s, level_wh = min(
                (self.battery.next_crossing_s(self.state, self.load_w, level, next_change_s), level)
                for level in self._levels_wh()
            )
            lowest_s = self.battery.next_minimum_s(self.state, self.load_w, next_change_s)
            wake_s = min(crossing_s, lowest_s, next_change_s)
            switched = self._switched
            yield self.env.timeout(max(wake_s - self.env.now, 0.0)) | switched
            if self.env.now < wake_s:
                continue
            self._advance()
            self._cross_reached(level_wh if wake_s == crossing_s else None)
            if wake_s == crossing_s:
                continue
            if wake_s == lowest_s:
                self._write("the charge begins to rise")
            elif change < len(self.sunlight_changes_s):  # else it is the end of the mission
                self._write("sunlight changes")

    def finish(self) -> None:
        """Close the books at the end of the simulation."""
        self._advance()
        self._write("end of the mission")

    def projected(self) -> BatteryState:
        """The battery at this moment, without booking anything."""
        return self.battery.advance(self.state, self.env.now, self.load_w)

    def _levels_wh(self) -> tuple[float, ...]:
        """Charges at which something changes from now on."""
        if not self.low_power:
            return (self.limits.low_power_wh,)
        return (self.limits.recover_wh,) if self.empty else (self.limits.recover_wh, 0.0)

    def _cross_reached(self, due_wh: float | None = None) -> None:
        """Cross every level the charge has come to, and the one it was foreseen to meet now.

        A load may switch at the very instant of a crossing, or a rounding error before it: seen
        from the charge that is left then, the level is met already and never comes.
        """
        for level_wh in self._levels_wh():
            over_wh = self.state.charge_wh - level_wh
            short_wh = -over_wh if self.low_power and level_wh > 0.0 else over_wh
            if level_wh == due_wh or short_wh <= self.battery.tolerance_wh:
                self._cross(level_wh)

    def _cross(self, level_wh: float) -> None:
        """Enter low power, run empty, or recover from both; those who wait for it are told."""
        if self.low_power and level_wh > 0.0:
            self.low_power = self.empty = False
            self._write("charge recovered: payload and imager may run")
            self.recovered.succeed()
            self.recovered = self.env.event()
            return
        if not self.low_power:
            self.low_power = True
            self._write("charge fell to the low-power threshold: payload and imager are shed")
            self.shed.succeed()
            self.shed = self.env.event()
        if level_wh == 0.0:
            self.empty = True
            self._write("the battery is empty: the radio is shed")
            self.emptied.succeed()
            self.emptied = self.env.event()

    def _advance(self) -> None:
        now_s = self.env.now
        hours = (now_s - self.state.t_s) / 3600.0
        self.payload_wh += self.loads_w["payload"] * hours
        self.state = self.battery.advance(self.state, now_s, self.load_w)

    def _write(self, reason: str) -> None:
        state = self.state
        self.log(
            Power(
                t_s=state.t_s,
                satellite=self.satellite,
                charge_wh=state.charge_wh,
                charge_fraction=state.charge_wh / self.battery.capacity_wh,
                load_w=self.load_w,
                payload_w=self.loads_w["payload"],
                imager_w=self.loads_w["imager"],
                radio_w=self.loads_w["radio"],
                look_ahead_w=self.loads_w["look_ahead"],
                bus_w=self.loads_w["bus"],
                generation_w=self.battery.generation.at(state.t_s),
                generated_wh=state.generated_wh,
                consumed_wh=state.consumed_wh,
                curtailed_wh=state.curtailed_wh,
                unserved_wh=state.unserved_wh,
                payload_wh=self.payload_wh,
                low_power=self.low_power,
                reason=reason,
            )
        )
