"""The scenario file as data: every field with its unit, its range and what it means.

The models hold only what a single file can say about itself. Whether the files it names exist
and whether its orbit can be flown is checked in `simulator.scenario.checks`.
Units stand in names: ``_s _h _deg _km _m _w _wh _mib _gib _mbps _px``. Times are UTC.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from simulator.ground.stations import catalogue
from simulator.scenario.faults import (
    FaultSection,
    PayloadFaults,
    PayloadOutage,
    StationOutage,
    refuse_second_payload_faults,
)
from simulator.scenario.handling import LARGEST_JPEG2000_BITS, DataHandling
from simulator.scenario.problems import UndefinedVariableError, rejected
from simulator.scenario.source import Source
from simulator.scenario.spacecraft import Fraction, Name, Satellite, Section

SCHEMA_VERSION = 1


Policy = Literal["bent_pipe", "discard", "prune", "prioritise", "reschedule", "oracle"]
POLICIES: tuple[str, ...] = get_args(Policy)
"""Each adds one thing to the one before it."""


class Autonomy(Section):
    """What is kept, sent and imaged next."""

    policy: Policy = "reschedule"
    """What becomes of a frame. bent_pipe: no detection; discard: cloudy frames dropped; prune:
    cloudy blocks dropped; prioritise: the clearest and most urgent sent first; reschedule: cloudy
    targets imaged again, decided on board; oracle: as reschedule, with the truth for a mask."""
    planner: Literal["fifo", "greedy", "optimal"] = "greedy"
    """fifo: what comes first; greedy: what is worth most first; optimal: CP-SAT."""
    planner_wall_limit_s: float = Field(default=60, gt=0, le=86_400)
    """optimal: wall seconds after which a plan, or antennas, are taken as they are. The search ends
    by a fixed amount of work before, so that runs repeat; where this limit ends it, the run says
    so."""
    max_cloud_fraction: Fraction = 0.7
    """discard: frames above it are dropped."""
    block_cloud_fraction: Fraction = 0.5
    """prune and the policies above it: 256 px blocks above it are dropped."""
    target_cloud_fraction: Fraction = 0.2
    """A target is satisfied by an image below it, delivered before the target's deadline."""
    max_attempts: int = Field(default=6, ge=1, le=1000)
    """Captures of one target, the first included."""


class GroundStation(Section):
    """A ground station of this mission."""

    name: Name
    latitude_deg: float = Field(ge=-90, le=90)
    """Geodetic; north is positive."""
    longitude_deg: float = Field(ge=-180, le=180)
    """East is positive."""
    altitude_m: float = Field(default=0, ge=-500, le=9000)
    """Above the WGS84 ellipsoid."""
    min_elevation_deg: float | None = Field(default=None, ge=0, lt=90)
    """Mask of this station; `ground.min_elevation_deg` when left out."""
    antennas: int = Field(default=1, ge=1, le=64)
    """Satellites it can receive at the same time."""


def _from_catalogue(value: object) -> object:
    """Replace a catalogue name by the station's mapping."""
    if not isinstance(value, str):
        return value
    station = catalogue().get(value)
    if station is None:
        raise rejected(
            "no station of this name is in the catalogue",
            choices=list(catalogue()),
            remedy="use a catalogue name, or a mapping with name, latitude_deg, longitude_deg",
        )
    return {
        "name": station.name,
        "latitude_deg": station.latitude_deg,
        "longitude_deg": station.longitude_deg,
        "altitude_m": station.altitude_m,
    }


class Ground(Section):
    """Stations, and how fast the ground reacts."""

    stations: tuple[
        Annotated[
            GroundStation,
            BeforeValidator(_from_catalogue, json_schema_input_type=GroundStation | str),
        ],
        ...,
    ] = Field(min_length=1)
    """Catalogue names or mappings."""
    min_elevation_deg: float = Field(default=10, ge=0, lt=90)
    """Geometric elevation from which a station sees the satellite (refraction off)."""
    processing_delay_h: float = Field(default=12, ge=0, le=8784)
    """From downlink over the ground's cloud mask to new tasking ready for uplink, hours."""
    antenna_assignment: Literal["priority", "optimal"] = "priority"
    """priority: who asks first for an antenna keeps it to the end of the pass, and of those who
    wait the one with the best product is next (an empty battery gives it up); optimal: contacts
    are assigned before flight by CP-SAT, so that they can carry most (`radio.antenna_weight`)."""
    screening: str = Field(default="perfect", min_length=1)
    """perfect: the ground sees the truth in what came down; else the card, by name or path, of the
    model it screens frames with."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _refuse_repeats([station.name for station in self.stations], "stations")
        return self

    def mask_deg(self, station: GroundStation) -> float:
        """Elevation above which `station` sees a satellite."""
        own = station.min_elevation_deg
        return self.min_elevation_deg if own is None else own


class Weather(Section):
    """Cloud cover over time, and what the planner is told of it."""

    model: Literal["stochastic", "series"] = "stochastic"
    """stochastic: drawn from the seed; series: recorded, see `series`."""
    series: str | None = None
    """series: path of a CSV with columns target, t_h, cover."""
    mean_cover: Literal["climatology"] | Fraction = "climatology"
    """climatology: by latitude and season; or one number for every target."""
    correlation_h: float = Field(default=18, gt=0, le=8784)
    """Time after which the correlation of the normal process behind the cover has fallen to 1/e;
    that of cover itself has fallen a little further (0.33 at a mean cover of 0.5)."""
    forecast_sigma_24h: Fraction = 0.2
    """Standard deviation of the normal draw that a forecast adds to the true cover at 24 h lead
    time; it grows with the root of lead time. Forecasts then fall back to the mean cover and are
    clipped to 0..1: at a mean cover of 0.5 their error at 24 h has a standard deviation of 0.07 for
    0, 0.17 for 0.2 and 0.33 for 0.5."""

    @model_validator(mode="after")
    def _series_has_a_file(self) -> Self:
        if self.model == "series" and self.series is None:
            raise rejected(
                "the model is series and no file is given",
                field="series",
                remedy="add weather.series: PATH, or set weather.model: stochastic",
            )
        if self.model != "series" and self.series is not None:
            raise rejected(
                f"the model is {self.model}, which reads no series",
                field="series",
                remedy="set weather.model: series, or remove the path",
            )
        return self


class SceneCollection(Section):
    """A folder with a manifest.csv, GeoTIFFs and masks."""

    path: str = Field(min_length=1)
    """Relative to the scenario file; environment variables are expanded."""
    optional: bool = False
    """Left out, and listed as missing, when the folder does not exist."""


def _as_collection(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class Scenes(Section):
    """Where the pixels come from."""

    strategy: Literal["library", "composite", "sequence", "stac"] = "library"
    """library: the scene whose cover and surface match best; composite: clouds over a clear scene;
    sequence: the labelled scenes of one place by date, whose cover is the weather then: forecasts
    and glances err about it; stac: the same with scenes of each target's own ground, which
    `nephoscope scenes fetch` brings before the mission."""
    collections: tuple[
        Annotated[
            SceneCollection,
            BeforeValidator(_as_collection, json_schema_input_type=SceneCollection | str),
        ],
        ...,
    ] = Field(min_length=1)
    """Folders, as paths or as {path: ..., optional: true}; only these are used."""

    @property
    def are_the_weather(self) -> bool:
        """Whether the cover of the scenes is the weather, and no other is made."""
        return self.strategy in ("sequence", "stac")


def _as_utc(value: object) -> object:
    """Read a time without zone as UTC, and a date as its first moment."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError:
            raise rejected(
                "in UTC it lies outside the years 1 to 9999",
                allowed="ISO 8601 in UTC",
                remedy="write it as 2024-06-01T00:00:00Z",
            ) from None
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise rejected(
        "it is not a time", allowed="ISO 8601 in UTC", remedy="write it as 2024-06-01T00:00:00Z"
    )


FIRST_EPOCH = datetime(1960, 1, 1, tzinfo=UTC)
LAST_EPOCH = datetime(2049, 1, 1, tzinfo=UTC)
"""DE421, which places the sun, ends in 2053; a mission lasts up to a year."""


class Scenario(Section):
    """A mission: satellites, ground, targets, weather, scenes and faults."""

    model_config = ConfigDict(populate_by_name=True, title="Nephoscope scenario")

    schema_version: Literal[1] = Field(alias="schema")
    """Version of this contract."""
    name: Name
    description: str = ""
    """One sentence for people."""
    epoch: Annotated[datetime, BeforeValidator(_as_utc, json_schema_input_type=datetime)]
    """Start of the simulation, UTC; simulated time is seconds since it."""
    duration_h: float = Field(gt=0, le=8784)
    """Length of the mission, h."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every random draw is keyed by it."""
    satellites: tuple[Satellite, ...] = Field(min_length=1, max_length=1000)
    """Spacecraft with names of their own."""
    autonomy: Autonomy = Autonomy()
    data_handling: DataHandling = DataHandling()
    ground: Ground
    targets: str = Field(min_length=1)
    """Path of a GeoJSON file with Point or Polygon features."""
    weather: Weather = Weather()
    scenes: Scenes
    faults: tuple[FaultSection, ...] = ()
    """What goes wrong and when, such as {kind: station_outage, station: matera, from_h: 30,
    to_h: 90}."""

    _source: Source = PrivateAttr(default_factory=lambda: Source(Path("scenario").resolve(), None))

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if not FIRST_EPOCH <= self.epoch < LAST_EPOCH:
            raise rejected(
                "the sun's position is not known then",
                field="epoch",
                allowed=f"{FIRST_EPOCH:%Y-%m-%d} to {LAST_EPOCH:%Y-%m-%d}",
                remedy="choose an epoch in that span",
            )
        satellites = [satellite.name for satellite in self.satellites]
        _refuse_repeats(satellites, "satellites")
        deepest = max(satellite.imager.bit_depth for satellite in self.satellites)
        if self.data_handling.compression == "jpeg2000" and deepest > LARGEST_JPEG2000_BITS:
            raise rejected(
                f"an imager stores {deepest} bits, and JPEG 2000 is written with at most "
                f"{LARGEST_JPEG2000_BITS}",
                field=("data_handling", "compression"),
                remedy=f"set imager.bit_depth to {LARGEST_JPEG2000_BITS} or less, or compression: "
                "none",
            )
        if self.scenes.are_the_weather and self.weather.series is not None:
            raise rejected(
                f"scenes.strategy is {self.scenes.strategy}, where the cover of the scenes is the "
                "weather, and a second record would contradict it",
                field=("weather", "series"),
                remedy="set weather.model: stochastic and remove the path, or set "
                "scenes.strategy: library",
            )
        stations = [station.name for station in self.ground.stations]
        for index, fault in enumerate(self.faults):
            if isinstance(fault, StationOutage) and fault.station not in stations:
                _refuse_stranger(("faults", index, "station"), "station", stations)
            if isinstance(fault, PayloadOutage | PayloadFaults) and fault.satellite not in (
                None,
                *satellites,
            ):
                _refuse_stranger(("faults", index, "satellite"), "satellite", satellites)
        refuse_second_payload_faults(self.faults, satellites)
        return self

    @property
    def duration_s(self) -> float:
        """Length of the mission in seconds."""
        return self.duration_h * 3600

    @property
    def end(self) -> datetime:
        """The moment the simulation stops, UTC."""
        return self.epoch + timedelta(hours=self.duration_h)

    @property
    def folder(self) -> Path:
        """Folder of the scenario file: relative paths start there."""
        return self._source.path.parent

    @property
    def source(self) -> Source:
        """The file it was read from, with the place of every field."""
        return self._source

    def read_from(self, source: Source) -> Scenario:
        """Return the same scenario, with paths and messages that refer to `source`."""
        placed = self.model_copy()
        placed._source = source
        return placed

    def resolve(self, path: str) -> Path:
        """Return an absolute path: variables expanded, relative to the scenario file.

        Raises
        ------
        UndefinedVariableError
            When `path` names an environment variable that is not set.
        """
        expanded = os.path.expandvars(path)
        undefined = re.search(r"\$(\w+|\{\w+\})", expanded)
        if undefined:
            raise UndefinedVariableError(undefined.group(1).strip("{}"), path)
        return (self.folder / Path(expanded).expanduser()).resolve()

    def name_or_path(self, reference: str) -> str:
        """Return a model or device as it is loaded: a bare name, or an absolute path.

        Anything with a folder or a suffix (``cards/mine.yaml``, ``mine.onnx``) is a path relative
        to the scenario file.
        """
        path = Path(reference)
        is_path = path.suffix in (".yaml", ".yml", ".onnx") or len(path.parts) > 1
        return str(self.resolve(reference)) if is_path else reference

    def link_address(self, link: str) -> str:
        """Return a payload link with the path of a replay made absolute."""
        kind, _, path = link.partition(":")
        return f"replay:{self.resolve(path)}" if kind == "replay" else link

    def scene_folders(self) -> tuple[Path, ...]:
        """Folders of the listed collections, without optional ones that do not exist."""
        missing = self.missing_collections()
        return tuple(
            self.resolve(collection.path)
            for collection in self.scenes.collections
            if collection.path not in missing
        )

    def missing_collections(self) -> tuple[str, ...]:
        """Paths, as written, of optional collections that do not exist here."""
        return tuple(
            collection.path
            for collection in self.scenes.collections
            if collection.optional and not self._exists(collection.path)
        )

    def _exists(self, path: str) -> bool:
        try:
            return self.resolve(path).exists()
        except UndefinedVariableError:
            return False


def _refuse_repeats(names: list[str], field: str) -> None:
    """Raise when a name stands twice in `field`."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise rejected(
                f"the name {name!r} is used twice",
                field=(field, index, "name"),
                remedy="give each its own name",
            )


def _refuse_stranger(path: tuple[str | int, ...], kind: str, known: list[str]) -> None:
    raise rejected(
        f"this scenario has no such {kind}",
        field=path,
        choices=known,
        remedy=f"name a {kind} of this scenario",
    )
