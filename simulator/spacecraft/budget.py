"""What a satellite's next captures may cost: the limits its planner has to keep.

Battery and storage are run ahead until the plan is surely made anew, and an orbit more. What is
drawn in any case is the bus, the idle payload, the radio in every coming pass and the look-ahead
camera at every coming target; a capture is charged with the imager's energy and the payload's work
on a frame.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from payload.frame import PayloadLink
from simulator.autonomy.outlook import energy_limits, storage_limits
from simulator.autonomy.planner import CaptureLimit
from simulator.ground.link_rates import merged
from simulator.scenario import Satellite, StorageQuota
from simulator.spacecraft.flight import Flight
from simulator.spacecraft.imaging import REPLAN_EVERY_S, exposure_s
from simulator.spacecraft.power import PowerSubsystem
from simulator.spacecraft.storage import Storage


class CaptureBudget:
    """Limits on the captures to come, of one satellite.

    Parameters
    ----------
    section : Satellite
        The satellite's part of the scenario.
    flight : Flight
    power : PowerSubsystem
    storage : Storage
    link : PayloadLink or None
        None for policies without a model on board.
    frame_wh : float
        Energy of the payload's work on a frame, Wh; 0 without a model on board.
    drops_for_room : bool
        Whether a full storage makes room by dropping, so that it limits no capture.
    duration_s : float
        End of the mission.
    quotas : sequence of StorageQuota
        Shares of the storage.
    priorities : mapping of str to float
        Of each target.
    """

    def __init__(
        self,
        section: Satellite,
        flight: Flight,
        power: PowerSubsystem,
        storage: Storage,
        link: PayloadLink | None,
        *,
        frame_wh: float,
        drops_for_room: bool,
        duration_s: float,
        quotas: Sequence[StorageQuota] = (),
        priorities: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._section, self._flight, self._power, self._storage = section, flight, power, storage
        self._drops_for_room, self._duration_s = drops_for_room, duration_s
        self._rations = [
            (quota, frozenset(t for t, priority in priorities.items() if quota.holds_for(priority)))
            for quota in quotas
        ]
        self._glances_s = [glance.t_s for glance in flight.glances]
        imager = section.imager
        imager_wh = imager.power_w * (imager.warmup_s + exposure_s(imager)) / 3600.0
        self._capture_wh = imager_wh + frame_wh
        self._always_w = section.power.bus_load_w
        if link is not None:
            self._always_w += link.describe().idle_power_w
        served = merged(window for planned in flight.passes for window in planned.served_s)
        self._edges_s = [edge_s for window in served for edge_s in window]
        lengths_s = [edge for start_s, end_s in served for edge in (0.0, end_s - start_s)]
        self._on_air_s = np.cumsum(lengths_s)

    def limits(self, now_s: float, under_way: str | None = None) -> tuple[CaptureLimit, ...]:
        """What battery and storage allow from `now_s` on.

        Parameters
        ----------
        under_way : str or None
            Target of a capture that is begun and not yet exposed: it has drawn little and stored
            nothing, so that what it takes has to be left to it.
        """
        until_s = min(now_s + REPLAN_EVERY_S + self._flight.period_s, self._duration_s)
        if until_s <= now_s:
            return ()
        limits = energy_limits(
            self._power.battery,
            self._power.projected(),
            base_load_w=self._base_load_w,
            capture_wh=self._capture_wh,
            floor_wh=self._power.limits.low_power_wh,
            sunlight_changes_s=self._power.sunlight_changes_s,
            until_s=until_s,
        )
        if not self._drops_for_room:
            limits += self._storage_limits(now_s, until_s)
        if under_way is None:
            return limits
        return tuple(
            replace(limit, captures=max(limit.captures - 1, 0))
            if limit.counts(under_way, now_s)
            else limit
            for limit in limits
        )

    def _storage_limits(self, now_s: float, until_s: float) -> tuple[CaptureLimit, ...]:
        """Of the whole storage, and of each share of it; a pass may empty any of them."""
        storage = self._storage
        rooms: list[tuple[int, int, frozenset[str] | None]] = [
            (storage.free_bytes, storage.capacity_bytes, None)
        ]
        rooms += [
            (max(storage.free_within(quota), 0), storage.share_bytes(quota), targets)
            for quota, targets in self._rations
        ]
        passes = [
            (p.contact.los_s, p.served_bytes)
            for p in self._flight.passes
            if now_s < p.contact.los_s
        ]
        return tuple(
            limit
            for free_bytes, capacity_bytes, targets in rooms
            for limit in storage_limits(
                now_s=now_s,
                free_bytes=free_bytes,
                capacity_bytes=capacity_bytes,
                frame_bytes=self._section.imager.frame_bytes,
                passes=passes,
                until_s=until_s,
                targets=targets,
            )
        )

    def _base_load_w(self, start_s: float, end_s: float) -> float:
        """Mean load without any capture between two times, were every pass used throughout, W."""
        on_air_s = 0.0
        if self._edges_s:
            before_s, after_s = np.interp((start_s, end_s), self._edges_s, self._on_air_s)
            on_air_s = float(after_s - before_s)
        radio_w = self._section.radio.power_w * on_air_s / (end_s - start_s)
        return self._always_w + radio_w + self._look_ahead_w(start_s, end_s)

    def _look_ahead_w(self, start_s: float, end_s: float) -> float:
        """Mean load of the look-ahead camera, were it to glance at every coming target, W."""
        section = self._section.look_ahead
        if section is None:
            return 0.0
        count = bisect_left(self._glances_s, end_s) - bisect_left(self._glances_s, start_s)
        return section.power_w * min(1.0, count * section.decide_s / (end_s - start_s))
