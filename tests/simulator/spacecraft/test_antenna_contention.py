"""One antenna and three satellites: who waits with the best product goes first."""

from __future__ import annotations

import numpy as np
import simpy

from simulator.geometry import Pass as Contact
from simulator.ground.link_rates import RateProfile
from simulator.spacecraft.radio import DownlinkQueue, PlannedPass, QueuedProduct, Radio
from simulator.spacecraft.storage import Storage

RATE_BPS = 8e3
SIZE_BYTES = 10_000
END_S = 100.0


class AnyPower:
    """Power without limit."""

    def switch(self, load: str, power_w: float, reason: str) -> None:
        """Nothing is counted here."""


def planned(aos_s: float, los_s: float) -> PlannedPass:
    edges = np.array([aos_s, los_s])
    contact = Contact("matera", aos_s, los_s, aos_s, 60.0, edges, edges, edges)
    rates = RateProfile(edges, np.array([RATE_BPS]), ("QPSK 1/2",))
    return PlannedPass(contact, rates, ((aos_s, los_s),))


def fly(ranks: dict[str, float]) -> list:
    """Satellites with one product each; all but the first come while the first is served."""
    env = simpy.Environment()
    antennas = {"matera": simpy.PriorityResource(env, capacity=1)}
    log: list = []
    for number, (name, rank) in enumerate(ranks.items()):
        storage, queue = Storage(10**6, lambda _: None), DownlinkQueue()
        storage.admit(name, SIZE_BYTES)
        storage.enqueue(name, f"{name}-p")
        queue.add(QueuedProduct(f"{name}-p", name, "somewhere", rank, SIZE_BYTES))
        window = planned(0.0, 20.0) if number == 0 else planned(float(number), END_S)
        radio = Radio(
            env,
            name,
            (window,),
            antennas,
            AnyPower(),
            storage,
            queue,
            power_w=5.0,
            log=log.append,
            on_contact=lambda _: None,
            on_delivered=lambda _: None,
            on_los=lambda _: None,
        )
        env.process(radio.run())
    env.run()
    return [event for event in log if event.kind_of_event == "downlink"]


def test_the_best_product_gets_the_antenna_when_it_is_free():
    sent = fly({"first": 0.1, "patient": 0.2, "urgent": 0.9})
    assert [row.satellite for row in sent][:2] == ["first", "urgent"]
    assert sent[1].start_s == 20.0


def test_equal_products_are_served_as_they_come():
    sent = fly({"first": 0.5, "early": 0.5, "late": 0.5})
    assert [row.satellite for row in sent][:2] == ["first", "early"]


def test_a_transfer_names_its_modcod():
    assert fly({"first": 0.5})[0].modcod == ("QPSK 1/2",)
