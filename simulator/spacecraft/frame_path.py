"""The path of a frame on board: exposed, admitted, detected, judged, handed to the outbox.

Each step hands one value to the next and writes one event; a later step never changes an earlier
value. What a step means for the plan (image again) and for the ground (news to learn) is told to
the `TargetDesk`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
import simpy
from numpy.typing import NDArray

from payload.frame import content_sha256
from simulator.autonomy.policies import (
    Detection,
    PixelCount,
    Verdict,
    block_valid_px,
    cloud_mask,
    count_blocks,
    judge,
    not_shown_clear,
    total,
    truth_detection,
)
from simulator.environment.frames import CapturedPixels
from simulator.ground.screening import Screened
from simulator.scenario import Imager
from simulator.scenario.targets import Target
from simulator.spacecraft.computer import Job, Outcome
from simulator.spacecraft.handling import Handling
from simulator.spacecraft.imaging import Exposure
from simulator.spacecraft.outbox import Outbox
from simulator.spacecraft.storage import MIB, Storage
from simulator.spacecraft.taken import FramePolicy, PictureBook, PixelSource, Taken, TargetDesk
from simulator.telemetry.events import Capture, Decision, Event, Inference
from simulator.telemetry.host_events import HostInference

Screen = Callable[[CapturedPixels], tuple[Screened, NDArray[np.uint8] | None]]
"""What the ground's model says of a frame, and its mask the first time."""

NO_COVER = -1.0
"""Written in place of a detected cover where there was no mask."""


@dataclass(frozen=True)
class _Seen:
    """What the payload saw: its mask, the mask's hash, and the cover it means."""

    mask: NDArray[np.uint8]
    sha256: str
    detection: Detection


class FramePath:
    """Takes exposures of one satellite to products and on to the ground."""

    def __init__(
        self,
        env: simpy.Environment,
        satellite: str,
        imager: Imager,
        policy: FramePolicy,
        handling: Handling,
        storage: Storage,
        outbox: Outbox,
        *,
        pixels: PixelSource,
        screen: Screen | None,
        pictures: PictureBook,
        desk: TargetDesk,
        to_payload: Callable[[Job], None],
        log: Callable[[Event], None],
    ) -> None:
        self._env, self._satellite, self._imager = env, satellite, imager
        self._policy, self._handling = policy, handling
        self._storage, self._outbox = storage, outbox
        self._pixels, self._pictures, self._desk = pixels, pictures, desk
        self._screen, self._to_payload, self._log = screen, to_payload, log
        self._taken: dict[str, Taken] = {}
        self._exposures = 0
        self._seen: dict[str, tuple[tuple[PixelCount, ...], Detection]] = {}
        self._called: dict[tuple[str, str], tuple[int, int, int, int]] = {}

    # 1. Exposure -----------------------------------------------------------------------------

    def expose(
        self,
        exposure: Exposure,
        target: Target,
        deadline_s: float | None,
        *,
        attempt: int,
        reacquisition: bool,
    ) -> None:
        """A frame is on the sensor: give it pixels, write it down, admit it to storage."""
        planned, period = exposure.planned, exposure.planned.period
        cover, pixels = self._pixels(target, planned.capture_s)
        counts, truth = self._truth_of(pixels)
        self._exposures += 1
        capture = f"{self._satellite}-{self._exposures:05d}"
        taken = Taken(
            capture,
            target,
            deadline_s,
            period,
            attempt,
            planned.capture_s,
            pixels.cover,
            counts,
            truth,
            self._handling.region,
            self._screened(pixels),
        )
        refused = self._outbox.make_room(taken, self._imager.frame_bytes)
        self._pictures(pixels, None, "")  # before its row: who reads the row may look at it
        self._log(
            Capture(
                t_s=planned.capture_s,
                satellite=self._satellite,
                capture=capture,
                target=target.name,
                period=period,
                attempt=attempt,
                reacquisition=reacquisition,
                latitude_deg=target.latitude_deg,
                longitude_deg=target.longitude_deg,
                off_nadir_deg=planned.off_nadir_deg,
                roll_deg=planned.attitude.roll_deg,
                pitch_deg=planned.attitude.pitch_deg,
                slew_deg=exposure.slew_deg,
                slew_start_s=exposure.slew_start_s,
                sun_elevation_deg=planned.sun_elevation_deg,
                weather_cover=cover,
                scene=pixels.scene,
                scene_sha256=pixels.scene_sha256,
                scene_kind=pixels.scene_kind,
                scene_gsd_m=pixels.scene_gsd_m,
                surface=pixels.surface,
                frame_sha256=pixels.frame_sha256,
                truth_sha256=pixels.truth_sha256,
                cover=pixels.cover,
                clear_px=pixels.clear_px,
                cloud_px=pixels.cloud_px,
                gsd_m=self._imager.gsd_m,
                bytes=self._imager.frame_bytes,
                stored=not refused,
            )
        )
        self._storage.admit(
            capture, self._imager.frame_bytes, target.priority, refused=bool(refused)
        )
        if refused:
            self._write_decision(taken, Verdict("overflow", (), refused), None, ())
            self._desk.lost(taken)
        else:
            self._detect(taken, pixels)

    def _screened(self, pixels: CapturedPixels) -> Screened | None:
        """What the ground's model would see, where it has one; its mask is kept once."""
        if self._screen is None:
            return None
        screened, mask = self._screen(pixels)
        if mask is not None:
            self._pictures(pixels, mask, screened.mask_sha256)
        return screened

    def _truth_of(self, pixels: CapturedPixels) -> tuple[tuple[PixelCount, ...], Detection]:
        """Pixel counts and perfect detection of a truth, worked out once for each."""
        key = pixels.truth_sha256
        if key not in self._seen:
            self._seen[key] = (count_blocks(pixels.truth), truth_detection(pixels.truth))
        return self._seen[key]

    # 2. Detection ----------------------------------------------------------------------------

    def _detect(self, taken: Taken, pixels: CapturedPixels) -> None:
        detector = self._policy.traits.detector
        if detector == "model":
            self._taken[taken.capture] = taken
            self._to_payload(Job(taken.capture, taken.target.name, taken.captured_s, pixels))
            return
        if detector == "truth":
            self._decide(taken, pixels, taken.truth, cloud_mask(pixels.truth), "")
        else:
            self._decide(taken, pixels, None, None, "")

    def detected(self, outcome: Outcome) -> None:
        """The payload is done with a frame, or gave it up."""
        taken, result = self._taken.pop(outcome.job.capture), outcome.result
        pixels = outcome.job.pixels
        seen = _seen(outcome)
        if seen is not None:
            self._pictures(pixels, seen.mask, seen.sha256)
        called = (0, 0, 0, 0) if seen is None else self._called_by(seen, pixels)
        self._log(self._inference(taken, outcome, seen, called))
        if result is not None:
            self._log(
                HostInference(
                    t_s=self._env.now,
                    satellite=self._satellite,
                    capture=taken.capture,
                    wall_s=result.host_latency_s,
                    model_calls=result.model_calls,
                    peak_memory_mib=result.peak_memory_mib,
                    memory_provenance=result.memory_provenance,
                    rss_mib=psutil.Process().memory_info().rss / MIB,
                )
            )
        if seen is None:
            self._decide(taken, pixels, None, None, outcome.status)
        else:
            self._decide(taken, pixels, seen.detection, seen.mask, outcome.status)

    def _called_by(self, seen: _Seen, pixels: CapturedPixels) -> tuple[int, int, int, int]:
        """The confusion of a mask with the truth, worked out once for each pair."""
        key = (pixels.truth_sha256, seen.sha256)
        if key not in self._called:
            self._called[key] = _confusion(cloud_mask(pixels.truth), seen.mask)
        return self._called[key]

    def _inference(
        self,
        taken: Taken,
        outcome: Outcome,
        seen: _Seen | None,
        called: tuple[int, int, int, int],
    ) -> Inference:
        result = outcome.result
        return Inference(
            t_s=self._env.now,
            satellite=self._satellite,
            capture=taken.capture,
            status=outcome.status,
            model=result.model if result else "",
            model_sha256=result.model_sha256 if result else "",
            device=result.device if result else "",
            tiles=len(result.tile_sha256) if result else 0,
            tile_sha256=result.tile_sha256 if result else (),
            queued_s=outcome.start_s - taken.captured_s,
            start_s=outcome.start_s,
            latency_s=outcome.busy_s,
            energy_wh=outcome.energy_wh,
            provenance=result.provenance if result else "modelled",
            energy_provenance=result.energy_provenance if result else "modelled",
            mask_sha256=seen.sha256 if seen else "",
            cover_detected=seen.detection.cover if seen else NO_COVER,
            block_cover=tuple(seen.detection.blocks.ravel().tolist()) if seen else (),
            clear_px=called[0],
            cloud_px=called[1],
            clear_px_called_cloud=called[2],
            cloud_px_called_cloud=called[3],
        )

    # 3. Decision -----------------------------------------------------------------------------

    def _decide(
        self,
        taken: Taken,
        pixels: CapturedPixels,
        detection: Detection | None,
        mask: NDArray[np.uint8] | None,
        status: str,
    ) -> None:
        """Judge a frame, book what goes, hand what stays to the outbox."""
        region = taken.region
        verdict = judge(self._policy.traits, self._policy.limits, detection, region)
        if status not in ("", "ok"):
            verdict = Verdict(verdict.action, verdict.kept_blocks, f"{status}: kept whole")
        raw_bytes, kept_raw_bytes = self._imager.frame_bytes, self._raw_bytes(taken, verdict)
        block_bytes = self._handling.block_bytes(pixels, verdict.kept_blocks)
        kept_bytes = self._write_decision(taken, verdict, detection, block_bytes)
        if kept_raw_bytes < raw_bytes:
            self._storage.drop(taken.capture, raw_bytes - kept_raw_bytes, "policy")
        if kept_bytes < kept_raw_bytes:
            self._storage.compress(taken.capture, kept_raw_bytes - kept_bytes)
        kept = verdict.kept_blocks
        not_clear = None if detection is None else not_shown_clear(kept, detection, region)
        if kept_bytes:
            preview = self._handling.preview(pixels, mask, not_clear)
            self._outbox.keep(taken, kept, kept_bytes, not_clear, preview)
        self._desk.looked(taken, not_clear)

    def _raw_bytes(self, taken: Taken, verdict: Verdict) -> int:
        """Share of the raw frame that the kept blocks are."""
        return self._imager.frame_bytes * len(verdict.kept_blocks) // len(taken.counts)

    def _write_decision(
        self,
        taken: Taken,
        verdict: Verdict,
        detection: Detection | None,
        block_bytes: tuple[int, ...],
    ) -> int:
        """Write the decision down; returns the bytes that are kept.

        A frame that storage could not hold is nobody's decision: a perfect mask would not have
        kept any of it either.
        """
        counts, blocks = taken.counts, len(taken.counts)
        traits, limits = self._policy.traits, self._policy.limits
        perfect = judge(traits, limits, taken.truth, taken.region).kept_blocks
        if verdict.action == "overflow":
            perfect = ()
        everything = total(counts, taken.all_blocks)
        kept = total(counts, verdict.kept_blocks)
        wrongly = tuple(sorted(set(perfect) - set(verdict.kept_blocks)))
        kept_bytes = self._raw_bytes(taken, verdict)
        if block_bytes:  # a frame's last block may round down: never more than its raw share
            kept_bytes = min(kept_bytes, sum(block_bytes))
        self._log(
            Decision(
                t_s=self._env.now,
                satellite=self._satellite,
                capture=taken.capture,
                policy=self._policy.name,
                action=verdict.action,
                cover_detected=NO_COVER if detection is None else detection.cover,
                cover_true=taken.cover,
                blocks=blocks,
                blocks_kept=len(verdict.kept_blocks),
                kept_blocks=verdict.kept_blocks,
                region_px=taken.region_px,
                bytes_raw=self._imager.frame_bytes,
                bytes_kept=kept_bytes,
                block_bytes=block_bytes,
                clear_px=everything.clear_px,
                cloud_px=everything.cloud_px,
                clear_px_kept=kept.clear_px,
                cloud_px_kept=kept.cloud_px,
                clear_px_perfect=total(counts, perfect).clear_px,
                clear_px_false_discard=total(counts, wrongly).clear_px,
                reason=verdict.reason,
            )
        )
        return kept_bytes


def _seen(outcome: Outcome) -> _Seen | None:
    """The mask of a frame that was worked off in time."""
    result = outcome.result
    if outcome.status != "ok" or result is None:
        return None
    if result.mask is None or result.block_cover is None:
        return None
    valid_px = block_valid_px(result.mask)
    detection = Detection(result.cover, result.block_cover, valid_px)
    return _Seen(result.mask, content_sha256(result.mask), detection)


def _confusion(truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Clear and cloud pixels of the truth, and how many of each the mask calls cloud."""
    called = mask == 1
    clear, cloud = truth == 0, truth == 1
    return (
        int(clear.sum()),
        int(cloud.sum()),
        int((clear & called).sum()),
        int((cloud & called).sum()),
    )
