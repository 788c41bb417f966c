"""Measuring a live payload and writing what was found as a device profile.

Tiles that the payload has not seen are sent one by one, then in frames of four; the difference of
the two medians gives time per tile and per frame. Times are the board's own (`host_latency_s`),
so the line does not count. Flight charges active power for all of that time, a frame's own time
included: active power is therefore energy by time of whole frames, where the board has a meter.
Without one, power cannot be measured over a link: like memory and idle power it is taken from a
base profile and keeps its word for where it comes from.

The speed on networks is the time per tile turned round, as long as arithmetic is what takes the
time. A model of hardly any arithmetic says nothing of it: its own time is kept, and the speed for
others is taken from the base profile.
"""

from __future__ import annotations

import dataclasses
import platform
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from payload.card import ModelCard
from payload.device import SECONDS_PER_HOUR, DeviceError, DeviceProfile, read_device
from payload.frame import TILE_PX, Frame, FrameResult, PayloadLink, Provenance
from payload.link.selftest import known_tile

MIN_REPETITIONS = 3
TILES_IN_LARGE_FRAME = 4

LEAST_MACS_PER_PX = 100.0
"""Under this the time of a tile is that of moving pixels about, not of multiplying: the smallest
student has 366 MAC/px, a model that weighs four bands against thresholds about ten."""


class ProfileError(ValueError):
    """A payload cannot be profiled."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured on a board.

    Attributes
    ----------
    tile_s, frame_s : float
        Time per tile, and per frame on top of its tiles.
    peak_memory_mib : float
        Of the payload process.
    memory_provenance : {"measured", "modelled", "declared"}
        In-process it is the card's figure.
    active_power_w : float or None
        Mean over whole frames, where the board has a meter.
    repetitions : int
    """

    tile_s: float
    frame_s: float
    peak_memory_mib: float
    memory_provenance: Provenance
    active_power_w: float | None
    repetitions: int


def measure_payload(link: PayloadLink, repetitions: int = 10) -> Measurement:
    """Time a live payload on tiles it has not seen.

    Raises
    ------
    ProfileError
        If there are too few repetitions, or the payload fails on a tile.
    """
    if repetitions < MIN_REPETITIONS:
        raise ProfileError(
            f"repetitions is {repetitions}, at least {MIN_REPETITIONS} are needed for a median"
        )
    _process(link, _fresh_frame(-1, 1))  # The first run pays for what is loaded lazily.
    small = [_process(link, _fresh_frame(n, 1)) for n in range(repetitions)]
    large = [
        _process(link, _fresh_frame(repetitions + n, TILES_IN_LARGE_FRAME))
        for n in range(repetitions)
    ]
    one_s = statistics.median(result.host_latency_s for result in small)
    many_s = statistics.median(result.host_latency_s for result in large)
    tile_s = (many_s - one_s) / (TILES_IN_LARGE_FRAME - 1)
    if tile_s <= 0:
        raise ProfileError(
            f"a frame of {TILES_IN_LARGE_FRAME} tiles took {many_s:.4f} s, one tile {one_s:.4f} s; "
            "the machine is too busy to be measured: try again, or with more repetitions"
        )
    largest = max((*small, *large), key=lambda result: result.peak_memory_mib)
    return Measurement(
        tile_s=tile_s,
        frame_s=max(0.0, one_s - tile_s),
        peak_memory_mib=largest.peak_memory_mib,
        memory_provenance=largest.memory_provenance,
        active_power_w=_metered_power_w(large),
        repetitions=repetitions,
    )


def profile_device(
    link: PayloadLink, card: ModelCard, base: DeviceProfile, name: str, repetitions: int = 10
) -> dict[str, Any]:
    """The device profile of a live board, as a mapping in the order of the file's format.

    Parameters
    ----------
    link : PayloadLink
        The live payload; it must fly the card's model.
    card : ModelCard
    base : DeviceProfile
        Where idle power, memory and, without a meter, active power come from; and the speed,
        where the model cannot show it.
    name : str
        Name of the new profile.

    Raises
    ------
    ProfileError
        If the payload flies another model, or cannot be measured; if nothing tells a speed.
    """
    capabilities = link.describe()
    if capabilities.model_sha256 != card.sha256:
        raise ProfileError(
            f"the payload flies {capabilities.model} ({capabilities.model_sha256[:16]}), the card "
            f"is of {card.name} ({card.sha256[:16]}); name the model that is served"
        )
    _require_arithmetic(card, base)
    found = measure_payload(link, repetitions)
    active_w, power_source = _active_power(found, base)
    speed, speed_sources = _speed(found, card, base)
    where = f"over link {capabilities.link}, onnxruntime {_version(capabilities.versions)}"
    method = f"median of {found.repetitions} frames of 1 and of {TILES_IN_LARGE_FRAME} tiles"
    return {
        "name": name,
        "description": f"Measured by profile-device with {card.name}; "
        f"{'power and speed' if speed_sources else 'power'} from {base.name}.",
        "idle_power_w": base.idle_power_w,
        "active_power_w": active_w,
        "memory_mib": base.memory_mib,
        **speed,
        "overhead_s_per_frame": round(found.frame_s, 6),
        "tile_latency_s": [
            {
                "model": card.name,
                "sha256": card.sha256,
                "tile_px": TILE_PX,
                "seconds": round(found.tile_s, 6),
                "host": f"{platform.machine()} {platform.system()}, {where}"
                if capabilities.link in ("inprocess", "subprocess")
                else f"the board, {where}",
            }
        ],
        "sources": [
            {
                "field": "tile_latency_s, overhead_s_per_frame"
                if speed_sources
                else "gmac_s, tile_latency_s, overhead_s_per_frame",
                "figure": f"{found.tile_s:.6f} s per tile, {found.frame_s:.6f} s per frame",
                "source": f"{method}, model {card.name}, {where}; "
                f"peak memory {found.peak_memory_mib:.1f} MiB ({found.memory_provenance})",
                "status": "measured",
            },
            *speed_sources,
            power_source,
            {
                "field": "idle_power_w, memory_mib",
                "figure": f"{base.idle_power_w} W, {base.memory_mib} MiB",
                "source": f"taken over from the device profile {base.name}",
                "status": "assumed",
            },
        ],
    }


def check_profile_path(path: Path) -> None:
    """Whether a profile can be written there; asked before a board is kept busy for it.

    Raises
    ------
    DeviceError
        If the file's name is not that of a profile, or its folder does not exist.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise DeviceError(f"{path}: a device profile is a .yaml file; write {path.stem}.yaml")
    if not path.parent.is_dir():
        raise DeviceError(f"{path}: there is no folder {path.parent}; make it, or name another")


def write_profile(profile: dict[str, Any], path: Path) -> DeviceProfile:
    """Write a profile and read it back, so that what is left behind is usable.

    A profile that was there stays until the new one is whole and valid.

    Raises
    ------
    DeviceError
        If it cannot be written there, the file's stem is not the profile's name, or the profile
        is not valid.
    """
    check_profile_path(path)
    if path.stem != profile["name"]:
        raise DeviceError(
            f"{path}: the file must be called {profile['name']}.yaml, as the profile in it"
        )
    text = yaml.safe_dump(profile, sort_keys=False, allow_unicode=True)
    with TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as aside:
        draft = Path(aside) / path.name
        draft.write_text(text, encoding="utf-8")
        read_device(draft)
        draft.replace(path)
    return read_device(path)


def _metered_power_w(results: list[FrameResult]) -> float | None:
    """Median of the mean power of each frame; None unless all of them were metered."""
    if any(result.energy_provenance != "measured" for result in results):
        return None
    return statistics.median(
        result.energy_wh * SECONDS_PER_HOUR / result.host_latency_s for result in results
    )


def _require_arithmetic(card: ModelCard, base: DeviceProfile) -> None:
    """Refuse, before a board is kept busy, what could give no speed in the end."""
    if card.macs_per_px == 0:
        raise ProfileError(
            f"model {card.name!r}: macs_per_px is 0, from which no speed follows; write into the "
            "card what the graph multiplies for one pixel, or profile with unet-distilled"
        )
    if card.macs_per_px < LEAST_MACS_PER_PX and card.precision not in base.gmac_s:
        raise ProfileError(
            f"model {card.name!r} has {card.macs_per_px:g} MAC/px, too few to show a speed, and "
            f"the device profile {base.name} has none for {card.precision} to take over; give "
            "another --base, or profile with unet-distilled"
        )


def _speed(
    found: Measurement, card: ModelCard, base: DeviceProfile
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Fields of the speed on networks, and where they come from if not from this measurement."""
    if card.macs_per_px >= LEAST_MACS_PER_PX:
        gmac_s = card.macs_per_px * card.computed_px(TILE_PX) / 1e9 / found.tile_s
        return {
            "gmac_s": {card.precision: float(f"{gmac_s:.4g}")},
            "speed_provenance": "measured",
        }, []
    # Speed and time to move a tile were found together, and only together give a time.
    gmac_s, overhead_s = base.gmac_s[card.precision], base.overhead_s_per_tile
    modelled = base.speed_provenance == "measured"
    fields = {
        "gmac_s": {card.precision: gmac_s},
        "speed_provenance": "modelled" if modelled else base.speed_provenance,
        "overhead_s_per_tile": overhead_s,
    }
    source = {
        "field": "gmac_s, overhead_s_per_tile",
        "figure": f"{gmac_s:g} GMAC/s at {card.precision}, {overhead_s:g} s",
        "source": f"taken over from the device profile {base.name}: the {card.macs_per_px:g} "
        f"MAC/px of {card.name} are too few to show a speed",
        "status": "assumed",
    }
    return fields, [source]


def _active_power(found: Measurement, base: DeviceProfile) -> tuple[float, dict[str, str]]:
    if found.active_power_w is None:
        source = {
            "field": "active_power_w",
            "figure": f"{base.active_power_w} W",
            "source": f"taken over from the device profile {base.name}; no meter on board",
            "status": "assumed",
        }
        return base.active_power_w, source
    source = {
        "field": "active_power_w",
        "figure": f"{found.active_power_w:.3f} W",
        "source": f"energy meter of the board, divided by time, median of {found.repetitions} "
        f"frames of {TILES_IN_LARGE_FRAME} tiles",
        "status": "measured",
    }
    return max(round(found.active_power_w, 3), base.idle_power_w), source


def _fresh_frame(number: int, tiles: int) -> Frame:
    """A frame of so many tiles that no cache has seen: its ground has a shade of its own."""
    shades = [1.0 + 0.001 * (number * TILES_IN_LARGE_FRAME + tile + 8) for tile in range(tiles)]
    pixels = np.concatenate([known_tile(shade).reflectance for shade in shades], axis=2)
    return Frame(f"profile-{number}-{tiles}", pixels)


def _process(link: PayloadLink, frame: Frame) -> FrameResult:
    result = link.process(frame)
    if result.status != "ok":
        raise ProfileError(f"the payload failed on a tile: {result.status}, {result.detail}")
    return result


def _version(versions: dict[str, str]) -> str:
    return versions.get("onnxruntime", "unknown")
