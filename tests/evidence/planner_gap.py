"""How far `greedy` and `fifo` fall short of `optimal` on the same random instances.

Run from the repository's root::

    python tests/evidence/planner_gap.py [--instances 40] [--work 2.0]

An instance is an hour of flight with 60 opportunities for 45 targets, so close together that turns
exclude many of them, and two energy limits. `optimal` is CP-SAT over a handful of capture times
per access; its own gap to the bound over these times is printed too. Optimal is never below the
others, by construction; greedy is not always above fifo, and how often is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from campaign import interval

from simulator.autonomy.optimal import WORK_LIMIT_S, OptimalPlanner
from simulator.autonomy.planner import (
    CaptureLimit,
    FifoPlanner,
    GreedyPlanner,
    Opportunity,
    PlanningProblem,
)
from simulator.campaign import estimate
from simulator.geometry import Access
from simulator.spacecraft.attitude import NADIR, Agility

HOUR_S = 3600.0
ACCESS_S = 80.0
OPPORTUNITIES, TARGETS = 60, 45
AGILITY = Agility(slew_rate_deg_s=0.5, settle_s=10.0)
EXPOSURE_S = 1.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve the instances with each planner and print the gaps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=40)
    parser.add_argument("--work", type=float, default=WORK_LIMIT_S)
    asked = parser.parse_args(arguments)
    short: dict[str, list[float]] = {"greedy": [], "fifo": [], "optimal to its bound": []}
    greedy_ahead = 0
    for seed in range(asked.instances):
        problem = instance(seed)
        best = OptimalPlanner(work_limit_s=asked.work).solve(problem)
        greedy, fifo = (planner.solve(problem) for planner in (GreedyPlanner(), FifoPlanner()))
        short["greedy"].append(1.0 - greedy.value / best.value)
        short["fifo"].append(1.0 - fifo.value / best.value)
        short["optimal to its bound"].append(best.gap_fraction or 0.0)
        greedy_ahead += greedy.value >= fifo.value
    print(f"{asked.instances} instances, {OPPORTUNITIES} opportunities each")
    for name, gaps in short.items():
        mean = interval(estimate([100 * gap for gap in gaps]), ".2f")
        print(f"{name:22s} short by {mean} %, worst {100 * max(gaps):.2f} %")
    print(f"greedy at least as good as fifo in {greedy_ahead} of {asked.instances}")


def instance(seed: int) -> PlanningProblem:
    """A crowded hour."""
    rng = np.random.default_rng(seed)
    offered = []
    for _ in range(OPPORTUNITIES):
        start_s, roll_deg = rng.uniform(0.0, HOUR_S / 3), rng.uniform(-35.0, 35.0)
        target = f"t{rng.integers(TARGETS):02d}"
        found = _access(target, start_s, roll_deg)
        cover, priority = rng.beta(0.4, 0.4), rng.integers(1, 6)
        value = float(priority * (1.0 - cover))
        offered.append(Opportunity(target, found, found.start_s, found.end_s, value, float(cover)))
    limits = [CaptureLimit(0.0, HOUR_S / 6, 8, "energy"), CaptureLimit(0.0, HOUR_S, 25, "energy")]
    return PlanningProblem(offered, 0.0, NADIR, AGILITY, EXPOSURE_S, limits)


def _access(target: str, start_s: float, roll_deg: float) -> Access:
    """An overflight with the target to one side: pitch from ahead to behind."""
    samples = 6
    t_s = np.linspace(start_s, start_s + ACCESS_S, samples)
    pitch_deg, rolls_deg = np.linspace(30.0, -30.0, samples), np.full(samples, roll_deg)
    cosine = np.cos(np.radians(rolls_deg)) * np.cos(np.radians(pitch_deg))
    return Access(
        target,
        start_s,
        start_s + ACCESS_S,
        start_s + ACCESS_S / 2,
        abs(roll_deg),
        40.0,
        t_s,
        np.degrees(np.arccos(cosine)),
        rolls_deg,
        pitch_deg,
        np.full(samples, 40.0),
    )


if __name__ == "__main__":
    main()
