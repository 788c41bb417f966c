"""Antennas assigned before flight: never too many at a time, and worth at least what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.autonomy.policies import Rank
from simulator.geometry import Pass as Contact
from simulator.ground.antennas import (
    AntennaContact,
    ContactWindow,
    assign,
    first_come,
    rushes,
    worth,
)
from simulator.ground.link_rates import RateProfile
from simulator.spacecraft.radio import DownlinkQueue, PlannedPass, QueuedProduct, Radio
from simulator.spacecraft.storage import Storage

SATELLITES, STATIONS = ("s1", "s2", "s3", "s4"), ("matera", "svalsat")
ENDLESS_BYTES = 10**12
ROUNDING = 1e-4
"""Of the whole: the search counts in steps of 1e-5 of the best slice."""


def window(
    satellite: str,
    start_s: float,
    end_s: float,
    *,
    station: str = "matera",
    rates_bps: Sequence[float] = (8e6,),
    weight: float = 1.0,
) -> ContactWindow:
    """A window whose rate changes in equal steps."""
    edges = np.linspace(start_s, end_s, len(rates_bps) + 1)
    rates = RateProfile(edges, np.array(rates_bps), ("",) * len(rates_bps))
    return ContactWindow(satellite, station, start_s, end_s, rates, weight)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[ContactWindow], dict[str, int]]:
    """Windows of a fleet over two stations; a satellite's over one station do not overlap."""
    windows = []
    for satellite in draw(st.lists(st.sampled_from(SATELLITES), min_size=1, unique=True)):
        weight = draw(st.sampled_from([0.5, 1.0, 3.0]))
        for station in STATIONS:
            t_s = 0.0
            for _ in range(draw(st.integers(0, 2))):
                start_s = t_s + draw(st.integers(0, 400))
                t_s = start_s + draw(st.integers(20, 600))
                rates = draw(st.lists(st.sampled_from([0.0, 2e6, 9e6]), min_size=1, max_size=3))
                windows.append(
                    window(satellite, start_s, t_s, station=station, rates_bps=rates, weight=weight)
                )
    return windows, {station: draw(st.integers(1, 2)) for station in STATIONS}


def most_at_once(contacts: Sequence[AntennaContact]) -> int:
    """The most contacts that hold at one time; one may begin when another ends."""
    return max(
        (sum(c.start_s <= t < c.end_s for c in contacts) for t in {c.start_s for c in contacts}),
        default=0,
    )


def feasible(contacts: Sequence[AntennaContact], antennas: Mapping[str, int]) -> None:
    for contact in contacts:
        assert contact.window.start_s <= contact.start_s < contact.end_s <= contact.window.end_s
    assert len({id(contact.window) for contact in contacts}) == len(contacts)
    for station, count in antennas.items():
        assert most_at_once([c for c in contacts if c.window.station == station]) <= count
    for satellite in SATELLITES:
        assert most_at_once([c for c in contacts if c.window.satellite == satellite]) <= 1


def by_priority(
    windows: Sequence[ContactWindow], antennas: Mapping[str, int], ranks: Mapping[str, float]
) -> list[AntennaContact]:
    """What radios that ask for antennas, with products without end, send over these windows."""
    env = simpy.Environment()
    resources = {s: simpy.PriorityResource(env, capacity=n) for s, n in antennas.items()}
    log: list = []
    for satellite in dict.fromkeys(w.satellite for w in windows):
        own = sorted((w for w in windows if w.satellite == satellite), key=lambda w: w.start_s)
        passes = tuple(
            PlannedPass(
                Contact(
                    w.station, w.start_s, w.end_s, w.start_s, 60.0,
                    *(np.array([w.start_s, w.end_s]),) * 3,
                ),
                w.rates,
                ((w.start_s, w.end_s),),
            )
            for w in own
        )  # fmt: skip
        storage, queue = Storage(2 * ENDLESS_BYTES, lambda _: None), DownlinkQueue()
        storage.admit(satellite, ENDLESS_BYTES)
        storage.enqueue(satellite, f"{satellite}-p")
        queue.add(
            QueuedProduct(f"{satellite}-p", satellite, "x", Rank(ranks[satellite]), ENDLESS_BYTES)
        )
        power = SimpleNamespace(
            switch=lambda *_: None, empty=False, emptied=env.event(), recovered=env.event()
        )
        radio = Radio(
            env, satellite, passes, resources, power, storage, queue, power_w=5.0,
            log=log.append, on_contact=lambda _: None, on_delivered=lambda _: None,
            on_contact_ends=lambda: None, on_los=lambda: None,
        )  # fmt: skip
        env.process(radio.run())
    env.run()
    return [
        AntennaContact(
            next(
                w
                for w in windows
                if (w.satellite, w.station) == (row.satellite, row.station)
                and w.start_s <= row.start_s
                and row.end_s <= w.end_s
            ),
            row.start_s,
            row.end_s,
        )
        for row in log
        if row.kind_of_event == "downlink"
    ]


@given(crowd=crowds(), ranks=st.permutations([0.1, 0.4, 0.6, 0.9]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_never_more_than_antennas_and_worth_at_least_what_priority_gets(crowd, ranks):
    windows, antennas = crowd
    found = assign(windows, antennas)
    feasible(found.contacts, antennas)
    feasible(first_come(windows, antennas), antennas)
    asked = by_priority(windows, antennas, dict(zip(SATELLITES, ranks, strict=True)))
    assert found.ended == "proved"
    assert found.value == found.bound == pytest.approx(worth(found.contacts, windows))
    known = max(found.first_come_value, worth(asked, windows))
    assert found.value >= known * (1.0 - ROUNDING)


@given(crowd=crowds())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_search_cut_short_is_still_feasible_and_bounded(crowd):
    windows, antennas = crowd
    best, hurried = assign(windows, antennas), assign(windows, antennas, wall_limit_s=1e-9)
    feasible(hurried.contacts, antennas)
    assert hurried.first_come_value <= hurried.value <= best.value * (1.0 + ROUNDING)
    assert hurried.bound >= best.value * (1.0 - ROUNDING)
    assert 0.0 <= hurried.gap_fraction <= 1.0


def test_two_stations_serve_two_satellites_that_both_see():
    both = [
        window(satellite, start_s, 600.0, station=station)
        for satellite, start_s in (("s1", 0.0), ("s2", 1.0))
        for station in STATIONS
    ]
    antennas = dict.fromkeys(STATIONS, 1)
    found = assign(both, antennas)
    assert sum(c.end_s - c.start_s for c in found.contacts) >= 2 * 600.0 - 61.0
    asked = by_priority(both, antennas, {"s1": 0.9, "s2": 0.1})
    assert worth(asked, both) == pytest.approx(found.value)


def test_who_has_a_choice_leaves_the_station_to_who_has_none():
    choosy = [window("s1", float(k), 600.0, station=s) for k, s in enumerate(STATIONS)]
    windows = [*choosy, window("s2", 2.0, 600.0, station=STATIONS[0])]
    antennas = dict.fromkeys(STATIONS, 1)
    found = assign(windows, antennas)
    assert sum(c.end_s - c.start_s for c in found.contacts) >= 2 * 600.0 - 61.0
    assert worth(by_priority(windows, antennas, {"s1": 0.9, "s2": 0.1}), windows) < found.value


def test_the_antenna_changes_hands_where_the_rates_cross():
    setting = window("s1", 0.0, 600.0, rates_bps=(8e6, 8e6, 1e6))
    rising = window("s2", 0.0, 600.0, rates_bps=(1e6, 1e6, 8e6))
    first, second = assign([setting, rising], {"matera": 1}).contacts
    assert (first.window, first.end_s) == (setting, second.start_s)
    assert (second.window, second.end_s) == (rising, 600.0)
    assert 360.0 <= first.end_s <= 420.0


def test_a_fast_satellite_does_not_starve_a_slow_one_and_weight_decides():
    def seconds(weight: float) -> dict[str, float]:
        fast = window("s1", 0.0, 600.0, rates_bps=(10e6,))
        slow = window("s2", 0.0, 600.0, rates_bps=(7e6,), weight=weight)
        found = assign([fast, slow], {"matera": 1})
        return {c.window.satellite: c.end_s - c.start_s for c in found.contacts}

    assert seconds(1.0) == {"s1": 300.0, "s2": 300.0}
    assert seconds(0.1) == {"s1": 600.0}
    assert seconds(10.0) == {"s2": 600.0}


@given(crowd=crowds())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_rushes_are_in_nobody_elses_way_and_hang_together(crowd):
    windows, _ = crowd
    found = rushes(windows)
    assert sorted(id(w) for rush in found for w in rush) == sorted(map(id, windows))

    def in_the_way(one: ContactWindow, other: ContactWindow) -> bool:
        shared = one.station == other.station or one.satellite == other.satellite
        return shared and one.start_s < other.end_s and other.start_s < one.end_s

    for rush, other in combinations(found, 2):
        assert not any(in_the_way(a, b) for a in rush for b in other)
    for rush in found:
        reached, ahead = {id(rush[0])}, [rush[0]]
        while ahead:
            one = ahead.pop()
            near = [w for w in rush if id(w) not in reached and in_the_way(one, w)]
            reached |= set(map(id, near))
            ahead += near
        assert len(reached) == len(rush)
