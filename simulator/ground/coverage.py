"""Which frames of which areas have come down clear, period by period."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator.scenario.targets import Target
from simulator.telemetry.events import Coverage

HOUR_S = 3600.0


class AreaCoverage:
    """The state of the area targets as the ground knows it.

    Parameters
    ----------
    targets : sequence of Target
        Frames of areas among them are followed, points are not.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self._frames = {target.name: target for target in targets if target.area is not None}
        self._sizes: dict[str | None, int] = {}
        for frame in self._frames.values():
            self._sizes[frame.area] = self._sizes.get(frame.area, 0) + 1
        self._covered: dict[tuple[str, int], dict[str, float]] = {}

    def satisfied(
        self, target: str, period: int, now_s: float, *, delivered_s: float
    ) -> Coverage | None:
        """Book a clear frame; the event says what of its area is covered now.

        What came down after the deadline covers nothing that is still wanted: no event.
        """
        frame = self._frames.get(target)
        if frame is None or frame.area is None:
            return None
        if frame.deadline_h is not None and delivered_s > frame.deadline_h * HOUR_S:
            return None
        covered = self._covered.setdefault((frame.area, period), {})
        covered[target] = frame.area_share
        return Coverage(
            t_s=now_s,
            satellite="",
            area=frame.area,
            target=target,
            period=period,
            frames=self._sizes[frame.area],
            frames_covered=len(covered),
            covered_fraction=min(1.0, math.fsum(covered.values())),
        )
