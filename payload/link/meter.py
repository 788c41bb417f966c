"""Energy meters of the machine the payload runs on, read from sysfs.

Two kinds are found by themselves: Intel RAPL (`/sys/class/powercap`, an energy counter in
microjoules) and the INA3221 rail monitor of Jetson boards (`hwmon`, voltage in mV and current in
mA, integrated between readings). Where neither can be read, energy is declared power times time,
and results say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

JOULES_PER_WH = 3600.0
POWERCAP = Path("/sys/class/powercap")
HWMON = Path("/sys/class/hwmon")


class EnergyMeter(Protocol):
    """A counter of energy used since some moment."""

    name: str

    def read_wh(self) -> float | None:
        """Energy counted so far, watt-hours; None if it cannot be read now."""

    def difference_wh(self, before_wh: float, after_wh: float) -> float:
        """Energy between two readings, minding a counter that went round."""


class RaplMeter:
    """Package energy of an Intel or AMD processor.

    Parameters
    ----------
    folder : Path
        A powercap zone: `energy_uj`, `max_energy_range_uj`.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"RAPL {folder.name}"
        self._counter = folder / "energy_uj"
        self._range_wh = _wh(float((folder / "max_energy_range_uj").read_text()))

    def read_wh(self) -> float | None:
        """Energy counted so far, watt-hours."""
        try:
            return _wh(float(self._counter.read_text()))
        except (OSError, ValueError):
            return None

    def difference_wh(self, before_wh: float, after_wh: float) -> float:
        """Energy between two readings; the counter wraps at its range."""
        return (after_wh - before_wh) % self._range_wh


class Ina3221Meter:
    """Input power of a Jetson board, summed over readings.

    The chip gives power, not energy: the mean of two readings times the time between them is
    exact only for loads that change slowly, so long frames are measured better than short ones.

    Parameters
    ----------
    folder : Path
        An hwmon device: `in1_input` in mV, `curr1_input` in mA.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"INA3221 {folder.name}"
        self._folder = folder
        self._clock = clock
        self._last: tuple[float, float] | None = None
        self._total_wh = 0.0

    def read_wh(self) -> float | None:
        """Energy counted so far, watt-hours."""
        try:
            millivolts = float((self._folder / "in1_input").read_text())
            milliamperes = float((self._folder / "curr1_input").read_text())
        except (OSError, ValueError):
            return None
        now_s, power_w = self._clock(), millivolts * milliamperes * 1e-6
        if self._last is not None:
            last_s, last_w = self._last
            self._total_wh += (power_w + last_w) / 2 * (now_s - last_s) / JOULES_PER_WH
        self._last = (now_s, power_w)
        return self._total_wh

    def difference_wh(self, before_wh: float, after_wh: float) -> float:
        """Energy between two readings."""
        return after_wh - before_wh


def find_meter(powercap: Path = POWERCAP, hwmon: Path = HWMON) -> EnergyMeter | None:
    """The first energy meter of this machine that can be read, or None."""
    for zone in sorted(powercap.glob("intel-rapl:?")):
        try:
            rapl = RaplMeter(zone)
        except (OSError, ValueError):
            continue
        if rapl.read_wh() is not None:
            return rapl
    for device in sorted(hwmon.glob("hwmon*")):
        try:
            is_ina = (device / "name").read_text().strip() == "ina3221"
        except OSError:
            continue
        meter = Ina3221Meter(device)
        if is_ina and meter.read_wh() is not None:
            return meter
    return None


def _wh(microjoules: float) -> float:
    return microjoules * 1e-6 / JOULES_PER_WH
