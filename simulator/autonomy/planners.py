"""Planners by the name a scenario gives them."""

from __future__ import annotations

from collections.abc import Callable

from simulator.autonomy.optimal import OptimalPlanner
from simulator.autonomy.planner import FifoPlanner, GreedyPlanner, Planner

PLANNERS: dict[str, Callable[[], Planner]] = {
    "fifo": FifoPlanner,
    "greedy": GreedyPlanner,
    "optimal": OptimalPlanner,
}
