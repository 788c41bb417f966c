"""What the auditor finds, and the run as it sees it: typed events and the scenario's numbers."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, takewhile
from typing import Any, Protocol, TypeVar

from simulator.telemetry import events as ev
from simulator.telemetry.run_folder import RunFolder

TIME_TOLERANCE_S = 1e-6
"""Times computed in two ways agree to this; simulated times are far below 1e9 s."""


POWER_TOLERANCE = 1e-9
"""A power worked out from energy and time is the power drawn to this share."""

EMPTY_WH = 1e-6
"""A battery with no more than this is empty: the time at which it runs empty is a float."""


@dataclass(frozen=True)
class Finding:
    """Something that cannot be: where (event type and row, or file) and why."""

    where: str
    message: str


class _OnSatellite(Protocol):
    @property
    def satellite(self) -> str: ...


E = TypeVar("E", bound=ev.Event)
S = TypeVar("S", bound=_OnSatellite)


def at(event: ev.Event) -> str:
    """Name a row: its type, its subject and its time."""
    subject = getattr(event, "product", "") or getattr(event, "capture", "")
    names = " ".join(name for name in (event.kind_of_event, subject, event.satellite) if name)
    return f"{names} at {event.t_s:.3f} s"


def by_satellite(events: Iterable[S]) -> dict[str, list[S]]:
    """Events of each satellite, in their order."""
    grouped: dict[str, list[S]] = defaultdict(list)
    for event in events:
        grouped[event.satellite].append(event)
    return dict(grouped)


def is_pixels(product: ev.Product) -> bool:
    """Whether a product shows ground; else it is a preview."""
    return product.kind == "pixels"


def repeated(names: Iterable[str]) -> set[str]:
    """Names that occur more than once."""
    seen: set[str] = set()
    twice: set[str] = set()
    for name in names:
        (twice if name in seen else seen).add(name)
    return twice


class RunLog:
    """A run as the auditor reads it: events as typed rows, scenario as plain values.

    Raises
    ------
    RunFolderError
        From each property whose file is missing or damaged.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    @cached_property
    def scenario(self) -> Mapping[str, Any]:
        """The resolved scenario."""
        return self.run.scenario()

    @cached_property
    def sections(self) -> dict[str, Mapping[str, Any]]:
        """The scenario's section of each satellite."""
        return {section["name"]: section for section in self.scenario["satellites"]}

    @cached_property
    def targets(self) -> dict[str, Mapping[str, Any]]:
        """Properties of each target."""
        return self.run.target_properties()

    @property
    def until_s(self) -> float:
        """From here on nothing is judged: a run is stopped between two events of one instant."""
        return math.inf if self.run.complete else self.run.manifest.progress_s

    @cached_property
    def on_the_way(self) -> frozenset[str]:
        """The last captures of a run that stopped short: nothing was decided on them yet."""
        if self.run.complete:
            return frozenset()
        decided = {row.capture for row in self.decisions}
        return frozenset(
            row.capture
            for rows in by_satellite(self.captures).values()
            for row in takewhile(lambda row: row.capture not in decided, reversed(rows))
        )

    def may_be_of_a_pass_under_way(self, satellite: str, t_s: float) -> bool:
        """Whether the run stopped before the end of a pass, which is when passes are written."""
        last_los_s = max((c.los_s for c in self.passes if c.satellite == satellite), default=0.0)
        return not self.run.complete and t_s > last_los_s

    def outages_s(self, kind: str, **subject: str) -> list[tuple[float, float]]:
        """Spans of the scenario's faults of one kind that concern `subject`."""
        return [
            (fault["from_h"] * 3600.0, fault["to_h"] * 3600.0)
            for fault in self.scenario.get("faults", ())
            if fault["kind"] == kind
            and all(fault.get(key) in (None, value) for key, value in subject.items())
        ]

    @cached_property
    def captures(self) -> tuple[ev.Capture, ...]:
        return self._rows(ev.Capture)

    @cached_property
    def inferences(self) -> tuple[ev.Inference, ...]:
        return self._rows(ev.Inference)

    @cached_property
    def decisions(self) -> tuple[ev.Decision, ...]:
        return self._rows(ev.Decision)

    @cached_property
    def products(self) -> tuple[ev.Product, ...]:
        return self._rows(ev.Product)

    @cached_property
    def downlinks(self) -> tuple[ev.Downlink, ...]:
        return self._rows(ev.Downlink)

    @cached_property
    def passes(self) -> tuple[ev.Pass, ...]:
        return self._rows(ev.Pass)

    @cached_property
    def antennas(self) -> tuple[ev.Antenna, ...]:
        return self._rows(ev.Antenna)

    @cached_property
    def eclipses(self) -> tuple[ev.Eclipse, ...]:
        return self._rows(ev.Eclipse)

    @cached_property
    def powers(self) -> tuple[ev.Power, ...]:
        return self._rows(ev.Power)

    @cached_property
    def storages(self) -> tuple[ev.Storage, ...]:
        return self._rows(ev.Storage)

    @cached_property
    def plans(self) -> tuple[ev.Plan, ...]:
        return self._rows(ev.Plan)

    @cached_property
    def uplinks(self) -> tuple[ev.Uplink, ...]:
        return self._rows(ev.Uplink)

    @cached_property
    def grounds(self) -> tuple[ev.Ground, ...]:
        return self._rows(ev.Ground)

    @cached_property
    def glances(self) -> tuple[ev.Glance, ...]:
        return self._rows(ev.Glance)

    @cached_property
    def coverages(self) -> tuple[ev.Coverage, ...]:
        return self._rows(ev.Coverage)

    @cached_property
    def faults(self) -> tuple[ev.Fault, ...]:
        return self._rows(ev.Fault)

    @cached_property
    def capture_by_name(self) -> dict[str, ev.Capture]:
        return {row.capture: row for row in self.captures}

    @cached_property
    def inference_by_capture(self) -> dict[str, ev.Inference]:
        """Inferences by capture."""
        return {row.capture: row for row in self.inferences}

    @cached_property
    def product_by_name(self) -> dict[str, ev.Product]:
        return {row.product: row for row in self.products}

    @cached_property
    def product_by_capture(self) -> dict[str, ev.Product]:
        """Pixel products; previews show no ground."""
        return {row.capture: row for row in self.products if is_pixels(row)}

    @cached_property
    def timelines(self) -> dict[str, PowerTimeline]:
        """Loads over time, of each satellite."""
        return {name: PowerTimeline(rows) for name, rows in by_satellite(self.powers).items()}

    def _rows(self, event_type: type[E]) -> tuple[E, ...]:
        table = self.run.events(event_type.kind_of_event)
        make: Callable[..., E] = event_type
        return tuple(
            make(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})
            for row in table.to_pylist()
            if row["t_s"] < self.until_s
        )


class PowerTimeline:
    """Power rows of one satellite as a step function of time."""

    def __init__(self, rows: Sequence[ev.Power]) -> None:
        self._rows = rows
        self._times = [row.t_s for row in rows]

    def before(self, t_s: float) -> ev.Power | None:
        """The state that holds up to `t_s`."""
        index = bisect_left(self._times, t_s)
        return self._rows[index - 1] if index else None

    def at_payload_power(
        self, start_s: float, end_s: float, power_w: float
    ) -> Iterator[tuple[float, float]]:
        """Begin and end of every stretch between the two in which the payload draws `power_w`."""
        draws = groupby(
            self._spans(start_s, end_s),
            lambda span: math.isclose(span[2].payload_w, power_w, rel_tol=POWER_TOLERANCE),
        )
        for is_drawn, spans in draws:
            if is_drawn:
                begins_s, ends_s, _ = zip(*spans, strict=True)
                yield begins_s[0], ends_s[-1]

    def during(self, start_s: float, end_s: float) -> Iterator[ev.Power]:
        """Every state that holds for some time between the two."""
        return (row for _, _, row in self._spans(start_s, end_s))

    def _spans(self, start_s: float, end_s: float) -> Iterator[tuple[float, float, ev.Power]]:
        """The same states, each with the begin and the end of its time between the two."""
        first = max(bisect_right(self._times, start_s) - 1, 0)
        for row, until_s in zip(
            self._rows[first:], [*self._times[first + 1 :], float("inf")], strict=True
        ):
            if row.t_s >= end_s:
                return
            if until_s > max(row.t_s, start_s):
                yield max(row.t_s, start_s), min(until_s, end_s), row

    @cached_property
    def empty_s(self) -> tuple[tuple[float, float], ...]:
        """Spans from an empty battery to the end of low power: the radio is shed in them."""
        spans: list[tuple[float, float]] = []
        since_s: float | None = None
        for row in self._rows:
            if since_s is None and row.low_power and row.charge_wh <= EMPTY_WH:
                since_s = row.t_s
            elif since_s is not None and not row.low_power:
                spans.append((since_s, row.t_s))
                since_s = None
        return tuple(spans) if since_s is None else (*spans, (since_s, math.inf))
