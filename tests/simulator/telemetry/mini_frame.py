"""The life of one frame of the mini mission on board: glance, plan, capture, mask, decision."""

from __future__ import annotations

import numpy as np
from mini_ledgers import Ledgers
from mini_mission import (
    BLOCK_BYTES,
    DECIDE_S,
    EDGE_PX,
    EXPOSURE_S,
    IMAGER_W,
    LATENCY_S,
    LOOK_AHEAD_W,
    PAYLOAD_W,
    SATELLITE,
    Shot,
)
from numpy.typing import NDArray

from payload.frame import content_sha256
from simulator.telemetry import events as ev
from simulator.telemetry.host_events import HostInference
from simulator.telemetry.run_folder import RunWriter


def glance(writer: RunWriter, ledgers: Ledgers, shot: Shot) -> None:
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


def image(writer: RunWriter, ledgers: Ledgers, shot: Shot, *, slew_deg: float) -> None:
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
        HostInference(
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


def _blocks(raster: NDArray[np.bool_]) -> list[int]:
    return [
        int(raster[r : r + 256, c : c + 256].sum())
        for r in range(0, EDGE_PX, 256)
        for c in range(0, EDGE_PX, 256)
    ]
