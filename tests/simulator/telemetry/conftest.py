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
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from payload.frame import content_sha256
from simulator.geometry import Orbit
from simulator.telemetry import events as ev
from simulator.telemetry.manifest import Manifest, new_manifest
from simulator.telemetry.metrics import compute_metrics
from simulator.telemetry.orbits import orbits_json
from simulator.telemetry.run_folder import RunFolder, RunWriter

DURATION_S = 21600.0
EDGE_PX = 512
BLOCK_BYTES = 256 * 256 * 6
CAPACITY_WH = 40.0
BUS_W, IMAGER_W, RADIO_W, PAYLOAD_W, IDLE_W = 6.0, 10.0, 5.0, 1.8, 0.2
GENERATION_W = 12.0
EXPOSURE_S = EDGE_PX * 10 / 1000 / 7.0
LATENCY_S = 10.0
LOOK_AHEAD_W, DECIDE_S = 2.0, 15.0
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


def _shots() -> tuple[Shot, ...]:
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


def _blocks(raster: NDArray[np.bool_]) -> list[int]:
    return [
        int(raster[r : r + 256, c : c + 256].sum())
        for r in range(0, EDGE_PX, 256)
        for c in range(0, EDGE_PX, 256)
    ]


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


class Ledgers:
    """Battery and storage of the mini mission, kept while its events are written."""

    def __init__(self, writer: RunWriter) -> None:
        self.writer = writer
        self.t_s, self.charge_wh, self.load_w = 0.0, 0.8 * CAPACITY_WH, BUS_W + IDLE_W
        self.generated = self.consumed = self.curtailed = self.payload = 0.0
        self.payload_w = IDLE_W
        self.bytes = dict.fromkeys(
            ("captured", "sent", "dropped_policy", "dropped_overflow", "dropped_fault"), 0
        )
        self.queued = 0

    def power(self, t_s: float, reason: str, payload_w: float = IDLE_W, **loads_w: float) -> None:
        hours = (t_s - self.t_s) / 3600
        surplus = self.charge_wh + hours * (GENERATION_W - self.load_w)
        self.charge_wh = min(surplus, CAPACITY_WH)
        self.curtailed += surplus - self.charge_wh
        self.generated += hours * GENERATION_W
        self.consumed += hours * self.load_w
        self.payload += hours * self.payload_w
        imager_w, radio_w = loads_w.get("imager_w", 0.0), loads_w.get("radio_w", 0.0)
        look_ahead_w = loads_w.get("look_ahead_w", 0.0)
        self.t_s, self.load_w = t_s, BUS_W + payload_w + imager_w + radio_w + look_ahead_w
        self.payload_w = payload_w
        self.writer.write(
            ev.Power(
                t_s=t_s,
                satellite=SATELLITE,
                charge_wh=self.charge_wh,
                charge_fraction=self.charge_wh / CAPACITY_WH,
                load_w=self.load_w,
                payload_w=payload_w,
                imager_w=imager_w,
                radio_w=radio_w,
                look_ahead_w=look_ahead_w,
                bus_w=BUS_W,
                generation_w=GENERATION_W,
                generated_wh=self.generated,
                consumed_wh=self.consumed,
                curtailed_wh=self.curtailed,
                unserved_wh=0.0,
                payload_wh=self.payload,
                low_power=False,
                reason=reason,
            )
        )

    def storage(self, t_s: float, capture: str, change: str, delta: int) -> None:
        self.bytes[change] += delta
        stored = self.bytes["captured"] - sum(v for k, v in self.bytes.items() if k != "captured")
        self.writer.write(
            ev.Storage(
                t_s=t_s,
                satellite=SATELLITE,
                capacity_bytes=2 * 2**30,
                captured_bytes=self.bytes["captured"],
                derived_bytes=0,
                compressed_bytes=0,
                dropped_released_bytes=0,
                sent_bytes=self.bytes["sent"],
                dropped_policy_bytes=self.bytes["dropped_policy"],
                dropped_overflow_bytes=self.bytes["dropped_overflow"],
                dropped_fault_bytes=self.bytes["dropped_fault"],
                stored_bytes=stored,
                queued_bytes=self.queued,
                capture=capture,
                product=f"p-{capture}" if change == "sent" else "",
                change=change,
                delta_bytes=delta,
                reason=change,
            )
        )


def write_mini_events(writer: RunWriter) -> None:
    """Write every event of the mini mission, in time order."""
    ledgers = Ledgers(writer)
    writer.write(
        ev.Eclipse(t_s=500.0, satellite=SATELLITE, start_s=500.0, end_s=510.0, kind="penumbra")
    )
    ledgers.power(0.0, "start")
    pointing_deg = 0.0
    for shot in _shots():
        if shot.name == "c4":
            _glance(writer, ledgers, shot)
        _image(writer, ledgers, shot, slew_deg=abs(shot.off_nadir_deg - pointing_deg))
        pointing_deg = shot.off_nadir_deg
        if shot.name == "c3":
            _pass(writer, ledgers, 9000.0, [("c1", "A", 2, 2), ("c2", "A", 4, 4)])
    writer.write(
        ev.Uplink(
            t_s=16000.0,
            satellite=SATELLITE,
            station="matera",
            targets=("A",),
            periods=(0,),
            requested=(),
            released=(),
            reason="tasking was ready",
        )
    )
    _pass(writer, ledgers, 16000.0, [("c4", "B", 3, 1)])
    writer.write(
        ev.Fault(
            t_s=18000.0,
            satellite=SATELLITE,
            kind="payload_outage",
            component="payload",
            capture="",
            end_s=19800.0,
            detail="switched off by the scenario",
        )
    )
    ledgers.power(DURATION_S, "end")


def _glance(writer: RunWriter, ledgers: Ledgers, shot: Shot) -> None:
    looked_s = shot.t_s - 75.0
    ledgers.power(looked_s, "look-ahead on", look_ahead_w=LOOK_AHEAD_W)
    ledgers.power(looked_s + DECIDE_S, "look-ahead off")
    writer.write(
        ev.Glance(
            t_s=looked_s + DECIDE_S,
            satellite=SATELLITE,
            target=shot.target,
            period=0,
            latitude_deg=45.0,
            longitude_deg=9.0,
            looked_s=looked_s,
            closest_s=shot.t_s,
            lead_s=75.0,
            roll_deg=0.0,
            pitch_deg=45.0,
            off_nadir_deg=45.0,
            forecast_cover=0.3,
            weather_cover=0.05,
            cover_seen=0.1,
            outcome="seen",
        )
    )


def _image(writer: RunWriter, ledgers: Ledgers, shot: Shot, *, slew_deg: float) -> None:
    clear = np.isin(shot.truth, (0, 3))
    cloud = np.isin(shot.truth, (1, 2))
    called = shot.mask == 1
    covers = [n / 65536 for n in _blocks(called)]
    kept = tuple(i for i, cover in enumerate(covers) if cover <= 0.5)
    perfect = [
        i for i, (c, k) in enumerate(zip(_blocks(clear), _blocks(cloud), strict=True)) if c >= k
    ]
    clear_by_block, cloud_by_block = _blocks(clear), _blocks(cloud)
    t_s, size = shot.t_s, 4 * BLOCK_BYTES
    common = {"satellite": SATELLITE, "capture": shot.name}
    pixels = {"clear_px": int(clear.sum()), "cloud_px": int(cloud.sum())}
    cover_true = round(pixels["cloud_px"] / sum(pixels.values()), 2)
    writer.write(
        ev.Plan(
            t_s=t_s - slew_deg - 5,
            satellite=SATELLITE,
            change="add",
            trigger="start",
            target=shot.target,
            capture_s=t_s,
            expected_value=1.0,
            forecast_cover=0.0,
            planned_captures=1,
            reason="first image",
        )
    )
    ledgers.power(t_s - 10, "imager on", imager_w=IMAGER_W)
    reflectance = np.full((4, EDGE_PX, EDGE_PX), 0.1, dtype=np.float32)
    reflectance[:, cloud] = 0.6
    hashes = {
        "frame_sha256": content_sha256(reflectance),
        "truth_sha256": content_sha256(shot.truth),
    }
    mask_sha256 = content_sha256(shot.mask)
    writer.write_capture_images(
        reflectance=reflectance,
        truth=shot.truth,
        mask=shot.mask,
        mask_sha256=mask_sha256,
        **hashes,
    )
    writer.write(
        ev.Capture(
            t_s=t_s,
            target=shot.target,
            attempt=2 if shot.reacquisition else 1,
            reacquisition=shot.reacquisition,
            latitude_deg=45.0,
            longitude_deg=9.0,
            off_nadir_deg=abs(shot.off_nadir_deg),
            roll_deg=shot.off_nadir_deg,
            pitch_deg=0.0,
            slew_deg=slew_deg,
            slew_start_s=t_s - slew_deg - 5,
            sun_elevation_deg=50.0,
            weather_cover=cover_true,
            scene="l8/x",
            scene_sha256="c" * 64,
            scene_kind="library",
            scene_gsd_m=30.0,
            surface="forest" if shot.target == "A" else "water",
            cover=cover_true,
            gsd_m=10.0,
            bytes=size,
            stored=True,
            **common,
            **pixels,
            **hashes,
        )
    )
    start_s = t_s + EXPOSURE_S
    ready_s = start_s + LATENCY_S
    ledgers.storage(start_s, shot.name, "captured", size)
    ledgers.power(start_s, "inference", payload_w=PAYLOAD_W)
    writer.write(
        ev.Inference(
            t_s=ready_s,
            status="ok",
            model="unet",
            model_sha256="a" * 64,
            device="myriad2",
            tiles=1,
            tile_sha256=(content_sha256(reflectance),),
            queued_s=EXPOSURE_S,
            start_s=start_s,
            latency_s=LATENCY_S,
            energy_wh=PAYLOAD_W * LATENCY_S / 3600,
            provenance="declared",
            energy_provenance="declared",
            clear_px_called_cloud=int((clear & called).sum()),
            cloud_px_called_cloud=int((cloud & called).sum()),
            mask_sha256=mask_sha256,
            cover_detected=round(float(called.mean()), 2),
            block_cover=tuple(covers),
            **common,
            **pixels,
        )
    )
    writer.write(
        ev.HostInference(
            t_s=ready_s,
            wall_s=0.05,
            model_calls=1,
            peak_memory_mib=100.0,
            memory_provenance="measured",
            rss_mib=200.0,
            **common,
        )
    )
    ledgers.power(ready_s, "payload idle")
    wrongly_dropped = [i for i in perfect if i not in kept]
    writer.write(
        ev.Decision(
            t_s=ready_s,
            policy="reschedule",
            action={0: "drop", 4: "keep"}.get(len(kept), "prune"),
            cover_detected=round(float(called.mean()), 2),
            cover_true=cover_true,
            blocks=4,
            blocks_kept=len(kept),
            kept_blocks=kept,
            region_px=sum(pixels.values()),
            block_bytes=(),
            bytes_raw=size,
            bytes_kept=len(kept) * BLOCK_BYTES,
            clear_px_kept=sum(clear_by_block[i] for i in kept),
            cloud_px_kept=sum(cloud_by_block[i] for i in kept),
            clear_px_perfect=sum(clear_by_block[i] for i in perfect),
            clear_px_false_discard=sum(clear_by_block[i] for i in wrongly_dropped),
            reason="blocks over 0.5",
            **common,
            **pixels,
        )
    )
    if len(kept) < 4:
        ledgers.storage(ready_s, shot.name, "dropped_policy", (4 - len(kept)) * BLOCK_BYTES)
    if kept:
        ledgers.queued += len(kept) * BLOCK_BYTES
        writer.write(
            ev.Product(
                t_s=ready_s,
                product=f"p-{shot.name}",
                kind="pixels",
                target=shot.target,
                bytes=len(kept) * BLOCK_BYTES,
                blocks=len(kept),
                clear_px=sum(clear_by_block[i] for i in kept),
                cloud_px=sum(cloud_by_block[i] for i in kept),
                priority=1.0,
                rank_key=1.0,
                **common,
            )
        )


def _pass(
    writer: RunWriter,
    ledgers: Ledgers,
    aos_s: float,
    products: list[tuple[str, str, int, int]],
) -> None:
    """Send (capture, target, blocks, blocks sent) one after the other at 1 Mbit/s."""
    ledgers.power(aos_s, "radio on", radio_w=RADIO_W)
    t_s, sent = aos_s, 0
    learned: list[tuple[str, str, float]] = []
    for capture, target, blocks, blocks_sent in products:
        size = blocks_sent * BLOCK_BYTES
        start_s, t_s = t_s, t_s + size * 8 / 1e6
        sent += size
        writer.write(
            ev.Downlink(
                t_s=t_s,
                satellite=SATELLITE,
                product=f"p-{capture}",
                capture=capture,
                target=target,
                station="matera",
                start_s=start_s,
                end_s=t_s,
                bytes=size,
                remaining_bytes=(blocks - blocks_sent) * BLOCK_BYTES,
                complete=blocks == blocks_sent,
                modcod=(),
            )
        )
        if blocks == blocks_sent:
            learned.append((capture, target, {"c1": 0.5}.get(capture, 0.0)))
        ledgers.queued -= size
        ledgers.storage(t_s, capture, "sent", size)
    los_s = aos_s + 40.0
    writer.write(
        ev.Pass(
            t_s=los_s,
            satellite=SATELLITE,
            station="matera",
            aos_s=aos_s,
            los_s=los_s,
            max_elevation_deg=40.0,
            outcome="used",
            usable_s=40.0,
            transmit_s=t_s - aos_s,
            capacity_bytes=5_000_000,
            bytes=sent,
        )
    )
    for capture, target, cover in learned:
        writer.write(
            ev.Ground(
                t_s=los_s,
                satellite=SATELLITE,
                capture=capture,
                target=target,
                source="downlink",
                cover=cover,
                mask_sha256="",
                satisfied=cover < 0.2,
                tasking_ready_s=-1.0 if cover < 0.2 else los_s + 3600.0,
                answer="",
                answer_ready_s=-1.0,
                reason="downlink",
            )
        )
        if cover < 0.2:
            writer.write(
                ev.Coverage(
                    t_s=los_s,
                    satellite="",
                    area="field",
                    target=target,
                    period=0,
                    frames=2,
                    frames_covered=1,
                    covered_fraction=0.75,
                )
            )
    ledgers.power(los_s, "radio off")


def build_mini_run(folder: Path, *, eventful: bool = True) -> RunFolder:
    """Write the mini mission to `folder`, or one of the same frame in which nothing happened."""
    with RunWriter(folder, manifest=mini_manifest()) as writer:
        write_mini_files(writer)
        if eventful:
            write_mini_events(writer)
            writer.write(
                ev.HostRun(t_s=DURATION_S, satellite="", phase="total", wall_s=2.0, rss_mib=300.0)
            )
        writer.seal()
        writer.complete(compute_metrics(RunFolder.open(folder)).to_dict())
    return RunFolder.open(folder)


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


@pytest.fixture
def mini_run(tmp_path: Path) -> RunFolder:
    """The mini mission as a complete run folder."""
    return build_mini_run(tmp_path / "mini")


@pytest.fixture(scope="session")
def build_run_once() -> Callable[[Path], RunFolder]:
    """The builder of the mini mission."""
    return build_mini_run


@pytest.fixture
def empty_run() -> Callable[[Path], RunFolder]:
    """The builder of a mission in which nothing happens."""
    return partial(build_mini_run, eventful=False)


@pytest.fixture
def manifest() -> Manifest:
    """A manifest that starts now in this process."""
    return mini_manifest()


@pytest.fixture(scope="session")
def manifest_once() -> Manifest:
    """A manifest for tests that make many runs."""
    return mini_manifest()


@pytest.fixture
def fill_run() -> Callable[[RunWriter], None]:
    """Writes the files and events of the mini mission into an open writer."""

    def fill(writer: RunWriter) -> None:
        write_mini_files(writer)
        write_mini_events(writer)

    return fill
