"""One antenna, several satellites: who waits with the best product goes first; when links end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simpy

from simulator.autonomy.policies import Rank
from simulator.geometry import Pass as Contact
from simulator.ground.link_rates import RateProfile
from simulator.spacecraft.radio import DownlinkQueue, PlannedPass, QueuedProduct, Radio, plan_pass
from simulator.spacecraft.storage import Storage

RATE_BPS = 8e3
SIZE_BYTES = 10_000
END_S = 100.0


class AnyPower:
    """Power without limit, or until it is emptied."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env, self.empty = env, False
        self.emptied, self.recovered = env.event(), env.event()
        self.switched: list[tuple[float, float]] = []

    def run_empty(self, from_s: float, to_s: float):
        """Empty from one time to another."""
        yield self.env.timeout(from_s)
        self.empty = True
        self.emptied.succeed()
        self.emptied = self.env.event()
        yield self.env.timeout(to_s - from_s)
        self.empty = False
        self.recovered.succeed()
        self.recovered = self.env.event()

    def switch(self, load: str, power_w: float, reason: str) -> None:
        """Note when the load changes, and to what."""
        del load, reason
        if power_w != (self.switched[-1][1] if self.switched else 0.0):
            self.switched.append((self.env.now, power_w))


def seen(aos_s: float, los_s: float, station: str = "matera") -> Contact:
    edges = np.array([aos_s, los_s])
    return Contact(station, aos_s, los_s, aos_s, 60.0, edges, edges, edges)


def planned(aos_s: float, los_s: float, station: str = "matera") -> PlannedPass:
    edges = np.array([aos_s, los_s])
    rates = RateProfile(edges, np.array([RATE_BPS]), ("QPSK 1/2",))
    return PlannedPass(seen(aos_s, los_s, station), rates, ((aos_s, los_s),))


def start_radio(
    env: simpy.Environment,
    name: str,
    passes: tuple[PlannedPass, ...],
    antennas: dict[str, simpy.PriorityResource],
    log: list,
    rank: float = 0.5,
    contacts: list[tuple[str, float]] | None = None,
    later: tuple[float, float] | None = None,
) -> AnyPower:
    """A satellite with one product of ten seconds begins its passes; returns its power.

    `later` is when another product comes, and its rank.
    """
    heard = [] if contacts is None else contacts
    storage, queue, power = Storage(10**6, lambda _: None), DownlinkQueue(), AnyPower(env)
    storage.admit(name, SIZE_BYTES)
    storage.enqueue(name, f"{name}-p")
    queue.add(QueuedProduct(f"{name}-p", name, "somewhere", Rank(rank), SIZE_BYTES))
    radio = Radio(
        env,
        name,
        passes,
        antennas,
        power,
        storage,
        queue,
        power_w=5.0,
        log=log.append,
        on_contact=lambda _: heard.append(("begins", env.now)),
        on_delivered=lambda _: None,
        on_contact_ends=lambda: heard.append(("ends", env.now)),
        on_los=lambda: None,
    )
    env.process(radio.run())

    def bring(t_s: float, rank: float):
        yield env.timeout(t_s)
        storage.admit(f"{name}-2", SIZE_BYTES)
        storage.enqueue(f"{name}-2", f"{name}-2-p")
        product = QueuedProduct(f"{name}-2-p", f"{name}-2", "here", Rank(rank), SIZE_BYTES)
        radio.enqueue(product)

    if later is not None:
        env.process(bring(*later))
    return power


def fly(ranks: dict[str, float]) -> list:
    """Satellites with one product each; all but the first come while the first is served."""
    env = simpy.Environment()
    antennas = {"matera": simpy.PriorityResource(env, capacity=1)}
    log: list = []
    for number, (name, rank) in enumerate(ranks.items()):
        window = planned(0.0, 20.0) if number == 0 else planned(float(number), END_S)
        start_radio(env, name, (window,), antennas, log, rank)
    env.run()
    return [event for event in log if event.kind_of_event == "downlink"]


def test_the_best_product_gets_the_antenna_when_it_is_free():
    sent = fly({"first": 0.1, "patient": 0.2, "urgent": 0.9})
    assert [row.satellite for row in sent][:2] == ["first", "urgent"]
    assert sent[1].start_s == 20.0


def test_equal_products_are_served_as_they_come():
    sent = fly({"first": 0.5, "early": 0.5, "late": 0.5})
    assert [row.satellite for row in sent][:2] == ["first", "early"]


@pytest.mark.parametrize(("rank", "first"), [(0.9, "patient"), (0.3, "urgent")])
def test_who_gets_a_better_product_while_it_waits_goes_first(rank: float, first: str):
    env = simpy.Environment()
    antennas = {"matera": simpy.PriorityResource(env, capacity=1)}
    log: list = []
    start_radio(env, "first", (planned(0.0, 20.0),), antennas, log)
    start_radio(env, "patient", (planned(1.0, END_S),), antennas, log, 0.2, later=(5.0, rank))
    start_radio(env, "urgent", (planned(2.0, END_S),), antennas, log, 0.5)
    env.run()
    sent = [event for event in log if event.kind_of_event == "downlink"]
    assert [row.satellite for row in sent][:2] == ["first", first]
    assert sent[1].start_s == 20.0


def test_a_transfer_names_its_modcod():
    assert fly({"first": 0.5})[0].modcod == ("QPSK 1/2",)


def test_the_radio_draws_power_while_it_sends_and_not_to_the_end_of_the_pass():
    env = simpy.Environment()
    antennas = {"matera": simpy.PriorityResource(env, capacity=1)}
    power = start_radio(env, "only", (planned(0.0, END_S), planned(200.0, 300.0)), antennas, [])
    env.run()
    assert power.switched == [(0.0, 5.0), (10.0, 0.0)]


def fly_alone(passes: tuple[PlannedPass, ...], empty_s: tuple[float, float] | None = None) -> list:
    """One satellite with one product of ten seconds; every station has an antenna."""
    env = simpy.Environment()
    log: list = []
    antennas = {p.contact.station: simpy.PriorityResource(env, capacity=1) for p in passes}
    power = start_radio(env, "only", passes, antennas, log)
    if empty_s:
        env.process(power.run_empty(*empty_s))
    env.run()
    return log


def outcomes(log: list) -> dict[str, str]:
    return {row.station: row.outcome for row in log if row.kind_of_event == "pass"}


def sent_bytes(log: list) -> list[tuple[str, float, float, int]]:
    return [
        (row.station, row.start_s, row.end_s, row.bytes)
        for row in log
        if row.kind_of_event == "downlink"
    ]


def test_a_station_out_of_service_does_not_keep_the_radio_from_another():
    dead = plan_pass(seen(0.0, 90.0, "dead"), planned(0.0, 90.0).rates, 1.0, ((0.0, 100.0),))
    log = fly_alone((dead, planned(10.0, 60.0)))
    assert outcomes(log) == {"matera": "used", "dead": "outage"}
    assert sent_bytes(log) == [("matera", 10.0, 20.0, SIZE_BYTES)]


def test_a_pass_under_another_is_told_from_a_station_without_an_antenna():
    log = fly_alone((planned(0.0, 90.0), planned(10.0, 60.0, "kiruna")))
    assert outcomes(log) == {"matera": "used", "kiruna": "radio_busy"}


def test_who_waits_for_an_antenna_sends_over_another_station_meanwhile():
    env = simpy.Environment()
    antennas = {name: simpy.PriorityResource(env) for name in ("matera", "kiruna")}
    log: list = []
    start_radio(env, "first", (planned(0.0, 9.0),), antennas, log)
    start_radio(env, "second", (planned(1.0, 60.0), planned(2.0, 60.0, "kiruna")), antennas, log)
    env.run()
    assert sent_bytes(log) == [("matera", 0.0, 9.0, 9000), ("kiruna", 2.0, 12.0, SIZE_BYTES)]


def test_an_antenna_does_not_wait_for_a_busy_transmitter():
    env = simpy.Environment()
    antennas = {name: simpy.PriorityResource(env) for name in ("matera", "kiruna")}
    log: list = []
    start_radio(env, "first", (planned(0.0, 60.0), planned(1.0, 60.0, "kiruna")), antennas, log)
    start_radio(env, "second", (planned(2.0, 60.0, "kiruna"),), antennas, log)
    env.run()
    assert sent_bytes(log) == [
        ("matera", 0.0, 10.0, SIZE_BYTES),
        ("kiruna", 2.0, 12.0, SIZE_BYTES),
    ]


def test_a_pass_says_why_nothing_could_flow():
    rates = RateProfile(np.array([0.0, 50.0]), np.array([0.0]), ("below the table",))
    assert plan_pass(seen(0.0, 50.0), rates, 60.0, ()).closed == "too_short"
    assert plan_pass(seen(0.0, 50.0), rates, 10.0, ((0.0, 60.0),)).closed == "outage"
    assert plan_pass(seen(0.0, 50.0), rates, 10.0, ()).closed == "no_rate"


def test_only_the_part_of_a_pass_with_a_rate_is_usable():
    edges = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    rates = RateProfile(edges, np.array([0.0, RATE_BPS, RATE_BPS, 0.0]), ("", "a", "a", ""))
    found = plan_pass(seen(0.0, 40.0), rates, 12.0, ())
    assert found.windows_s == ((12.0, 30.0),)
    assert found.usable_s == 18.0


def test_an_empty_battery_stops_a_transfer_and_the_rest_goes_on_after_it():
    log = fly_alone((planned(0.0, 60.0),), empty_s=(4.0, 30.0))
    assert sent_bytes(log) == [("matera", 0.0, 4.0, 4000), ("matera", 30.0, 36.0, 6000)]


def contacts_of(
    window: PlannedPass, empty_s: tuple[float, float] | None = None
) -> list[tuple[str, float]]:
    """When contacts of one satellite alone begin and end in a pass."""
    env, contacts = simpy.Environment(), []
    antennas = {"matera": simpy.PriorityResource(env, capacity=1)}
    power = start_radio(env, "only", (window,), antennas, [], contacts=contacts)
    if empty_s:
        env.process(power.run_empty(*empty_s))
    env.run()
    return contacts


def with_outage(from_s: float, to_s: float) -> PlannedPass:
    """A pass of a minute in which the station is out of service for some time."""
    return plan_pass(seen(0.0, 60.0), planned(0.0, 60.0).rates, 1.0, ((from_s, to_s),))


def test_a_contact_lasts_to_los():
    assert contacts_of(planned(0.0, 60.0)) == [("begins", 0.0), ("ends", 60.0)]


def test_a_contact_ends_where_an_outage_begins():
    assert contacts_of(with_outage(20.0, 90.0)) == [("begins", 1.0), ("ends", 20.0)]
    assert contacts_of(with_outage(20.0, 30.0)) == [
        *[("begins", 1.0), ("ends", 20.0)],
        *[("begins", 30.0), ("ends", 60.0)],
    ]


def test_a_contact_ends_with_the_assignment_of_its_antenna():
    assigned = replace(planned(0.0, 60.0), assigned_s=((10.0, 40.0),))
    assert contacts_of(assigned) == [("begins", 10.0), ("ends", 40.0)]


def test_a_part_of_a_pass_without_a_rate_does_not_end_the_contact():
    edges = np.array([0.0, 20.0, 60.0])
    rates = RateProfile(edges, np.array([RATE_BPS, 0.0]), ("a", ""))
    assert contacts_of(plan_pass(seen(0.0, 60.0), rates, 0.0, ()))[-1] == ("ends", 60.0)
    cut = plan_pass(seen(0.0, 60.0), rates, 0.0, ((50.0, 70.0),))
    assert contacts_of(cut)[-1] == ("ends", 50.0)
    assert contacts_of(cut, (30.0, 90.0))[-1] == ("ends", 30.0)


def test_a_contact_ends_when_the_battery_runs_empty_and_another_begins_as_it_has_recovered():
    sending, idle = (4.0, 30.0), (15.0, 30.0)
    for empty_s in (sending, idle):
        assert contacts_of(planned(0.0, 60.0), empty_s) == [
            *[("begins", 0.0), ("ends", empty_s[0])],
            *[("begins", 30.0), ("ends", 60.0)],
        ]


def test_an_empty_battery_makes_no_contact():
    assert contacts_of(planned(5.0, 60.0), (1.0, 90.0)) == []


@pytest.mark.parametrize("empty_from_s", [1.0, 4.0, 15.0])  # before, while it sends, and idle
def test_a_satellite_without_power_lets_go_of_the_antenna(empty_from_s: float):
    env, log = simpy.Environment(), []
    antennas = {"matera": simpy.PriorityResource(env, capacity=1)}
    power = start_radio(env, "dark", (planned(2.0, 60.0),), antennas, log)
    env.process(power.run_empty(empty_from_s, 90.0))
    start_radio(env, "other", (planned(3.0, 60.0),), antennas, log)
    env.run()
    (other,) = (row for row in log if row.kind_of_event == "downlink" and row.satellite == "other")
    assert other.start_s == max(empty_from_s, 3.0)


def test_a_battery_that_runs_empty_while_an_antenna_is_awaited_makes_no_contact():
    env, contacts = simpy.Environment(), []
    antennas = {"matera": simpy.PriorityResource(env, capacity=1)}
    start_radio(env, "first", (planned(0.0, 20.0),), antennas, [])
    power = start_radio(env, "dark", (planned(1.0, 60.0),), antennas, [], contacts=contacts)
    env.process(power.run_empty(10.0, 90.0))
    env.run()
    assert contacts == []
