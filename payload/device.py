"""A device profile: what a payload computer draws, holds and how fast it detects cloud.

A profile is a YAML file that says of every figure where it comes from. Time on a device follows
from the model's arithmetic::

    latency_s = overhead_s_per_frame
              + tiles * (overhead_s_per_tile + macs_per_px * computed_px / (gmac_s * 1e9))

with `computed_px` the pixels of a tile, padding included where a graph of fixed size needs it,
`gmac_s` the speed the device reaches on such networks (not its peak), or, for a model that
was timed on the device, from the measured time per tile. The formula is deterministic, so a
mission with declared timing is too.

The format (those marked * must be given)::

    name: myriad2                     # * equals the file's stem
    description: One sentence.        # *
    idle_power_w: 0.5                 # * drawn while the computer waits
    active_power_w: 1.8               # * drawn while it detects, everything included
    memory_mib: 512                   # *
    gmac_s: {fp32: 11.5, int8: 11.5}  # * effective speed per precision of the model
    speed_provenance: modelled        # * measured | modelled | declared
    overhead_s_per_frame: 0.05        #   start-up of a frame (default 0)
    overhead_s_per_tile: 0.01         #   moving a tile in and its mask out (default 0)
    tile_latency_s:                   #   measured on the device; goes before gmac_s
      - model: unet-distilled         # *
        sha256: 0f3a...               # * of the ONNX file that was timed
        tile_px: 512                  # *
        seconds: 0.046                # *
        host: Raspberry Pi 4, 4 GB    #   on which machine
    sources:                          # * at least one
      - field: active_power_w         # * which field
        figure: 1.8 W                 # * what the source says
        source: where it stands       # *
        status: read                  # * read | memory | computed | measured | assumed

The status `read` means read in the named source, `memory` means from memory and unverified,
`computed` means worked out here from other rows, `measured` means by this project, `assumed`
means nothing better was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from payload.card import ModelCard, Precision
from payload.fields import Fields, nearest, read_mapping
from payload.frame import TILE_PX, Provenance

DEVICES_DIR = Path(__file__).parent / "devices"
"""Where the committed profiles lie."""

SECONDS_PER_HOUR = 3600.0


class DeviceError(ValueError):
    """A device profile cannot be used."""


@dataclass(frozen=True)
class Source:
    """Where one figure of a profile comes from."""

    field: str
    figure: str
    source: str
    status: Literal["read", "memory", "computed", "measured", "assumed"]


@dataclass(frozen=True)
class TileLatency:
    """Time one model was measured to need for one tile on the device."""

    model: str
    sha256: str
    tile_px: int
    seconds: float
    host: str = ""


@dataclass(frozen=True)
class DeviceProfile:
    """A payload computer. The fields are those of the module's format."""

    name: str
    description: str
    idle_power_w: float
    active_power_w: float
    memory_mib: float
    gmac_s: dict[Precision, float]
    speed_provenance: Provenance
    sources: tuple[Source, ...]
    overhead_s_per_frame: float = 0.0
    overhead_s_per_tile: float = 0.0
    tile_latency_s: tuple[TileLatency, ...] = ()

    def latency_s(self, card: ModelCard, tiles: int, tile_px: int = TILE_PX) -> float:
        """Time to detect cloud in a frame of so many tiles, seconds.

        Raises
        ------
        DeviceError
            The profile gives no speed for the card's precision.
        """
        return self.overhead_s_per_frame + tiles * self.tile_s(card, tile_px)

    def tile_s(self, card: ModelCard, tile_px: int = TILE_PX) -> float:
        """Time for one tile, seconds: as measured, or by the arithmetic of the model."""
        measured = self._measured(card, tile_px)
        if measured is not None:
            return measured.seconds
        gmac = card.macs_per_px * card.computed_px(tile_px) / 1e9
        return self.overhead_s_per_tile + gmac / self.speed_gmac_s(card)

    def speed_gmac_s(self, card: ModelCard) -> float:
        """Effective speed at the model's precision, 1e9 multiply-accumulates per second.

        Raises
        ------
        DeviceError
            The profile gives none.
        """
        if card.precision not in self.gmac_s:
            raise DeviceError(
                f"device {self.name!r}: gmac_s has no speed for {card.precision}, which model "
                f"{card.name!r} needs; it has {', '.join(sorted(self.gmac_s))}"
            )
        return self.gmac_s[card.precision]

    def latency_provenance(self, card: ModelCard, tile_px: int = TILE_PX) -> Provenance:
        """Where `latency_s` comes from for this model."""
        if self._measured(card, tile_px) is not None:
            return "measured"
        return "modelled" if self.speed_provenance == "measured" else self.speed_provenance

    def lost_frame_s(self, card: ModelCard, power_limit_w: float | None = None) -> float:
        """Time of a frame that is lost in its first tile, seconds; 0 where no work fits a limit."""
        duty = self.duty_fraction(power_limit_w)
        return self.latency_s(card, 1) / duty if duty > 0.0 else 0.0

    def mean_power_w(self, power_limit_w: float | None = None) -> float:
        """Power while it detects; under a limit with the pauses that keep to it."""
        if power_limit_w is None:
            return self.active_power_w
        return min(self.active_power_w, power_limit_w)

    def binding_limit_w(self, power_limit_w: float | None) -> float | None:
        """The limit where the device would exceed it; None where it never does."""
        return None if self.duty_fraction(power_limit_w) == 1.0 else power_limit_w

    def host_time_scale(self, card: ModelCard) -> float:
        """Seconds of the device per second of this machine, which stands in for it."""
        return load_device("host").speed_gmac_s(card) / self.speed_gmac_s(card)

    def energy_wh(self, latency_s: float, power_limit_w: float | None = None) -> float:
        """Energy drawn in `latency_s` of detecting, watt-hours, everything included."""
        return self.mean_power_w(power_limit_w) * latency_s / SECONDS_PER_HOUR

    def duty_fraction(self, power_limit_w: float | None) -> float:
        """Share of the time the device may detect so that its mean power keeps to a limit.

        The device alternates between active and idle power:
        limit = duty * active + (1 - duty) * idle. 1 where there is no limit or it is not
        reached; 0 where the limit is at or below idle power, so that no work fits.
        """
        if power_limit_w is None or power_limit_w >= self.active_power_w:
            return 1.0
        if power_limit_w <= self.idle_power_w:
            return 0.0
        return (power_limit_w - self.idle_power_w) / (self.active_power_w - self.idle_power_w)

    def _measured(self, card: ModelCard, tile_px: int) -> TileLatency | None:
        for row in self.tile_latency_s:
            if row.sha256 == card.sha256 and row.tile_px == tile_px:
                return row
        return None


def device_paths() -> dict[str, Path]:
    """Every committed profile by name."""
    return {path.stem: path for path in sorted(DEVICES_DIR.glob("*.yaml"))}


def list_devices() -> tuple[DeviceProfile, ...]:
    """All committed profiles, in the order of their names."""
    return tuple(read_device(path) for path in device_paths().values())


def load_device(name_or_path: str | Path) -> DeviceProfile:
    """A device profile by name, or by the path of a YAML file.

    Raises
    ------
    DeviceError
        No such device (the nearest name is given), or the profile is wrong (field and reason).
    """
    text = str(name_or_path)
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.parent != Path():
        return read_device(path)
    paths = device_paths()
    if text not in paths:
        raise DeviceError(
            f"unknown device {text!r}; {nearest(text, paths)}, or the path of a profile"
        )
    return read_device(paths[text])


def read_device(path: Path) -> DeviceProfile:
    """Read one profile file.

    Raises
    ------
    DeviceError
        A field is missing, unknown or wrong.
    """
    fields = Fields(read_mapping(path, DeviceError), str(path), DeviceError)
    idle_power_w = fields.at_least("idle_power_w", 0)
    profile = DeviceProfile(
        name=fields.text("name"),
        description=fields.text("description"),
        idle_power_w=idle_power_w,
        active_power_w=fields.at_least("active_power_w", idle_power_w),
        memory_mib=fields.number("memory_mib", above=0),
        gmac_s=_read_speed(fields),
        speed_provenance=cast(
            "Provenance", fields.choice("speed_provenance", ("measured", "modelled", "declared"))
        ),
        sources=tuple(_read_source(item) for item in fields.groups("sources")),
        overhead_s_per_frame=fields.at_least("overhead_s_per_frame", 0, 0.0),
        overhead_s_per_tile=fields.at_least("overhead_s_per_tile", 0, 0.0),
        tile_latency_s=tuple(_read_tile_latency(row) for row in fields.groups("tile_latency_s")),
    )
    fields.finish()
    if profile.name != path.stem:
        raise DeviceError(
            f"{path}: name is {profile.name!r}, expected the file's stem {path.stem!r}"
        )
    if not profile.sources:
        raise DeviceError(f"{path}: sources is empty, expected where each figure comes from")
    return profile


def _read_speed(fields: Fields) -> dict[Precision, float]:
    group = fields.group("gmac_s")
    if group is None:
        raise DeviceError(f"{fields.where}: the field 'gmac_s' is missing, expected {{fp32: ...}}")
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    speeds = {precision: group.optional_number(precision, above=0) for precision in precisions}
    group.finish()
    known = {precision: speed for precision, speed in speeds.items() if speed is not None}
    if not known:
        raise DeviceError(f"{fields.where}: gmac_s is empty, expected fp32, int8 or both")
    return known


def _read_source(fields: Fields) -> Source:
    statuses = ("read", "memory", "computed", "measured", "assumed")
    source = Source(
        field=fields.text("field"),
        figure=fields.text("figure"),
        source=fields.text("source"),
        status=cast(
            "Literal['read', 'memory', 'computed', 'measured', 'assumed']",
            fields.choice("status", statuses),
        ),
    )
    fields.finish()
    return source


def _read_tile_latency(fields: Fields) -> TileLatency:
    row = TileLatency(
        model=fields.text("model"),
        sha256=fields.sha256("sha256"),
        tile_px=fields.count("tile_px", minimum=1),
        seconds=fields.number("seconds", above=0),
        host=fields.text("host", ""),
    )
    fields.finish()
    return row
