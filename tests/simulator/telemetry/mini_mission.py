"""A mission small enough to check by hand, written as a run folder.

One satellite, three targets, six hours, frames of 512 x 512 px (2 x 2 blocks) at 10 m:

====  ======  ======  ===============================  ==================================
name  target  t_s     truth                            outcome
====  ======  ======  ===============================  ==================================
c1    A       1000    left half cloud                  blocks 1, 3 kept, delivered whole
c2    A       7000    top quarter (128 rows) shadow    all blocks kept, delivered whole
c3    B       8000    all cloud                        dropped
c4    B       14000   clear; detector sees cloud in    blocks 1, 2, 3 kept, half delivered
                      block 0
====  ======  ======  ===============================  ==================================
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import yaml
from numpy.typing import NDArray

from simulator.geometry import Orbit
from simulator.telemetry.manifest import Manifest, new_manifest
from simulator.telemetry.orbits import orbits_json
from simulator.telemetry.run_folder import RunWriter

DURATION_S = 21600.0
EDGE_PX = 512
BLOCK_BYTES = 256 * 256 * 6
CAPACITY_WH = 40.0
BUS_W, IMAGER_W, RADIO_W, PAYLOAD_W, IDLE_W = 6.0, 10.0, 5.0, 1.8, 0.2
GENERATION_W = 12.0
EXPOSURE_S = EDGE_PX * 10 / 1000 / 7.0
LATENCY_S = 10.0
LOOK_AHEAD_W, DECIDE_S = 2.0, 15.0
PASSES_S, PASS_S = (9000.0, 16000.0), 40.0
SATELLITE = "s1"

SCENARIO = {
    "schema": 1,
    "name": "mini",
    "epoch": "2024-06-01T00:00:00Z",
    "duration_h": DURATION_S / 3600,
    "seed": 7,
    "satellites": [
        {
            "name": SATELLITE,
            "orbit": {"sun_synchronous": {"altitude_km": 510, "ltan_h": 10.5}},
            "power": {
                "battery_wh": CAPACITY_WH,
                "initial_fraction": 0.8,
                "panel_area_m2": 0.05,
                "panel_efficiency": 0.28,
                "pointing": "sun",
                "bus_load_w": BUS_W,
                "low_power_fraction": 0.3,
                "recover_fraction": 0.5,
            },
            "storage_gib": 2,
            "imager": {
                "gsd_m": 10,
                "frame_px": [EDGE_PX, EDGE_PX],
                "bands": 4,
                "bit_depth": 12,
                "max_off_nadir_deg": 35,
                "min_sun_elevation_deg": 10,
                "power_w": IMAGER_W,
                "warmup_s": 10,
            },
            "agility": {"slew_rate_deg_s": 1.0, "settle_s": 5},
            "look_ahead": {
                "pitch_deg": 45.0,
                "half_swath_deg": 40.0,
                "decide_s": DECIDE_S,
                "power_w": LOOK_AHEAD_W,
                "cover_sigma": 0.1,
            },
            "radio": {"power_w": RADIO_W, "rate_mbps": 1},
            "payload": {
                "pace": "virtual",
                "power_limit_w": 5,
                "energy_limit_wh_per_orbit": 1.0,
                "frame_deadline_s": 60,
            },
        }
    ],
    "autonomy": {
        "policy": "reschedule",
        "block_cloud_fraction": 0.5,
        "target_cloud_fraction": 0.2,
        "max_attempts": 6,
    },
    "ground": {
        "stations": [
            {"name": "matera", "latitude_deg": 40.65, "longitude_deg": 16.7, "altitude_m": 500}
        ],
        "min_elevation_deg": 10,
        "processing_delay_h": 1,
        "antenna_assignment": "optimal",
    },
    "faults": [{"kind": "payload_outage", "from_h": 5.0, "to_h": 5.5}],
}

REQUIREMENTS = {
    "A": {"area": "field", "area_share": 0.75},
    "B": {"area": "field", "area_share": 0.25},
    "C": {"repeat_days": 0.125},
}
"""A and B are frames of one area; C is wanted every three hours and never seen."""


@dataclass(frozen=True)
class Shot:
    """What the builder needs to know of one capture."""

    name: str
    target: str
    t_s: float
    truth: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    reacquisition: bool
    off_nadir_deg: float


def shots() -> tuple[Shot, ...]:
    """The four captures of the table above."""

    def raster(fill: int = 0) -> NDArray[np.uint8]:
        return np.full((EDGE_PX, EDGE_PX), fill, dtype=np.uint8)

    left_cloud = raster()
    left_cloud[:, :256] = 1
    shadow = raster()
    shadow[:128] = 3
    thin = raster(2)
    clear = raster()
    clear[-1, -1] = 255
    corner_seen = raster()
    corner_seen[:256, :256] = 1
    return (
        Shot("c1", "A", 1000.0, left_cloud, left_cloud.copy(), False, 10.0),
        Shot("c2", "A", 7000.0, shadow, raster(), True, -5.0),
        Shot("c3", "B", 8000.0, thin, raster(1), False, 20.0),
        Shot("c4", "B", 14000.0, clear, corner_seen, True, 0.0),
    )


def mini_manifest(**changes: object) -> Manifest:
    """Manifest of the mini mission."""
    fields = {
        "name": "mini",
        "seed": 7,
        "epoch": "2024-06-01T00:00:00Z",
        "duration_s": DURATION_S,
        "scenario_yaml": yaml.safe_dump(SCENARIO),
        "models": {"unet": "a" * 64},
        "scenes": {"samples": "b" * 64},
    }
    return new_manifest(**{**fields, **changes})  # type: ignore[arg-type]


def write_mini_files(writer: RunWriter) -> None:
    """Write everything of the mini mission but its events."""
    writer.write_text("scenario.yaml", yaml.safe_dump(SCENARIO))
    targets = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [9.0, 45.0]},
                "properties": {"name": name, **REQUIREMENTS.get(name, {})},
            }
            for name in "ABC"
        ],
    }
    writer.write_text("targets.geojson", json.dumps(targets))
    writer.write_text("stations.geojson", json.dumps({**targets, "features": []}))
    orbit = Orbit.from_sun_synchronous(
        datetime(2024, 6, 1, tzinfo=UTC), altitude_km=510, ltan_h=10.5
    )
    writer.write_text("orbits.json", orbits_json({SATELLITE: orbit.satrec}))
    writer.write_track({"t_s": np.arange(3.0), "satellite": [SATELLITE] * 3})
