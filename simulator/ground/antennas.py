"""Which satellite has which antenna when: assigned before flight, the best way there is.

Where more satellites are in view than a station has antennas, or two stations see the same
satellite, somebody is left out. By ``priority`` (the default) antennas are asked for as passes
begin and kept to their ends (`simulator.spacecraft.radio`). By ``optimal``, here, CP-SAT assigns
every window of every pass at most one contact without a break, so that the contacts are worth most
together: no more of them at a station than antennas, one at a time for a satellite, handed over at
the ends of the windows in conflict and at whole minutes in them.

Windows that are in each other's way make a rush, which is solved by itself. In it contacts are
worth what they could carry, in MiB times the satellite's `antenna_weight`; the first half of what
the windows of a satellite could carry counts double, so that a fast or well-placed satellite does
not starve the others. The assignment knows geometry and rates, not what will be in the queues. It
is never worth less than first come, first served, which is among its candidates.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ortools.sat.python import cp_model

from simulator.autonomy.optimal import WALL_LIMIT_S, bounded_solver, search_ended
from simulator.ground.link_rates import RateProfile
from simulator.scenario import Scenario
from simulator.spacecraft.flight import Flight
from simulator.telemetry.events import Antenna, Event
from simulator.telemetry.host_events import HostAntennas

HANDOVER_STEP_S = 60.0
"""Between the ends of windows a contact may start or end at multiples of it."""

WORK_LIMIT_S = 2.0
"""Work one rush may cost, in CP-SAT's deterministic seconds."""

STEPS_PER_SLICE = 100_000
"""CP-SAT counts in whole numbers: the best slice of a rush is worth so many. Finer steps than a
linear program can tell apart would leave the optimum unproved."""

BYTES_PER_MIB = 2**20


@dataclass(frozen=True)
class ContactWindow:
    """A stretch of a pass in which the link could be used."""

    satellite: str
    station: str
    start_s: float
    end_s: float
    rates: RateProfile
    weight: float = 1.0

    def bytes_between(self, start_s: float, end_s: float) -> int:
        """What a contact of this window could carry."""
        return self.rates.bytes_between(max(start_s, self.start_s), min(end_s, self.end_s))


@dataclass(frozen=True)
class AntennaContact:
    """An antenna of the window's station belongs to its satellite from start to end."""

    window: ContactWindow
    start_s: float
    end_s: float

    @property
    def capacity_bytes(self) -> int:
        """What it could carry."""
        return self.window.bytes_between(self.start_s, self.end_s)


@dataclass(frozen=True)
class Assignment:
    """Contacts of a rush, and what is known of better ones.

    Attributes
    ----------
    windows : tuple of ContactWindow
        What there was to choose from, by start.
    contacts : tuple of AntennaContact
        By start.
    value, bound, first_come_value : float
        Worth of the contacts (see the module), of the best there can be over the same times of
        handover, and of first come, first served, MiB.
    ended : str
        Why the search ended, as `simulator.autonomy.planner.Solution` says it.
    wall_s : float
        What it took.
    """

    windows: tuple[ContactWindow, ...]
    contacts: tuple[AntennaContact, ...]
    value: float
    bound: float
    first_come_value: float
    ended: str
    wall_s: float

    @property
    def gap_fraction(self) -> float:
        """How much of the bound the contacts may be short of."""
        return (self.bound - self.value) / self.bound if self.bound > 0.0 else 0.0


def assign_antennas(
    scenario: Scenario, flights: Mapping[str, Flight]
) -> tuple[dict[str, Flight], tuple[Assignment, ...]]:
    """Give every pass of a mission its contacts; returns the flights with them."""
    windows = [
        ContactWindow(
            section.name,
            planned.contact.station,
            start_s,
            end_s,
            planned.rates,
            section.radio.antenna_weight,
        )
        for section in scenario.satellites
        for planned in flights[section.name].passes
        for start_s, end_s in planned.windows_s
    ]
    antennas = {station.name: station.antennas for station in scenario.ground.stations}
    wall_limit_s = scenario.autonomy.planner_wall_limit_s
    assignments = tuple(
        assign(rush, antennas, wall_limit_s=wall_limit_s) for rush in rushes(windows)
    )
    given = defaultdict[tuple[str, str], list[AntennaContact]](list)
    for assignment in assignments:
        for contact in assignment.contacts:
            given[contact.window.satellite, contact.window.station].append(contact)
    assigned = {
        name: replace(
            flight,
            passes=tuple(
                replace(
                    planned,
                    assigned_s=tuple(
                        (contact.start_s, contact.end_s)
                        for contact in given[name, planned.contact.station]
                        if planned.contact.aos_s <= contact.start_s < planned.contact.los_s
                    ),
                )
                for planned in flight.passes
            ),
        )
        for name, flight in flights.items()
    }
    return assigned, assignments


def antenna_events(assignments: Iterable[Assignment]) -> Iterator[Event]:
    """What is written of assignments at the start of a mission."""
    for assignment in assignments:
        for contact in assignment.contacts:
            yield Antenna(
                t_s=0.0,
                satellite=contact.window.satellite,
                station=contact.window.station,
                start_s=contact.start_s,
                end_s=contact.end_s,
                capacity_bytes=contact.capacity_bytes,
            )
        if len(assignment.windows) > 1:
            yield HostAntennas(
                t_s=0.0,
                satellite="",
                start_s=assignment.windows[0].start_s,
                end_s=max(window.end_s for window in assignment.windows),
                windows=len(assignment.windows),
                contacts=len(assignment.contacts),
                value=assignment.value,
                bound=assignment.bound,
                gap_fraction=assignment.gap_fraction,
                first_come_value=assignment.first_come_value,
                wall_s=assignment.wall_s,
                ended=assignment.ended,
            )


def rushes(windows: Iterable[ContactWindow]) -> list[list[ContactWindow]]:
    """Windows in groups that cannot be in each other's way, by start.

    Two are in each other's way when they overlap and share their station or their satellite.
    """
    group_of: dict[int, list[ContactWindow]] = {}
    open_now: list[ContactWindow] = []
    for window in sorted(windows, key=lambda w: (w.start_s, w.end_s, w.satellite, w.station)):
        open_now = [other for other in open_now if other.end_s > window.start_s]
        group = [window]
        for other in open_now:
            joined = group_of[id(other)]
            if joined is not group and _rivals(window, other):
                group = joined + group
                group_of |= dict.fromkeys(map(id, group), group)
        group_of[id(window)] = group
        open_now.append(window)
    groups = {id(group): group for group in group_of.values()}
    return [
        sorted(group, key=lambda w: (w.start_s, w.end_s, w.satellite, w.station))
        for group in groups.values()
    ]


def _rivals(one: ContactWindow, other: ContactWindow) -> bool:
    return one.station == other.station or one.satellite == other.satellite


def worth(contacts: Iterable[AntennaContact], windows: Iterable[ContactWindow]) -> float:
    """Worth of contacts among these windows (see the module), MiB."""
    possible, carried = defaultdict[str, float](float), defaultdict[str, float](float)
    for window in windows:
        whole = window.bytes_between(window.start_s, window.end_s)
        possible[window.satellite] += window.weight * whole
    for contact in contacts:
        carried[contact.window.satellite] += contact.window.weight * contact.capacity_bytes
    return (
        math.fsum(amount + min(amount, 0.5 * possible[name]) for name, amount in carried.items())
        / BYTES_PER_MIB
    )


def first_come(
    windows: Iterable[ContactWindow], antennas: Mapping[str, int]
) -> tuple[AntennaContact, ...]:
    """Every window gets the first antenna that is free, and keeps it to its end."""
    free_s = {station: [-math.inf] * count for station, count in antennas.items()}
    radio_free_s = defaultdict[str, float](lambda: -math.inf)
    contacts = []
    for window in sorted(windows, key=lambda w: (w.start_s, w.satellite, w.station)):
        antenna_s = min(free_s[window.station])
        start_s = max(window.start_s, antenna_s, radio_free_s[window.satellite])
        if start_s < window.end_s:
            free_s[window.station].remove(antenna_s)
            free_s[window.station].append(window.end_s)
            radio_free_s[window.satellite] = window.end_s
            contacts.append(AntennaContact(window, start_s, window.end_s))
    return tuple(contacts)


def assign(
    windows: Sequence[ContactWindow],
    antennas: Mapping[str, int],
    *,
    work_limit_s: float = WORK_LIMIT_S,
    wall_limit_s: float = WALL_LIMIT_S,
) -> Assignment:
    """Assign the contacts of one rush (`rushes`) that are worth most together."""
    known = first_come(windows, antennas)
    known_value = worth(known, windows)
    if len(windows) == 1:
        return Assignment(
            tuple(windows), known, known_value, known_value, known_value, "proved", 0.0
        )
    model = cp_model.CpModel()
    slices = [_slices(model, window, windows) for window in windows]
    step_bytes = max((b for one in slices for b in one.worth_bytes), default=0.0)
    step_bytes = max(step_bytes / STEPS_PER_SLICE, 1.0)
    for station, count in antennas.items():
        _at_most(model, [s for s in slices if s.window.station == station], count)
    fleet = defaultdict[str, list[_Slices]](list)
    for one in slices:
        fleet[one.window.satellite].append(one)
    for own in fleet.values():
        _at_most(model, own, 1)
    _worth_most(model, fleet.values(), step_bytes)
    for one in slices:
        one.hint(model, known)
    solver = bounded_solver(work_limit_s, wall_limit_s)
    status = solver.solve(model)
    everything = worth([AntennaContact(w, w.start_s, w.end_s) for w in windows], windows)
    ended = search_ended(solver, wall_limit_s)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Assignment(
            tuple(windows), known, known_value, everything, known_value, ended, solver.wall_time
        )
    found = tuple(contact for one in slices if (contact := one.contact(solver)) is not None)
    contacts = max(known, found, key=lambda some: worth(some, windows))
    value = worth(contacts, windows)
    # Each slice was rounded to whole steps and its bytes to whole ones; it counts twice at most.
    rounding = sum((step_bytes + 2.0 * one.window.weight) * len(one.chosen) for one in slices)
    bound_bytes = solver.best_objective_bound * step_bytes + rounding
    bound = min(everything, bound_bytes / BYTES_PER_MIB)
    if status == cp_model.OPTIMAL:
        bound, ended = value, "proved"
    return Assignment(
        tuple(windows),
        tuple(sorted(contacts, key=lambda c: (c.start_s, c.window.satellite, c.window.station))),
        value,
        max(bound, value),
        known_value,
        ended,
        solver.wall_time,
    )


@dataclass(frozen=True)
class _Slices:
    """A window cut at the times of handover; each piece is taken or not, without a break."""

    window: ContactWindow
    edges_s: tuple[float, ...]
    chosen: tuple[cp_model.IntVar, ...]
    worth_bytes: tuple[float, ...]

    def contact(self, solver: cp_model.CpSolver) -> AntennaContact | None:
        """The contact that was chosen, if one was."""
        taken = [k for k, variable in enumerate(self.chosen) if solver.boolean_value(variable)]
        if not taken:
            return None
        return AntennaContact(self.window, self.edges_s[taken[0]], self.edges_s[taken[-1] + 1])

    def hint(self, model: cp_model.CpModel, known: Iterable[AntennaContact]) -> None:
        """Start the search from these contacts."""
        own = next((c for c in known if c.window is self.window), None)
        for variable, start_s, end_s in zip(
            self.chosen, self.edges_s[:-1], self.edges_s[1:], strict=True
        ):
            inside = own is not None and own.start_s <= start_s and end_s <= own.end_s
            model.add_hint(variable, int(inside))


def _slices(
    model: cp_model.CpModel, window: ContactWindow, windows: Iterable[ContactWindow]
) -> _Slices:
    rivals = [
        other
        for other in windows
        if other is not window
        and _rivals(window, other)
        and other.start_s < window.end_s
        and window.start_s < other.end_s
    ]
    inner = {t for other in rivals for t in (other.start_s, other.end_s)}
    if rivals:
        first, last = (int(t // HANDOVER_STEP_S) for t in (window.start_s, window.end_s))
        inner |= {n * HANDOVER_STEP_S for n in range(first + 1, last + 1)}
    edges_s = (
        window.start_s,
        *sorted(t for t in inner if window.start_s < t < window.end_s),
        window.end_s,
    )
    chosen = tuple(model.new_bool_var("") for _ in edges_s[1:])
    begins = [model.new_bool_var("") for _ in chosen]
    model.add(begins[0] == chosen[0])
    for (before, after), begin in zip(pairwise(chosen), begins[1:], strict=True):
        model.add(begin >= after - before)
    model.add_at_most_one(begins)
    worth_bytes = tuple(
        window.weight * window.bytes_between(start_s, end_s) for start_s, end_s in pairwise(edges_s)
    )
    return _Slices(window, edges_s, chosen, worth_bytes)


def _worth_most(
    model: cp_model.CpModel, fleet: Iterable[Sequence[_Slices]], step_bytes: float
) -> None:
    """Maximise what the contacts of all satellites are worth, in steps.

    A contact in which nothing can be sent still brings tasking and forecasts up: it is worth one.
    """
    terms: list[cp_model.LinearExprT] = []
    for own in fleet:
        chosen = [variable for one in own for variable in one.chosen]
        steps = [max(1, round(b / step_bytes)) for one in own for b in one.worth_bytes]
        carried = cp_model.LinearExpr.weighted_sum(chosen, steps)
        counted_again = model.new_int_var(0, sum(steps) // 2, "")
        model.add(counted_again <= carried)
        terms += [carried, counted_again]
    model.maximize(cp_model.LinearExpr.sum(terms))


def _at_most(model: cp_model.CpModel, slices: Sequence[_Slices], count: int) -> None:
    """At no time more than `count` of these windows have a contact."""
    starts = defaultdict[float, list[cp_model.IntVar]](list)
    ends = defaultdict[float, list[cp_model.IntVar]](list)
    for one in slices:
        for variable, (start_s, end_s) in zip(one.chosen, pairwise(one.edges_s), strict=True):
            starts[start_s].append(variable)
            ends[end_s].append(variable)
    open_now: dict[int, cp_model.IntVar] = {}
    for t_s in sorted({*starts, *ends}):
        for variable in ends[t_s]:
            del open_now[variable.index]
        for variable in starts[t_s]:
            open_now[variable.index] = variable
        if starts[t_s] and len(open_now) > count:
            model.add(cp_model.LinearExpr.sum(list(open_now.values())) <= count)
