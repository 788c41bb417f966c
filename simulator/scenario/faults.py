"""What goes wrong and when: outages of stations and payloads, and faults inside the payload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.scenario.problems import rejected
from simulator.scenario.spacecraft import Section


class Outage(Section):
    """A stretch of time in which something does not work."""

    from_h: float = Field(ge=0, le=8784)
    """Hours since the epoch."""
    to_h: float = Field(gt=0, le=8784)
    """End of the outage, h from the epoch."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.to_h <= self.from_h:
            raise rejected(
                f"the outage ends at or before its start (from_h {self.from_h:g})",
                field="to_h",
                allowed=f"more than {self.from_h:g}",
                remedy="swap from_h and to_h, or correct one",
            )
        return self


class StationOutage(Outage):
    """A station receives and sends nothing: the contact under way ends as the outage begins."""

    kind: Literal["station_outage"]
    station: str
    """Name of a station of this scenario."""


class PayloadOutage(Outage):
    """The payload computer is off: frames go unprocessed."""

    kind: Literal["payload_outage"]
    satellite: str | None = None
    """Name of a satellite; every satellite when left out."""


class PayloadFaults(Section):
    """What goes wrong inside the payload computer, drawn frame by frame from the seed."""

    kind: Literal["payload_faults"]
    satellite: str | None = None
    """Name of a satellite; every satellite when left out."""
    upsets_per_bit_day: float = Field(default=0, ge=0, le=1)
    """Single-event upsets per bit and day in the memory of weights and frames."""
    saa_factor: float = Field(default=1, ge=1, le=100_000)
    """Inside the South Atlantic Anomaly the upset rate is this many times higher."""
    hang_per_frame: float = Field(default=0, ge=0, le=1)
    """Probability that the payload hangs on a frame until its watchdog restarts it."""
    crash_per_frame: float = Field(default=0, ge=0, le=1)
    """Probability that the payload crashes on a frame and is restarted."""
    link_loss_per_frame: float = Field(default=0, ge=0, le=1)
    """Probability that the line to the payload is lost with a frame on it."""
    slow_down_per_frame: float = Field(default=0, ge=0, le=1)
    """Probability that a frame takes `slow_down_factor` times as long."""
    slow_down_factor: float = Field(default=3, ge=1, le=1000)
    """How much longer a slowed frame takes."""
    hang_s: float = Field(default=60, ge=0, le=86_400)
    """Time until the watchdog notices a hang."""
    reboot_s: float = Field(default=30, ge=0, le=86_400)
    """Time the payload is away after a crash or a hang."""


FaultSection = Annotated[StationOutage | PayloadOutage | PayloadFaults, Field(discriminator="kind")]


def refuse_second_payload_faults(faults: Sequence[FaultSection], satellites: list[str]) -> None:
    """Raise when two sections draw faults for one payload: which of them holds would be a guess."""
    ordered_by: dict[str, int] = {}
    for index, fault in enumerate(faults):
        if not isinstance(fault, PayloadFaults):
            continue
        for name in satellites if fault.satellite is None else [fault.satellite]:
            if name in ordered_by:
                raise rejected(
                    f"faults[{ordered_by[name]}] orders payload_faults for {name} already",
                    field=("faults", index, "kind"),
                    remedy="put what befalls one payload into one section; where satellites "
                    "differ, give each a section with its name",
                )
            ordered_by[name] = index
