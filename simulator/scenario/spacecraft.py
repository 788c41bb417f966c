"""The spacecraft of a scenario: orbit, power, imager, agility, radio and payload computer.

Every field has its unit in its name or in the sentence below it, and its range in its type.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from payload.frame import BLOCK_PX, TILE_PX
from simulator.scenario.problems import rejected

Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Letters, digits, dot, dash and underscore; it becomes part of file names.",
    ),
]

LINK_PATTERN = (
    r"^(inprocess|subprocess(?:\?\S+)?|tcp://\S+:\d{1,5}(?:\?\S+)?|serial://\S+|replay:.+)$"
)


class Section(BaseModel):
    """A mapping of the scenario file: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, values: object) -> object:
        """Refuse ``yes``/``on``/``true`` where a number stands: pydantic would read 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and cls._is_no_flag(name):
                raise rejected(
                    f"{str(value).lower()} is a truth value (YAML reads yes, no, on, off, true "
                    "and false so)",
                    field=name,
                    remedy="write a number, or put the word in quotes",
                )
        return values

    @classmethod
    def _is_no_flag(cls, name: str) -> bool:
        return name in cls.model_fields and cls.model_fields[name].annotation is not bool


class SunSynchronous(Section):
    """A circular sun-synchronous orbit; altitude and local time give inclination and RAAN."""

    altitude_km: float = Field(ge=160, le=2000)
    """Mean altitude above the equatorial radius, km."""
    ltan_h: float = Field(ge=0, lt=24)
    """Local time of the ascending node, hours (10.5 is 10:30; LTDN 10:30 is 22.5)."""


class Keplerian(Section):
    """Mean elements at the epoch, in the true-equator mean-equinox frame of SGP4."""

    semi_major_axis_km: float = Field(ge=6500, le=9000)
    """Semi-major axis, km (Earth's equatorial radius is 6378 km)."""
    eccentricity: float = Field(ge=0, lt=0.3)
    """0 is a circle."""
    inclination_deg: float = Field(ge=0, le=180)
    """Over 90 is retrograde."""
    raan_deg: float = Field(ge=-360, le=360)
    """Right ascension of the ascending node."""
    arg_perigee_deg: float = Field(ge=-360, le=360)
    """Argument of perigee."""
    mean_anomaly_deg: float = Field(ge=-360, le=360)
    """At the epoch."""

    @model_validator(mode="after")
    def _perigee_above_the_air(self) -> Self:
        perigee_km = self.semi_major_axis_km * (1 - self.eccentricity) - 6378.137
        if perigee_km < 100:
            raise rejected(
                f"the perigee is {perigee_km:.0f} km above the equatorial radius: "
                "no satellite stays there",
                field="semi_major_axis_km",
                remedy="raise semi_major_axis_km or lower eccentricity",
                allowed="perigee at 100 km or higher",
            )
        return self


def _lines_of_block(value: object) -> object:
    """The two element lines of a text of several, which may begin with a name; a path has one."""
    if not isinstance(value, str) or "\n" not in value.strip():
        return value
    lines = [line.rstrip() for line in value.splitlines() if line.strip()]
    if len(lines) not in (2, 3):
        raise rejected(
            f"{len(lines)} lines found, of one satellite there are 2",
            remedy="give the two element lines, perhaps below a line with the name",
        )
    return tuple(lines[-2:])


TleLines = tuple[str, str]


class OrbitSection(Section):
    """Where the satellite flies: exactly one of the four."""

    KINDS: ClassVar[tuple[str, ...]] = ("tle", "omm", "sun_synchronous", "keplerian")

    tle: Annotated[
        str | TleLines | None,
        BeforeValidator(_lines_of_block, json_schema_input_type=str | TleLines | None),
    ] = None
    """Two TLE lines as a list or a block (tle: |), or the path of a file that holds them; in block
    and file a name line before is allowed."""
    omm: str | None = None
    """Path of an Orbit Mean-Elements Message (CCSDS OMM) as JSON, XML or CSV."""
    sun_synchronous: SunSynchronous | None = None
    """A circular orbit that keeps its local time."""
    keplerian: Keplerian | None = None
    """Mean elements at the epoch."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [kind for kind in self.KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise rejected(
                f"{' and '.join(given)} are both given" if given else "no orbit is given",
                allowed="exactly one of " + ", ".join(self.KINDS),
                remedy="keep one of them"
                if given
                else "add sun_synchronous: {altitude_km: 510, ltan_h: 10.5}, for example",
            )
        return self

    @property
    def kind(self) -> str:
        """Which of the four is given."""
        return next(kind for kind in self.KINDS if getattr(self, kind) is not None)


class Power(Section):
    """Battery, panels and the load of the bus."""

    battery_wh: float = Field(gt=0, le=100_000)
    """Usable capacity, Wh."""
    initial_fraction: Fraction = 0.8
    """Charge at the epoch as a fraction of `battery_wh`."""
    panel_area_m2: float = Field(ge=0, le=200)
    """Active cell area, m2 (body: of one face)."""
    panel_efficiency: float = Field(gt=0, le=0.5)
    """Electrical power over sunlight on the cells (28-30 % for triple junction)."""
    pointing: Literal["sun", "nadir", "body"] = "sun"
    """sun: panels track the sun; nadir: fixed, facing away from Earth; body: on all faces."""
    bus_load_w: float = Field(ge=0, le=10_000)
    """Load that is always on, W."""
    low_power_fraction: Fraction = 0.3
    """Charge below which payload and imager are shed."""
    recover_fraction: Fraction = 0.5
    """Charge at which they come back; above `low_power_fraction`."""

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        if self.recover_fraction <= self.low_power_fraction:
            raise rejected(
                f"it does not exceed low_power_fraction ({self.low_power_fraction:g}), "
                "so the loads would switch on and off without end",
                field="recover_fraction",
                allowed=f"more than {self.low_power_fraction:g}, at most 1",
                remedy="raise recover_fraction or lower low_power_fraction",
            )
        return self


LARGEST_FRAME_PX = 16384
"""Longest edge of a frame, px."""


def _whole_blocks(edge_px: int) -> int:
    """Refuse an edge that cuts blocks: a part of a block would count as much as a whole one."""
    if edge_px % BLOCK_PX:
        below = edge_px // BLOCK_PX * BLOCK_PX
        raise rejected(
            f"a frame is kept or dropped by whole blocks of {BLOCK_PX} x {BLOCK_PX} px, and this "
            "edge would cut some",
            allowed=f"a multiple of {BLOCK_PX} from {BLOCK_PX} to {LARGEST_FRAME_PX}",
            remedy=f"write {below} or {below + BLOCK_PX}",
        )
    return edge_px


FrameEdge = Annotated[
    int,
    Field(ge=BLOCK_PX, le=LARGEST_FRAME_PX, json_schema_extra={"multipleOf": BLOCK_PX}),
    AfterValidator(_whole_blocks),
]


class Imager(Section):
    """The camera."""

    gsd_m: float = Field(gt=0, le=1000)
    """Ground sample distance at nadir, m. Areas in km2 count every pixel at this size; one taken
    off nadir really covers (slant range / altitude)^2 / cos(incidence) times as much ground."""
    frame_px: tuple[FrameEdge, FrameEdge]
    """Rows (along track) and columns (across track) of one frame, px: whole blocks of 256 px."""
    bands: int = Field(default=4, ge=4, le=64)
    """Bands stored per frame; the payload sees blue, green, red and near infrared."""
    bit_depth: int = Field(default=12, ge=1, le=32)
    """Bits stored per pixel and band."""
    max_off_nadir_deg: float = Field(default=35, gt=0, le=60)
    """Field of regard: a target farther off nadir is not imaged."""
    min_sun_elevation_deg: float = Field(default=10, ge=-18, le=90)
    """A target with a lower sun is not imaged."""
    power_w: float = Field(ge=0, le=10_000)
    """Power while the imager is on (warm-up and exposure), W."""
    warmup_s: float = Field(default=10, ge=0, le=3600)
    """Time the imager is on before an exposure, s."""

    @property
    def frame_bytes(self) -> int:
        """Raw size of one frame: rows x columns x bands x bits, rounded up to whole bytes."""
        rows, columns = self.frame_px
        return -(-rows * columns * self.bands * self.bit_depth // 8)

    @property
    def tiles(self) -> int:
        """Tiles the payload cuts a frame into."""
        rows, columns = self.frame_px
        return -(-rows // TILE_PX) * -(-columns // TILE_PX)

    @property
    def frame_km(self) -> tuple[float, float]:
        """Frame on the ground at nadir: along track, across track."""
        rows, columns = self.frame_px
        return rows * self.gsd_m / 1000, columns * self.gsd_m / 1000


class Agility(Section):
    """How fast the satellite turns."""

    slew_rate_deg_s: float = Field(gt=0, le=30)
    """Constant rate of a slew."""
    settle_s: float = Field(default=5, ge=0, le=600)
    """Time between the end of a slew and an exposure."""


class LookAhead(Section):
    """A forward-looking low-resolution camera that glances at the clouds over coming targets."""

    pitch_deg: float = Field(default=45, ge=5, le=65)
    """Angle ahead of nadir at which it looks (CogniSAT-6: 40 to 50 deg)."""
    half_swath_deg: float = Field(default=40, gt=0, le=65)
    """Largest angle to the left or right of the track that it sees."""
    decide_s: float = Field(default=15, gt=0, le=600)
    """From the glance to a cover the planner can use, s."""
    power_w: float = Field(default=4, ge=0, le=10_000)
    """Power of camera and processing from the glance to the decision, W."""
    cover_sigma: float = Field(default=0.1, ge=0, le=1)
    """Standard deviation of the error of the cover it reads."""


class ModcodStep(Section):
    """One row of a table of rates by elevation."""

    min_elevation_deg: float = Field(ge=0, le=90)
    """Elevation from which the rate holds."""
    rate_mbps: float = Field(gt=0, le=100_000)
    """Net rate, Mbit/s."""


class LinkBudget(Section):
    """What the signal-to-noise ratio, and from it the rate, is computed from."""

    eirp_dbw: float = Field(ge=-40, le=80)
    """Equivalent isotropic radiated power of the satellite, dBW."""
    frequency_ghz: float = Field(ge=0.1, le=100)
    """Carrier."""
    bandwidth_mhz: float = Field(gt=0, le=10_000)
    """Occupied bandwidth; one symbol per second and hertz."""
    g_over_t_db_k: float = Field(ge=-40, le=60)
    """Figure of merit of the station, dB/K."""
    losses_db: float = Field(default=3, ge=0, le=60)
    """Pointing, polarisation and implementation together, dB; atmosphere too, where
    `atmosphere_zenith_db` is 0."""
    atmosphere_zenith_db: float = Field(default=0, ge=0, le=20)
    """Gases, cloud and rain straight up, dB; along the path it grows as 1 / sin(elevation)."""
    margin_db: float = Field(default=3, ge=0, le=30)
    """Held back from the signal-to-noise ratio before a rate is chosen, dB."""


class Radio(Section):
    """The downlink transmitter: exactly one of `rate_mbps`, `modcod` and `link_budget`."""

    KINDS: ClassVar[tuple[str, ...]] = ("rate_mbps", "modcod", "link_budget")

    power_w: float = Field(ge=0, le=10_000)
    """Power while it transmits, W."""
    rate_mbps: float | None = Field(default=None, gt=0, le=100_000)
    """Net rate at every elevation, Mbit/s."""
    modcod: tuple[ModcodStep, ...] | None = Field(default=None, min_length=1)
    """Net rate by elevation, from low to high."""
    link_budget: LinkBudget | None = None
    """Rate by signal-to-noise ratio along the pass."""
    acquisition_s: float = Field(default=0, ge=0, le=600)
    """Time after AOS before data flows, s."""
    antenna_weight: float = Field(default=1, ge=0.001, le=1000)
    """Worth of a byte of this satellite to `ground.antenna_assignment: optimal`."""

    @model_validator(mode="after")
    def _exactly_one_rate(self) -> Self:
        given = [kind for kind in self.KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise rejected(
                f"{' and '.join(given)} are given together" if given else "no rate is given",
                allowed="exactly one of " + ", ".join(self.KINDS),
                remedy="keep one of them" if given else "add rate_mbps: 1, for example",
            )
        steps = [step.min_elevation_deg for step in self.modcod or ()]
        if steps != sorted(set(steps)):
            raise rejected(
                f"the elevations {steps} do not rise from row to row",
                field="modcod",
                remedy="sort the rows by min_elevation_deg and give each elevation once",
            )
        return self


class Payload(Section):
    """The payload computer, the model it flies and the limits it lives under."""

    model: str = Field(min_length=1)
    """A card in payload/models by name, or the path of one."""
    device: str = Field(min_length=1)
    """A profile in payload/devices by name, or the path of one."""
    link: str = Field(default="inprocess", pattern=LINK_PATTERN)
    """inprocess | subprocess | tcp://host:port | serial:///dev/...?baud=N | replay:PATH

    The three with a line take frame_s=N after a question mark: the longest wait for a frame, wall
    seconds (60)."""
    timing: Literal["declared", "measured"] = "declared"
    """declared: latency from the device profile (repeatable); measured: from the clock."""
    memory_limit_mib: float = Field(default=512, gt=0, le=1_048_576)
    """Memory the payload's process may have; over it the process dies and the frame goes
    unprocessed."""
    power_limit_w: float = Field(default=5, gt=0, le=10_000)
    """Power the payload may draw while active."""
    energy_limit_wh_per_orbit: float = Field(default=1, gt=0, le=10_000)
    """Energy for work on frames in any one orbit, Wh; what the device draws idle is not counted."""
    frame_deadline_s: float = Field(default=60, gt=0, le=1_000_000)
    """A frame that waits or works longer is kept unprocessed and counted."""
    pace: Literal["virtual", "realtime"] = "virtual"
    """virtual: simulated time jumps; realtime: it waits for the wall clock (boards)."""
    realtime_factor: float = Field(default=1, gt=0, le=100_000)
    """Simulated seconds per wall second when `pace` is realtime."""


class Satellite(Section):
    """One spacecraft."""

    name: Name
    orbit: OrbitSection
    power: Power
    storage_gib: float = Field(gt=0, le=1_048_576)
    """Mass memory for captures and products, GiB (2^30 bytes)."""
    imager: Imager
    agility: Agility
    look_ahead: LookAhead | None = None
    """Left out: none is on board. {} is one with the values above."""
    radio: Radio
    payload: Payload

    @model_validator(mode="after")
    def _a_frame_fits(self) -> Self:
        if self.imager.frame_bytes > int(self.storage_gib * 2**30):
            least_gib = math.ceil(self.imager.frame_bytes / 2**30 * 1e5) / 1e5
            raise rejected(
                f"one frame has {self.imager.frame_bytes} bytes and does not fit",
                field="storage_gib",
                allowed=f"at least {least_gib:.5f}",
                remedy="raise storage_gib or make imager.frame_px smaller",
            )
        return self
