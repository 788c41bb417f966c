"""The reference planner: the best plan over a set of capture times, proved or bounded by CP-SAT.

Each opportunity offers a few capture times (`TIMES_PER_ACCESS` spread over it, its best view, and
the times that the other planners chose); a Boolean says whether a capture is taken then. Two
captures between which the satellite cannot turn exclude each other, a target is imaged at most
once in a period, and every `CaptureLimit` bounds a sum. What is found is never worth less than the
greedy or the first-come plan of the same problem, because both are among its candidates. The search
ends after a fixed amount of work, so that a run repeats on any machine; a limit of wall time stands
behind it, and what it cuts short is said. How far the plan may lie below the optimum over these
times is its gap.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from simulator.autonomy.planner import (
    FifoPlanner,
    GreedyPlanner,
    Opportunity,
    PlannedCapture,
    PlanningProblem,
    Solution,
    planned,
    reaches,
)

TIMES_PER_ACCESS = 4
"""Capture times spread evenly over an opportunity, both ends included."""

WORK_LIMIT_S = 2.0
"""Work one plan may cost, in CP-SAT's deterministic seconds (of the order of a second)."""

WALL_LIMIT_S = 60.0
"""Wall time after which a plan is taken as it is; only a very slow machine comes to it."""

VALUE_STEPS = 1_000_000
"""Steps per unit of value: CP-SAT counts in whole numbers."""

SOLVER_SEED = 0


@dataclass(frozen=True)
class OptimalPlanner:
    """Most value in all, with a bound on what a better plan could bring.

    Parameters
    ----------
    work_limit_s : float
        Deterministic seconds of CP-SAT per plan.
    wall_limit_s : float
        Wall seconds per plan. Where this one ends a search, the plan depends on the machine.
    """

    work_limit_s: float = WORK_LIMIT_S
    wall_limit_s: float = WALL_LIMIT_S

    def solve(self, problem: PlanningProblem) -> Solution:
        """See `Planner`. The bound holds over the candidate times."""
        known = max(
            (planner.solve(problem) for planner in (GreedyPlanner(), FifoPlanner())),
            key=lambda solution: solution.value,
        )
        candidates = _candidates(problem, known.captures)
        if not candidates:
            return Solution(known.captures, known.value, "proved")
        model = cp_model.CpModel()
        chosen = [model.new_bool_var("") for _ in candidates]
        _once_per_task(model, chosen, candidates)
        _within_limits(model, chosen, candidates, problem)
        _time_to_turn(model, chosen, candidates, problem)
        steps = [round(capture.value * VALUE_STEPS) for capture in candidates]
        model.maximize(cp_model.LinearExpr.weighted_sum(chosen, steps))
        taken = {(c.key, c.capture_s) for c in known.captures}
        for variable, capture in zip(chosen, candidates, strict=True):
            model.add_hint(variable, int((capture.key, capture.capture_s) in taken))
        solver = bounded_solver(self.work_limit_s, self.wall_limit_s)
        status = solver.solve(model)
        everything = _value_of_all_tasks(candidates)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            # Stopped before it had a bound of its own.
            return Solution(
                known.captures,
                max(everything, known.value),
                search_ended(solver, self.wall_limit_s),
            )
        bound = min(everything, (solver.best_objective_bound + 0.5 * len(candidates)) / VALUE_STEPS)
        found = Solution(
            tuple(
                capture
                for variable, capture in zip(chosen, candidates, strict=True)
                if solver.boolean_value(variable)
            ),
            bound,
        )
        best = max(known, found, key=lambda solution: solution.value)
        proved = status == cp_model.OPTIMAL
        if proved:
            return Solution(best.captures, best.value, "proved")
        return Solution(
            best.captures, max(bound, best.value), search_ended(solver, self.wall_limit_s)
        )


def _candidates(
    problem: PlanningProblem, known: Sequence[PlannedCapture]
) -> tuple[PlannedCapture, ...]:
    """Every capture that may be taken, in time order; first those that can be reached at all."""
    known_s = defaultdict[tuple[tuple[str, int], float], set[float]](set)
    for capture in known:
        known_s[capture.key, capture.access_start_s].add(capture.capture_s)
    found = []
    for opportunity in problem.opportunities:
        times_s = _times_s(opportunity)
        times_s |= {
            t
            for t in known_s[opportunity.key, opportunity.access.start_s]
            if opportunity.earliest_s <= t <= opportunity.latest_s
        }
        found += [planned(opportunity, t) for t in sorted(times_s)]
    reachable = [
        capture
        for capture in found
        if capture.value > 0.0
        and reaches(problem.agility, problem.free_s, problem.attitude, capture)
    ]
    return tuple(sorted(reachable, key=lambda c: (c.capture_s, c.target, c.period)))


def _times_s(opportunity: Opportunity) -> set[float]:
    low, high = opportunity.earliest_s, opportunity.latest_s
    step_s = (high - low) / (TIMES_PER_ACCESS - 1)
    spread = {low, high, *(low + n * step_s for n in range(1, TIMES_PER_ACCESS - 1))}
    return spread | {min(max(opportunity.access.closest_s, low), high)}


def _value_of_all_tasks(candidates: Sequence[PlannedCapture]) -> float:
    """What the best capture of every task would bring together: more than any plan."""
    best: dict[tuple[str, int], float] = {}
    for capture in candidates:
        best[capture.key] = max(capture.value, best.get(capture.key, 0.0))
    return math.fsum(best.values())


def _once_per_task(
    model: cp_model.CpModel,
    chosen: Sequence[cp_model.IntVar],
    candidates: Sequence[PlannedCapture],
) -> None:
    by_task = defaultdict[tuple[str, int], list[cp_model.IntVar]](list)
    for variable, capture in zip(chosen, candidates, strict=True):
        by_task[capture.key].append(variable)
    for variables in by_task.values():
        model.add_at_most_one(variables)


def _within_limits(
    model: cp_model.CpModel,
    chosen: Sequence[cp_model.IntVar],
    candidates: Sequence[PlannedCapture],
    problem: PlanningProblem,
) -> None:
    for limit in problem.limits:
        inside = [
            variable
            for variable, capture in zip(chosen, candidates, strict=True)
            if limit.counts(capture.target, capture.capture_s)
        ]
        if len(inside) > limit.captures:
            model.add(cp_model.LinearExpr.sum(inside) <= limit.captures)


def _time_to_turn(
    model: cp_model.CpModel,
    chosen: Sequence[cp_model.IntVar],
    candidates: Sequence[PlannedCapture],
    problem: PlanningProblem,
) -> None:
    """Exclude pairs too close in time to turn from one to the other.

    Pairs suffice: the angle of a slew obeys the triangle inequality, so what fits between
    neighbours fits between all.
    """
    longest_s = problem.agility.longest_slew_s + problem.exposure_s
    for i, first in enumerate(candidates):
        ready_s = first.capture_s + problem.exposure_s
        for j in range(i + 1, len(candidates)):
            second = candidates[j]
            if second.capture_s - first.capture_s > longest_s:
                break
            if second.key != first.key and not reaches(
                problem.agility, ready_s, first.attitude, second
            ):
                model.add_at_most_one([chosen[i], chosen[j]])


def bounded_solver(work_limit_s: float, wall_limit_s: float) -> cp_model.CpSolver:
    """One thread, one seed and a limit of work: the same answer on every machine and day.

    Unless the limit of wall time comes first.
    """
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SOLVER_SEED
    solver.parameters.max_deterministic_time = work_limit_s
    solver.parameters.max_time_in_seconds = wall_limit_s
    return solver


def search_ended(solver: cp_model.CpSolver, wall_limit_s: float) -> str:
    """Which limit ended a search that proved nothing."""
    return "wall limit" if solver.wall_time >= wall_limit_s else "work limit"
