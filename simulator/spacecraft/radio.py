"""The radio: what goes down in a pass, and in which order.

There is one transmitter. A pass that can be used takes it - an earlier pass over another station
may have it - and an antenna of the station - another satellite may have it, and of those who wait
the one with the best product goes first - both at once, so that neither stands idle while the
other is awaited. Then products are sent, best rank first; the order is looked at anew after each
product, so that what was seen a moment ago counts, and what has become urgent. A pass that ends in
mid-product keeps the rest for the next one, and so does a battery that runs empty. Where antennas
were assigned before flight (`simulator.ground.antennas`), a pass is served in its contact.

A contact ends at LOS, or before it: where a station outage begins, where an assigned antenna goes
to another satellite, and where the battery runs empty. From then on nothing goes down or up, and a
satellite without power lets go of its antenna until the battery has recovered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

import simpy
from simpy.resources.resource import PriorityRequest, Request

from simulator.autonomy.policies import Rank
from simulator.geometry import Pass as Contact
from simulator.ground.link_rates import RateProfile
from simulator.spacecraft.power import PowerSubsystem
from simulator.spacecraft.storage import Storage
from simulator.telemetry.events import Downlink, Event, Pass


@dataclass
class QueuedProduct:
    """A product that waits for a pass; `rank` says what goes first.

    `kind` is ``pixels``, ``mask`` or ``thumbnail``.
    """

    product: str
    capture: str
    target: str
    rank: Rank
    remaining_bytes: int
    kind: str = "pixels"
    on_air: bool = False

    @property
    def item(self) -> str:
        """What the storage ledger knows it by."""
        return self.capture if self.kind == "pixels" else self.product


class DownlinkQueue:
    """Products in the order of their rank; ties by name, so that runs repeat.

    Products whose rank never changes lie in order, and only the best of them is compared with
    those whose rank does: thousands may wait.
    """

    def __init__(self) -> None:
        self._products: dict[str, QueuedProduct] = {}
        self._steady: list[tuple[float, str]] = []
        self._due: dict[str, QueuedProduct] = {}

    def add(self, product: QueuedProduct) -> None:
        """Put a product into the queue."""
        self._products[product.product] = product
        if product.rank.steady:
            heappush(self._steady, (-product.rank.at(0.0), product.product))
        else:
            self._due[product.product] = product

    def remove(self, product: str) -> None:
        """Take a product out (sent, or dropped)."""
        del self._products[product]
        self._due.pop(product, None)

    def first(self, now_s: float) -> QueuedProduct | None:
        """The product to send next."""
        while self._steady and self._steady[0][1] not in self._products:
            heappop(self._steady)  # removed since
        best = [self._products[name] for _, name in self._steady[:1]]
        return min(
            (*best, *self._due.values()),
            key=lambda product: (-product.rank.at(now_s), product.product),
            default=None,
        )


@dataclass(frozen=True)
class PlannedPass:
    """A pass with its rate and the parts of it in which the link can be used.

    Attributes
    ----------
    contact : Pass
    rates : RateProfile
    windows_s : tuple of (start, end)
        The pass less acquisition, station outages and times without a rate, s.
    closed : str
        Why there is no window, ``too_short``, ``outage`` or ``no_rate``; empty where there is one.
    assigned_s : tuple of (start, end) or None
        When an antenna belongs to the satellite, s; None where it has to ask for one.
    cut_s : tuple of float
        When outages of the station begin in the pass, s.
    """

    contact: Contact
    rates: RateProfile
    windows_s: tuple[tuple[float, float], ...]
    closed: str = ""
    assigned_s: tuple[tuple[float, float], ...] | None = None
    cut_s: tuple[float, ...] = ()

    @property
    def served_s(self) -> tuple[tuple[float, float], ...]:
        """When the satellite may hope to send."""
        return self.windows_s if self.assigned_s is None else self.assigned_s

    @property
    def contact_ends_s(self) -> tuple[float | None, ...]:
        """When a contact over each of them ends; None where it lasts into the next one.

        A part of the pass without a rate does not end it: only pixels need one.
        """
        handed_over_s = tuple(end for _, end in self.assigned_s or ())
        cut_s = self.cut_s if self.assigned_s is None else handed_over_s
        next_s = (*(start for start, _ in self.served_s[1:]), self.contact.los_s)
        last = (None,) * (len(self.served_s) - 1) + (self.contact.los_s,)
        return tuple(
            next((t_s for t_s in cut_s if end <= t_s < until), otherwise)
            for (_, end), until, otherwise in zip(self.served_s, next_s, last, strict=False)
        )

    @property
    def served_bytes(self) -> int:
        """What could be carried then."""
        return sum(self.rates.bytes_between(start, end) for start, end in self.served_s)

    @property
    def usable_s(self) -> float:
        """Time in which data could flow, s."""
        return sum(end - start for start, end in self.windows_s)

    @property
    def capacity_bytes(self) -> int:
        """What the usable windows could carry."""
        return sum(self.rates.bytes_between(start, end) for start, end in self.windows_s)


def usable_windows(
    contact: Contact, acquisition_s: float, outages_s: tuple[tuple[float, float], ...]
) -> tuple[tuple[float, float], ...]:
    """The pass less `acquisition_s` at its start and less the outages."""
    windows = [(contact.aos_s + acquisition_s, contact.los_s)]
    for out_start, out_end in outages_s:
        windows = [
            piece
            for start, end in windows
            for piece in ((start, min(end, out_start)), (max(start, out_end), end))
        ]
    return tuple((start, end) for start, end in windows if end > start)


def plan_pass(
    contact: Contact,
    rates: RateProfile,
    acquisition_s: float,
    outages_s: tuple[tuple[float, float], ...],
) -> PlannedPass:
    """A pass with the windows in which data can flow, or the reason why there is none."""
    acquired = usable_windows(contact, acquisition_s, ())
    in_service = usable_windows(contact, acquisition_s, outages_s)
    windows_s = rates.windows_with_rate(in_service)
    closed = ""
    if not windows_s:
        closed = "no_rate" if in_service else "outage" if acquired else "too_short"
    cut_s = tuple(end for _, end in in_service if end < contact.los_s)
    return PlannedPass(contact, rates, windows_s, closed, cut_s=cut_s)


@dataclass
class _Served:
    """What came of a pass so far.

    `lacked` is ``radio_busy`` or ``no_antenna``, of the last window. `contacts` are those begun;
    `in_contact` says whether the last of them lasts on.
    """

    lacked: str = ""
    contacts: int = 0
    in_contact: bool = False
    transmit_s: float = 0.0
    sent_bytes: int = 0


class Radio:
    """The downlink process of one satellite.

    `on_contact` is called as a contact begins, with its station, and `on_contact_ends` as it ends;
    `on_los` at LOS of every pass that could be used, whether it was or not.
    """

    def __init__(
        self,
        env: simpy.Environment,
        satellite: str,
        passes: tuple[PlannedPass, ...],
        antennas: dict[str, simpy.PriorityResource],
        power: PowerSubsystem,
        storage: Storage,
        queue: DownlinkQueue,
        *,
        power_w: float,
        log: Callable[[Event], None],
        on_contact: Callable[[str], None],
        on_delivered: Callable[[QueuedProduct], None],
        on_contact_ends: Callable[[], None],
        on_los: Callable[[], None],
    ) -> None:
        self._env, self._satellite, self._passes = env, satellite, passes
        self._antennas, self._power, self._storage = antennas, power, storage
        self._queue, self._power_w, self._log = queue, power_w, log
        self._on_contact, self._on_delivered = on_contact, on_delivered
        self._on_contact_ends, self._on_los = on_contact_ends, on_los
        self._filled = env.event()
        self._transmitter = simpy.Resource(env)

    def enqueue(self, product: QueuedProduct) -> None:
        """Add a product; a radio idle in a pass takes it up at once."""
        self._queue.add(product)
        self._filled.succeed()
        self._filled = self._env.event()

    def run(self) -> Generator[simpy.Event, None, None]:
        """The process: all passes, by AOS, each on its own."""
        for planned in self._passes:
            yield self._env.timeout(max(planned.contact.aos_s - self._env.now, 0.0))
            self._env.process(self._follow(planned))

    def _follow(self, planned: PlannedPass) -> Generator[simpy.Event, None, None]:
        """One pass from AOS to LOS."""
        contact = planned.contact
        served = yield from self._serve(planned)
        yield self._env.timeout(max(contact.los_s - self._env.now, 0.0))
        self._log(
            Pass(
                t_s=contact.los_s,
                satellite=self._satellite,
                station=contact.station,
                aos_s=contact.aos_s,
                los_s=contact.los_s,
                max_elevation_deg=contact.max_elevation_deg,
                outcome=_outcome(planned, served),
                usable_s=planned.usable_s,
                transmit_s=served.transmit_s,
                capacity_bytes=planned.capacity_bytes,
                bytes=served.sent_bytes,
            )
        )
        if served.in_contact:
            self._on_contact_ends()
        if planned.windows_s:
            self._on_los()

    def _serve(self, planned: PlannedPass) -> Generator[simpy.Event, None, _Served]:
        """Transmit in each window; a contact that is cut short ends here, the others at LOS."""
        served = _Served("" if planned.served_s or not planned.windows_s else "no_antenna")
        windows = zip(planned.served_s, planned.contact_ends_s, strict=True)
        for (start_s, end_s), contact_ends_s in windows:
            yield self._env.timeout(max(start_s - self._env.now, 0.0))
            yield from self._serve_window(planned, end_s, served)
            if contact_ends_s is None or not served.in_contact:
                continue
            if self._env.now < contact_ends_s:
                yield self._power.emptied | self._until(contact_ends_s)
            if self._power.empty or contact_ends_s < planned.contact.los_s:
                self._end_contact(served)
        return served

    def _serve_window(
        self, planned: PlannedPass, end_s: float, served: _Served
    ) -> Generator[simpy.Event, None, None]:
        """One contact to the end of a window, or one before the battery runs empty and one after.

        Without power nothing is asked for: others have the antenna meanwhile.
        """
        while self._env.now < end_s:
            if self._power.empty:
                served.lacked = ""
                yield self._power.recovered | self._until(end_s)
                continue
            with ExitStack() as held:
                served.lacked = yield from self._take(held, planned.contact.station, end_s)
                if served.lacked:
                    return
                if self._power.empty:  # it ran empty while it waited
                    continue
                served.contacts, served.in_contact = served.contacts + 1, True
                self._on_contact(planned.contact.station)
                on_air_s, sent = yield from self._transmit(planned, end_s)
                served.transmit_s, served.sent_bytes = (
                    served.transmit_s + on_air_s,
                    served.sent_bytes + sent,
                )
                if self._power.empty:
                    self._end_contact(served)

    def _end_contact(self, served: _Served) -> None:
        served.in_contact = False
        self._on_contact_ends()

    def _take(
        self, held: ExitStack, station: str, end_s: float
    ) -> Generator[simpy.Event, None, str]:
        """Put transmitter and antenna into `held`; returns which was still lacking at `end_s`.

        Neither is held while the other is awaited: who gets the one and not the other lets go,
        and waits for the other first.
        """
        wanted = [
            ("radio_busy", self._transmitter.request),
            ("no_antenna", partial(self._ask_antenna, station)),
        ]
        while True:
            (lacked, ask_first), (_, ask_second) = wanted
            with ExitStack() as taken:
                if not (yield from self._wait_for(ask_first, taken, end_s)):
                    return lacked
                if taken.enter_context(ask_second()).triggered:
                    held.push(taken.pop_all())
                    return ""
            wanted.reverse()

    def _wait_for(
        self, ask: Callable[[], Request], taken: ExitStack, end_s: float
    ) -> Generator[simpy.Event, None, bool]:
        """Put what is asked for into `taken`; returns whether it came before `end_s`.

        Who waits for an antenna and gets a better product meanwhile asks anew, with that one.
        """
        request = taken.enter_context(ask())
        while not request.triggered and self._env.now < end_s:
            yield self._env.any_of([request, self._filled, self._until(end_s)])
            asked_with = request.priority if isinstance(request, PriorityRequest) else -math.inf
            if not request.triggered and self._precedence() < asked_with:
                taken.close()
                request = taken.enter_context(ask())
        return bool(request.triggered) and self._env.now < end_s

    def _ask_antenna(self, station: str) -> Request:
        return self._antennas[station].request(priority=self._precedence())

    def _until(self, end_s: float) -> simpy.Event:
        return self._env.timeout(max(end_s - self._env.now, 0.0))

    def _precedence(self) -> float:
        """Who waits for an antenna with the best product gets it first; low goes before high."""
        best = self._queue.first(self._env.now)
        return math.inf if best is None else -best.rank.at(self._env.now)

    def _transmit(
        self, planned: PlannedPass, end_s: float
    ) -> Generator[simpy.Event, None, tuple[float, int]]:
        """Send until `end_s` or until the battery is empty; returns seconds on air, and bytes."""
        on_air_s, sent_bytes = 0.0, 0
        while self._env.now < end_s and not self._power.empty:
            product = self._queue.first(self._env.now)
            if product is None:
                self._power.switch("radio", 0.0, "nothing is left to send")
                yield self._env.any_of([self._filled, self._power.emptied, self._until(end_s)])
                continue
            start_s = self._env.now
            stop_s, sent = planned.rates.send(product.remaining_bytes, start_s, end_s)
            self._power.switch("radio", self._power_w, f"sending {product.product}")
            product.on_air = True
            yield self._power.emptied | self._until(stop_s)
            product.on_air = False
            if self._env.now < stop_s:
                sent = min(sent, planned.rates.bytes_between(start_s, self._env.now))
            on_air_s += self._env.now - start_s
            sent_bytes += self._book(product, planned, start_s, sent)
        why = "the radio is shed" if self._power.empty else "transmission ends"
        self._power.switch("radio", 0.0, why)
        return on_air_s, sent_bytes

    def _book(self, product: QueuedProduct, planned: PlannedPass, start_s: float, sent: int) -> int:
        """Book what was sent, and write it down."""
        product.remaining_bytes -= sent
        if sent == 0:
            return 0
        if product.remaining_bytes == 0:
            self._queue.remove(product.product)
        self._storage.send(product.item, sent)
        self._log(
            Downlink(
                t_s=self._env.now,
                satellite=self._satellite,
                product=product.product,
                capture=product.capture,
                target=product.target,
                station=planned.contact.station,
                start_s=start_s,
                end_s=self._env.now,
                bytes=sent,
                remaining_bytes=product.remaining_bytes,
                complete=product.remaining_bytes == 0,
                modcod=planned.rates.modcods_between(start_s, self._env.now),
            )
        )
        if product.remaining_bytes == 0:
            self._on_delivered(product)
        return sent


def _outcome(planned: PlannedPass, served: _Served) -> str:
    lacked = "" if served.contacts else served.lacked
    return planned.closed or lacked or ("used" if served.sent_bytes else "idle")
