"""Planners by the name a scenario gives them."""

from __future__ import annotations

from collections.abc import Callable

from simulator.autonomy.optimal import OptimalPlanner
from simulator.autonomy.planner import FifoPlanner, GreedyPlanner, Planner


def make_planner(name: str, wall_limit_s: float) -> Planner:
    """The planner of this name, `optimal` with its limit of wall time."""
    if name == "optimal":
        return OptimalPlanner(wall_limit_s=wall_limit_s)
    return PLANNERS[name]()


PLANNERS: dict[str, Callable[[], Planner]] = {
    "fifo": FifoPlanner,
    "greedy": GreedyPlanner,
    "optimal": OptimalPlanner,
}
