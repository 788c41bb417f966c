"""The path of a frame on board: exposed, admitted, detected, judged, queued, delivered.

Each step hands one value to the next and writes one event; a later step never changes an earlier
value. What a step means for the plan (image again) and for the ground (news to learn) is told to
the `TargetDesk`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import psutil
import simpy
from numpy.typing import NDArray

from payload.frame import content_sha256
from simulator.autonomy.policies import (
    Detection,
    PixelCount,
    PolicyTraits,
    Thresholds,
    Verdict,
    cloud_mask,
    count_blocks,
    judge,
    not_shown_clear,
    rank,
    total,
    truth_detection,
)
from simulator.environment.pixels import CapturedPixels
from simulator.scenario import Imager
from simulator.scenario.targets import Target
from simulator.spacecraft.computer import Job, Outcome
from simulator.spacecraft.imaging import Exposure
from simulator.spacecraft.radio import DownlinkQueue, QueuedProduct
from simulator.spacecraft.storage import MIB, Storage
from simulator.telemetry.events import Capture, Decision, Event, HostInference, Inference, Product

NO_COVER = -1.0
"""Written in place of a detected cover where there was no mask."""


class PixelSource(Protocol):
    """Weather and scenes together: what a camera over a target would see."""

    def __call__(self, target: Target, t_s: float) -> tuple[float, CapturedPixels]:
        """Weather cover at the target, and the frame it gives."""


class PictureBook(Protocol):
    """Keeps the pictures of captures."""

    def __call__(
        self, pixels: CapturedPixels, mask: NDArray[np.uint8] | None, mask_sha256: str
    ) -> None:
        """Keep frame, truth and mask."""


class TargetDesk(Protocol):
    """Hears what became of each look at a target."""

    def looked(self, taken: Taken, not_clear: float | None) -> None:
        """A frame was judged on board.

        `not_clear` is the part of the frame that its product does not show clear, by the mask;
        None where there was no mask.
        """

    def lost(self, taken: Taken) -> None:
        """A frame or product was lost for lack of storage."""

    def delivered(self, taken: Taken, not_clear: float) -> None:
        """A product reached the ground; `not_clear` is the part of its frame not shown clear."""


@dataclass(frozen=True)
class Taken:
    """A capture as later steps need to know it; without its pixels, which are large."""

    capture: str
    target: Target
    deadline_s: float | None
    period: int
    attempt: int
    captured_s: float
    cover: float
    counts: tuple[PixelCount, ...]
    truth: Detection

    @property
    def all_blocks(self) -> tuple[int, ...]:
        """Every block of the frame."""
        return tuple(range(len(self.counts)))


@dataclass(frozen=True)
class _Seen:
    """What the payload saw: its mask, the mask's hash, and the cover it means."""

    mask: NDArray[np.uint8]
    sha256: str
    detection: Detection


@dataclass(frozen=True)
class FramePolicy:
    """The policy a frame is judged by."""

    name: str
    traits: PolicyTraits
    limits: Thresholds


class FramePath:
    """Takes exposures of one satellite to products and on to the ground."""

    def __init__(
        self,
        env: simpy.Environment,
        satellite: str,
        imager: Imager,
        policy: FramePolicy,
        storage: Storage,
        queue: DownlinkQueue,
        *,
        pixels: PixelSource,
        pictures: PictureBook,
        desk: TargetDesk,
        to_payload: Callable[[Job], None],
        to_radio: Callable[[QueuedProduct], None],
        log: Callable[[Event], None],
    ) -> None:
        self._env, self._satellite, self._imager = env, satellite, imager
        self._policy, self._storage, self._queue = policy, storage, queue
        self._pixels, self._pictures, self._desk = pixels, pictures, desk
        self._to_payload, self._to_radio, self._log = to_payload, to_radio, log
        self._taken: dict[str, Taken] = {}
        self._kept_clear_px: dict[str, int] = {}
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
        )
        self._taken[capture] = taken
        fits = self._make_room(taken)
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
                stored=fits,
            )
        )
        self._storage.admit(capture, self._imager.frame_bytes)
        if fits:
            self._detect(taken, pixels)
        else:
            self._pictures(pixels, None, "")
            self._write_decision(taken, Verdict("overflow", (), "storage is full"), None)
            self._lose(capture)

    def _truth_of(self, pixels: CapturedPixels) -> tuple[tuple[PixelCount, ...], Detection]:
        """Pixel counts and perfect detection of a truth, worked out once for each."""
        key = pixels.truth_sha256
        if key not in self._seen:
            self._seen[key] = (count_blocks(pixels.truth), truth_detection(pixels.truth))
        return self._seen[key]

    def _make_room(self, taken: Taken) -> bool:
        """Whether the frame fits; ranking policies drop what is missed least to let it in."""
        size_bytes = self._imager.frame_bytes
        if self._policy.traits.ranks_downlink:
            hoped = self._rank(taken, None)
            while self._storage.free_bytes < size_bytes:
                least = self._queue.last()
                if least is None or least.rank >= hoped:
                    break
                self._queue.remove(least.capture)
                self._storage.drop(least.capture, least.remaining_bytes, "overflow")
                self._lose(least.capture)
        return self._storage.free_bytes >= size_bytes

    def _lose(self, capture: str) -> None:
        """A frame or product is gone for lack of storage."""
        self._desk.lost(self._taken.pop(capture))

    # 2. Detection ----------------------------------------------------------------------------

    def _detect(self, taken: Taken, pixels: CapturedPixels) -> None:
        detector = self._policy.traits.detector
        if detector == "model":
            self._to_payload(Job(taken.capture, taken.captured_s, pixels))
            return
        self._pictures(pixels, None, "")
        self._decide(taken, taken.truth if detector == "truth" else None, "")

    def detected(self, outcome: Outcome) -> None:
        """The payload is done with a frame, or gave it up."""
        taken, result, pixels = self._taken[outcome.job.capture], outcome.result, outcome.job.pixels
        seen = _seen(outcome)
        self._pictures(pixels, None if seen is None else seen.mask, seen.sha256 if seen else "")
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
        self._decide(taken, None if seen is None else seen.detection, outcome.status)

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

    def _decide(self, taken: Taken, detection: Detection | None, status: str) -> None:
        traits, limits = self._policy.traits, self._policy.limits
        blocks = len(taken.counts)
        verdict = judge(traits, limits, detection, blocks)
        if status not in ("", "ok"):
            verdict = Verdict(verdict.action, verdict.kept_blocks, f"{status}: kept whole")
        raw_bytes = self._imager.frame_bytes
        kept_bytes = self._write_decision(taken, verdict, detection)
        if kept_bytes < raw_bytes:
            self._storage.drop(taken.capture, raw_bytes - kept_bytes, "policy")
        not_clear = None if detection is None else not_shown_clear(verdict, detection)
        if kept_bytes:
            self._queue_product(taken, verdict.kept_blocks, kept_bytes, not_clear)
        else:
            del self._taken[taken.capture]
        self._desk.looked(taken, not_clear)

    def _write_decision(self, taken: Taken, verdict: Verdict, detection: Detection | None) -> int:
        """Write the decision down; returns the bytes that are kept.

        A frame that storage could not hold is nobody's decision: a perfect mask would not have
        kept any of it either.
        """
        counts, blocks = taken.counts, len(taken.counts)
        traits, limits = self._policy.traits, self._policy.limits
        perfect = judge(traits, limits, taken.truth, blocks).kept_blocks
        if verdict.action == "overflow":
            perfect = ()
        everything = total(counts, taken.all_blocks)
        kept = total(counts, verdict.kept_blocks)
        wrongly = tuple(sorted(set(perfect) - set(verdict.kept_blocks)))
        raw_bytes = self._imager.frame_bytes
        kept_bytes = raw_bytes * len(verdict.kept_blocks) // blocks
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
                bytes_raw=raw_bytes,
                bytes_kept=kept_bytes,
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

    # 4. Product ------------------------------------------------------------------------------

    def _queue_product(
        self, taken: Taken, kept_blocks: tuple[int, ...], size_bytes: int, not_clear: float | None
    ) -> None:
        kept = total(taken.counts, kept_blocks)
        product = QueuedProduct(
            f"{taken.capture}-p",
            taken.capture,
            taken.target.name,
            self._rank(taken, not_clear),
            size_bytes,
        )
        self._kept_clear_px[taken.capture] = kept.clear_px
        self._storage.enqueue(taken.capture)
        self._log(
            Product(
                t_s=self._env.now,
                satellite=self._satellite,
                product=product.product,
                capture=taken.capture,
                target=taken.target.name,
                bytes=size_bytes,
                blocks=len(kept_blocks),
                clear_px=kept.clear_px,
                cloud_px=kept.cloud_px,
                priority=taken.target.priority,
                rank_key=product.rank,
            )
        )
        self._to_radio(product)

    def _rank(self, taken: Taken, not_clear: float | None) -> float:
        limits, own = self._policy.limits, taken.target.max_cloud_fraction
        return rank(
            self._policy.traits,
            captured_s=taken.captured_s,
            not_clear=not_clear,
            limit=limits.target_cloud_fraction if own is None else own,
            priority=taken.target.priority,
            deadline_s=taken.deadline_s,
        )

    # 5. Delivery -----------------------------------------------------------------------------

    def delivered(self, product: QueuedProduct) -> None:
        """A product is complete on the ground."""
        taken = self._taken.pop(product.capture)
        frame = total(taken.counts, taken.all_blocks)
        labelled_px = frame.clear_px + frame.cloud_px
        clear_px = self._kept_clear_px.pop(product.capture)
        not_clear = 1.0 - clear_px / labelled_px if labelled_px else 1.0
        self._desk.delivered(taken, not_clear)


def _seen(outcome: Outcome) -> _Seen | None:
    """The mask of a frame that was worked off in time."""
    result = outcome.result
    if outcome.status != "ok" or result is None:
        return None
    if result.mask is None or result.block_cover is None:
        return None
    return _Seen(
        result.mask, content_sha256(result.mask), Detection(result.cover, result.block_cover)
    )


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
