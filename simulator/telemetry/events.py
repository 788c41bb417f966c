"""The event log's vocabulary: one frozen data class per event type, one Parquet file per class.

Events are the only thing a run leaves for metrics, audit and dashboard to read. Fields carry
units in their names; ``px`` are truth-labelled pixels; times are simulated seconds since the
scenario's epoch. What the host measured meanwhile is in `simulator.telemetry.host_events`.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

SCHEMA_VERSION = 3

_ARROW: dict[object, pa.DataType] = {
    float: pa.float64(),
    int: pa.int64(),
    str: pa.string(),
    bool: pa.bool_(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[float, ...]: pa.list_(pa.float64()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at `t_s` on `satellite` (empty string: on the ground)."""

    kind_of_event: ClassVar[str] = ""
    t_s: float
    satellite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture(Event):
    """One imaging of one target. `t_s` is the moment of exposure.

    `period` is the number of the target's repeat period that it is for, 0 for a target wanted once;
    `attempt` counts within it.
    """

    kind_of_event: ClassVar[str] = "capture"
    capture: str
    target: str
    attempt: int
    reacquisition: bool
    latitude_deg: float
    longitude_deg: float
    off_nadir_deg: float
    roll_deg: float
    pitch_deg: float
    slew_deg: float
    slew_start_s: float
    sun_elevation_deg: float
    weather_cover: float
    scene: str
    scene_sha256: str
    scene_kind: str
    scene_gsd_m: float
    surface: str
    frame_sha256: str
    truth_sha256: str
    cover: float
    clear_px: int
    cloud_px: int
    gsd_m: float
    bytes: int
    stored: bool
    period: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference(Event):
    """The payload's work on one frame. `t_s` is when the result was ready (or given up).

    `mask_sha256` names the mask among the run's images; empty when there is none.
    """

    kind_of_event: ClassVar[str] = "inference"
    capture: str
    status: str
    model: str
    model_sha256: str
    device: str
    tiles: int
    tile_sha256: tuple[str, ...]
    queued_s: float
    start_s: float
    latency_s: float
    energy_wh: float
    provenance: str
    energy_provenance: str
    mask_sha256: str
    cover_detected: float
    block_cover: tuple[float, ...]
    clear_px: int
    cloud_px: int
    clear_px_called_cloud: int
    cloud_px_called_cloud: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Event):
    """What the policy made of a frame: what is kept, what goes, and why.

    `clear_px_perfect` are the clear pixels that a perfect mask under the same policy would have
    kept; `clear_px_false_discard` those among them that were dropped. `cover_detected` is -1
    where there was no mask. `region_px` are the labelled pixels of the region of interest, which is
    the whole frame unless the scenario crops it. `block_bytes` are the compressed sizes of the kept
    blocks, in their order; empty where nothing is compressed.
    """

    kind_of_event: ClassVar[str] = "decision"
    capture: str
    policy: str
    action: str
    cover_detected: float
    cover_true: float
    blocks: int
    blocks_kept: int
    kept_blocks: tuple[int, ...]
    region_px: int
    bytes_raw: int
    bytes_kept: int
    block_bytes: tuple[int, ...]
    clear_px: int
    cloud_px: int
    clear_px_kept: int
    cloud_px_kept: int
    clear_px_perfect: int
    clear_px_false_discard: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(Event):
    """What is put in the downlink queue: a frame's ``pixels``, or a ``mask`` or ``thumbnail``.

    `rank_key` decides its place in the queue, as it is at that time: urgency grows towards a
    deadline. Pixels that wait for the ground to ask for them become a product when it does. A
    preview's blocks and pixels are 0: it shows no ground.
    """

    kind_of_event: ClassVar[str] = "product"
    product: str
    kind: str
    capture: str
    target: str
    bytes: int
    blocks: int
    clear_px: int
    cloud_px: int
    priority: float
    rank_key: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Downlink(Event):
    """Bytes of one product sent in one pass. `t_s` is the end of the transfer.

    `modcod` are the MODCODs in use meanwhile, in their order; empty for a fixed rate.
    """

    kind_of_event: ClassVar[str] = "downlink"
    product: str
    capture: str
    target: str
    station: str
    start_s: float
    end_s: float
    bytes: int
    remaining_bytes: int
    complete: bool
    modcod: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Event):
    """A station saw the satellite above its mask. `t_s` is LOS.

    `outcome` is ``used``; ``idle`` (nothing to send, or no power to send it); ``no_antenna`` or
    ``radio_busy`` (another satellite, another pass had it throughout); or why nothing could flow:
    ``too_short`` for the acquisition, ``outage`` or ``no_rate``. `usable_s` is the time in which
    data could have flowed.
    """

    kind_of_event: ClassVar[str] = "pass"
    station: str
    aos_s: float
    los_s: float
    max_elevation_deg: float
    outcome: str
    usable_s: float
    transmit_s: float
    capacity_bytes: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Antenna(Event):
    """An antenna of a station belongs to a satellite from `start_s` to `end_s`.

    Written at the start of a mission whose antennas are assigned optimally; `capacity_bytes` is
    what the contact could carry.
    """

    kind_of_event: ClassVar[str] = "antenna"
    station: str
    start_s: float
    end_s: float
    capacity_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Eclipse(Event):
    """The satellite in shadow; `kind` is ``umbra`` or ``penumbra``. `t_s` is the start."""

    kind_of_event: ClassVar[str] = "eclipse"
    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Power(Event):
    """Battery and loads right after a change of load or sunlight. Energies are cumulative."""

    kind_of_event: ClassVar[str] = "power"
    charge_wh: float
    charge_fraction: float
    load_w: float
    payload_w: float
    imager_w: float
    radio_w: float
    bus_w: float
    generation_w: float
    generated_wh: float
    consumed_wh: float
    curtailed_wh: float
    unserved_wh: float
    payload_wh: float
    low_power: bool
    reason: str
    look_ahead_w: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage(Event):
    """The storage ledger after a change; the figures up to `dropped_released_bytes` are cumulative.

    `change` says which figure moved by `delta_bytes`, and `capture` on whose account: ``captured``,
    ``derived`` (a preview was made), ``sent``, ``compressed``, ``dropped_policy``,
    ``dropped_overflow``, ``dropped_fault`` or ``dropped_released`` (the ground did not ask for it).
    `product` is empty while the bytes are not in the downlink queue; `queued_bytes` is the part of
    `stored_bytes` that is.
    """

    kind_of_event: ClassVar[str] = "storage"
    capacity_bytes: int
    captured_bytes: int
    derived_bytes: int
    sent_bytes: int
    compressed_bytes: int
    dropped_policy_bytes: int
    dropped_overflow_bytes: int
    dropped_fault_bytes: int
    dropped_released_bytes: int
    stored_bytes: int
    queued_bytes: int
    capture: str
    product: str
    change: str
    delta_bytes: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance(Event):
    """The look-ahead camera saw a target before its overflight. `t_s` is when the cover was known.

    `looked_s` is the moment of the picture, `closest_s` when the target is nearest to nadir, and
    `lead_s` lies between them. `forecast_cover` is what the planner expected before, -1 where it
    had not asked; `cover_seen` is -1 where the camera was shed (`outcome` is ``seen`` or ``shed``).
    """

    kind_of_event: ClassVar[str] = "glance"
    target: str
    period: int
    latitude_deg: float
    longitude_deg: float
    looked_s: float
    closest_s: float
    lead_s: float
    roll_deg: float
    pitch_deg: float
    off_nadir_deg: float
    forecast_cover: float
    weather_cover: float
    cover_seen: float
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Event):
    """A change of the plan: `change` is ``add``, ``remove``, ``skip`` or ``retask``."""

    kind_of_event: ClassVar[str] = "plan"
    change: str
    trigger: str
    target: str
    capture_s: float
    expected_value: float
    forecast_cover: float
    planned_captures: int
    reason: str
    period: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink(Event):
    """What came up from the ground during a pass, beside the forecast.

    `targets` are to be imaged again, each in its period of `periods`; the pixels of the captures
    `requested` are to be sent, those of the captures `released` may go.
    """

    kind_of_event: ClassVar[str] = "uplink"
    station: str
    targets: tuple[str, ...]
    requested: tuple[str, ...]
    released: tuple[str, ...]
    reason: str
    periods: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground(Event):
    """The ground learned what became of a capture: from its pixels, a preview, or telemetry.

    `mask_sha256` names the ground's own mask where it is not perfect. `answer` to a preview is
    ``request`` or ``release``, ready for uplink at `answer_ready_s`; empty and -1 else.
    """

    kind_of_event: ClassVar[str] = "ground"
    capture: str
    target: str
    source: str
    cover: float
    mask_sha256: str
    satisfied: bool
    tasking_ready_s: float
    answer: str
    answer_ready_s: float
    reason: str
    period: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage(Event):
    """A frame of an area came down clear for the first time in its period.

    `frames_covered` and `covered_fraction` (of the area's ground) are those of this period so far.
    """

    kind_of_event: ClassVar[str] = "coverage"
    area: str
    target: str
    period: int
    frames: int
    frames_covered: int
    covered_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Event):
    """Something went wrong, really or by the scenario's order."""

    kind_of_event: ClassVar[str] = "fault"
    kind: str
    component: str
    capture: str
    end_s: float
    detail: str


EVENT_TYPES: dict[str, type[Event]] = {
    cls.kind_of_event: cls
    for cls in (
        Capture, Inference, Decision, Product, Downlink, Pass, Antenna, Eclipse, Power, Storage,
        Glance, Plan, Uplink, Ground, Coverage, Fault,
    )
}  # fmt: skip
"""Event classes by file name."""


def arrow_schema(event_type: type[Event]) -> pa.Schema:
    """Parquet schema of an event class: ``t_s``, ``satellite``, then its own fields in order."""
    hints = typing.get_type_hints(event_type)
    return pa.schema(
        [
            pa.field(f.name, _ARROW[hints[f.name]], nullable=False)
            for f in dataclasses.fields(event_type)
        ]
    )
