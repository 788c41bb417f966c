"""Which satellite the ground asks when a target has to be imaged again.

Tasking goes up in a pass, so a satellite can act on it only after its first pass from the moment
the tasking is ready. The one whose first access to the target after that comes soonest is asked;
ties go to the one that took the last capture, then by name. Where none can see the target any
more before its deadline or the end of its period, the last one keeps it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping

from simulator.ground.operations import Report
from simulator.spacecraft.flight import Flight


def soonest(flights: Mapping[str, Flight]) -> Callable[[Report, float], str]:
    """Make the rule for satellites with these passes and accesses.

    Returns
    -------
    callable
        ``assign(report, ready_s) -> satellite``, for `GroundOperations`.
    """
    uplinks_s = {
        name: sorted(start_s for planned in flight.passes for start_s, _ in planned.served_s)
        for name, flight in flights.items()
    }
    ends_s: dict[tuple[str, str], list[float]] = {}
    for name, flight in flights.items():
        for access in sorted(flight.accesses, key=lambda access: access.end_s):
            ends_s.setdefault((name, access.target), []).append(access.end_s)

    def first_image_s(name: str, report: Report, ready_s: float) -> float:
        uplink = bisect_left(uplinks_s[name], ready_s)
        if uplink == len(uplinks_s[name]):
            return math.inf
        ends = ends_s.get((name, report.target), [])
        access = bisect_left(ends, uplinks_s[name][uplink])
        latest_s = math.inf if report.deadline_s is None else report.deadline_s
        return ends[access] if access < len(ends) and ends[access] <= latest_s else math.inf

    def assign(report: Report, ready_s: float) -> str:
        return min(
            flights,
            key=lambda name: (
                first_image_s(name, report, ready_s),
                name != report.satellite,
                name,
            ),
        )

    return assign
