"""Pixels: what was captured, detected, kept and lost is counted again from the pictures.

Truth and mask of a capture are kept pixel for pixel under the hash of their content. From them
follow cover, confusion, kept blocks under the policy and everything a decision and a product say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from payload.frame import BLOCK_PX, COVER_STEP, NO_DATA, content_sha256
from simulator.telemetry.audit.findings import Finding, RunLog, at, is_pixels
from simulator.telemetry.events import Capture, Decision, Inference, Product
from simulator.telemetry.manifest import RunFolderError

COVER_TOLERANCE = COVER_STEP / 2 + 1e-9
"""Covers are rounded to `COVER_STEP`."""

PRUNING_POLICIES = ("prune", "prioritise", "reschedule", "oracle")
NO_COVER = -1.0


@dataclass(frozen=True)
class Blocks:
    """Pixels of each block of an image, row-major: clear, cloud; int64 arrays of one shape."""

    clear: NDArray[np.int64]
    cloud: NDArray[np.int64]

    @property
    def valid(self) -> NDArray[np.int64]:
        """Pixels of each block that are one or the other."""
        return self.clear + self.cloud

    @property
    def cover(self) -> NDArray[np.float64]:
        """Cloud fraction of each block; 1 for one without a valid pixel."""
        return np.where(self.valid > 0, self.cloud / np.maximum(self.valid, 1), 1.0)

    @property
    def frame_cover(self) -> float:
        """Cloud fraction of the whole image, rounded as a detector reports it."""
        cloud, valid = int(self.cloud.sum()), int(self.valid.sum())
        return _quantised(cloud / valid) if valid else 1.0


def check_pixels(log: RunLog) -> Iterator[Finding]:
    """Count every picture again and hold captures, inferences and decisions against it."""
    pictures = _Pictures(log)
    inferences = {row.capture: row for row in log.inferences}
    decisions = {row.capture: row for row in log.decisions}
    previewed = {row.capture for row in log.products if not is_pixels(row)}
    for capture in log.captures:
        try:
            truth = pictures.truth(capture.truth_sha256)
            yield from _capture(capture, truth)
            inference = inferences.get(capture.capture)
            if inference is not None:
                yield from _inference(capture, inference, pictures)
            decision = decisions.get(capture.capture)
            if decision is not None:
                yield from _decision(log, capture, inference, decision, truth, pictures)
                product = log.product_by_capture.get(capture.capture)
                if product is not None:
                    yield from _product(decision, product, held=capture.capture in previewed)
        except RunFolderError as error:
            yield Finding(at(capture), str(error))


def _capture(row: Capture, truth: Blocks) -> Iterator[Finding]:
    clear, cloud = int(truth.clear.sum()), int(truth.cloud.sum())
    if (row.clear_px, row.cloud_px) != (clear, cloud):
        yield Finding(at(row), f"the truth has {clear} clear and {cloud} cloud pixels")
    if not _is_cover(row.cover, clear, cloud):
        yield Finding(at(row), f"cover {row.cover} is not that of the truth")


def _inference(capture: Capture, row: Inference, pictures: _Pictures) -> Iterator[Finding]:
    seen = row.status == "ok"
    if seen != bool(row.mask_sha256) or seen != bool(row.block_cover):
        yield Finding(at(row), f"status {row.status} does not go with its mask")
    if not row.mask_sha256:
        if (row.cover_detected, row.clear_px, row.cloud_px) != (NO_COVER, 0, 0):
            yield Finding(at(row), "there is no mask, but pixels were seen")
        return
    mask = pictures.mask(row.mask_sha256)
    if not _is_cover(row.cover_detected, int(mask.clear.sum()), int(mask.cloud.sum())):
        yield Finding(at(row), f"cover_detected {row.cover_detected} is not that of the mask")
    covers = np.asarray(row.block_cover)
    if covers.shape != mask.cover.shape or np.any(np.abs(covers - mask.cover) > COVER_TOLERANCE):
        yield Finding(at(row), "block_cover is not that of the mask")
    counted = pictures.confusion(capture.truth_sha256, row.mask_sha256)
    written = (row.clear_px, row.cloud_px, row.clear_px_called_cloud, row.cloud_px_called_cloud)
    if written != counted:
        yield Finding(at(row), f"pixels seen and called cloud are {written}, counted {counted}")


def _decision(
    log: RunLog,
    capture: Capture,
    inference: Inference | None,
    row: Decision,
    truth: Blocks,
    pictures: _Pictures,
) -> Iterator[Finding]:
    policy = log.scenario["autonomy"]["policy"]
    blocks = len(truth.clear)
    kept = _kept_blocks(log, capture, inference, truth, pictures)
    if (row.policy, row.blocks, row.kept_blocks) != (policy, blocks, kept):
        yield Finding(
            at(row), f"{policy} keeps blocks {kept} of {blocks}, the row says {row.kept_blocks}"
        )
    if row.blocks_kept != len(row.kept_blocks):
        yield Finding(
            at(row), f"blocks_kept is {row.blocks_kept}, {len(row.kept_blocks)} are named"
        )
    raw_share = capture.bytes * row.blocks_kept // blocks
    kept_bytes = min(raw_share, sum(row.block_bytes)) if row.block_bytes else raw_share
    if (row.bytes_raw, row.bytes_kept) != (capture.bytes, kept_bytes):
        yield Finding(at(row), f"{row.bytes_kept} of {row.bytes_raw} bytes for {row.blocks_kept}")
    perfect = _perfect_blocks(log, capture, truth)
    wrongly = sorted(set(perfect) - set(row.kept_blocks))
    region = region_of(log, capture.satellite)
    expected = {
        "region_px": _sum(truth.clear, region) + _sum(truth.cloud, region),
        "clear_px": capture.clear_px,
        "cloud_px": capture.cloud_px,
        "clear_px_kept": _sum(truth.clear, row.kept_blocks),
        "cloud_px_kept": _sum(truth.cloud, row.kept_blocks),
        "clear_px_perfect": _sum(truth.clear, perfect),
        "clear_px_false_discard": _sum(truth.clear, wrongly),
    }
    for name, count in expected.items():
        if getattr(row, name) != count:
            yield Finding(at(row), f"{name} is {getattr(row, name)}, counted {count}")
    if row.cover_true != capture.cover:
        yield Finding(at(row), f"cover_true is {row.cover_true}, the capture says {capture.cover}")
    if row.cover_detected != _detected(policy, capture, inference, truth):
        yield Finding(at(row), f"cover_detected {row.cover_detected} is not what was detected")
    if row.action != _action(policy, capture, inference, row, len(region)):
        yield Finding(at(row), f"action is {row.action!r} for {row.blocks_kept} of {blocks} blocks")


def _product(decision: Decision, row: Product, *, held: bool) -> Iterator[Finding]:
    """A product is what was decided, and at once unless a preview went before it."""
    written = (row.bytes, row.blocks, row.clear_px, row.cloud_px)
    decided = (
        decision.bytes_kept,
        decision.blocks_kept,
        decision.clear_px_kept,
        decision.cloud_px_kept,
    )
    if written != decided or row.t_s < decision.t_s or (row.t_s > decision.t_s and not held):
        yield Finding(
            at(row),
            f"bytes, blocks, pixels are {written}, decided {decided} at {decision.t_s:.3f} s",
        )


def region_of(log: RunLog, satellite: str) -> tuple[int, ...]:
    """Blocks that overlap the region of interest, one by one by their edges in metres."""
    imager = log.sections[satellite]["imager"]
    height, width = imager["frame_px"]
    asked_km = log.scenario.get("data_handling", {}).get("region_of_interest_km")
    half_m = (math.inf, math.inf) if asked_km is None else [500.0 * km for km in asked_km]
    columns = -(-width // BLOCK_PX)
    region = []
    for block in range(-(-height // BLOCK_PX) * columns):
        inside = []
        for place, size, half in zip(divmod(block, columns), (height, width), half_m, strict=True):
            low_m = (place * BLOCK_PX - size / 2) * imager["gsd_m"]
            high_m = (min((place + 1) * BLOCK_PX, size) - size / 2) * imager["gsd_m"]
            inside.append(low_m < half and high_m > -half)
        if all(inside):
            region.append(block)
    return tuple(region)


def _kept_blocks(
    log: RunLog,
    capture: Capture,
    inference: Inference | None,
    truth: Blocks,
    pictures: _Pictures,
) -> tuple[int, ...]:
    """What the policy keeps of a frame, from the detection that was written down."""
    autonomy = log.scenario["autonomy"]
    everything = region_of(log, capture.satellite)
    if not capture.stored:
        return ()
    if autonomy["policy"] == "oracle":
        return _perfect_blocks(log, capture, truth)
    if autonomy["policy"] == "bent_pipe" or inference is None or not inference.block_cover:
        return everything
    if autonomy["policy"] == "discard":
        valid_px = pictures.mask(inference.mask_sha256).valid
        cover = _region_cover(inference.cover_detected, inference.block_cover, valid_px, everything)
        return everything if cover <= autonomy["max_cloud_fraction"] else ()
    limit = autonomy["block_cloud_fraction"]
    return tuple(i for i in everything if inference.block_cover[i] <= limit)


def _perfect_blocks(log: RunLog, capture: Capture, truth: Blocks) -> tuple[int, ...]:
    """What the policy would keep with a perfect mask."""
    autonomy = log.scenario["autonomy"]
    everything = region_of(log, capture.satellite)
    if not capture.stored:
        return ()
    covers = [_quantised(cover) for cover in truth.cover.tolist()]
    if autonomy["policy"] == "discard":
        cover = _region_cover(truth.frame_cover, covers, truth.valid, everything)
        return everything if cover <= autonomy["max_cloud_fraction"] else ()
    if autonomy["policy"] not in PRUNING_POLICIES:
        return everything
    limit = autonomy["block_cloud_fraction"]
    return tuple(i for i in everything if covers[i] <= limit)


def _region_cover(
    whole: float, covers: Sequence[float], valid_px: NDArray[np.int64], region: tuple[int, ...]
) -> float:
    """Cover of the region of interest: that of the frame, or of its blocks' valid pixels."""
    if len(region) == len(covers):
        return whole
    region_px = int(valid_px[list(region)].sum())
    cloud_px = math.fsum(covers[i] * int(valid_px[i]) for i in region)
    return _quantised(cloud_px / region_px) if region_px else 1.0


def _detected(policy: str, capture: Capture, inference: Inference | None, truth: Blocks) -> float:
    if policy == "oracle" and capture.stored:
        return truth.frame_cover
    return NO_COVER if inference is None else inference.cover_detected


def _action(
    policy: str,
    capture: Capture,
    inference: Inference | None,
    row: Decision,
    region_blocks: int,
) -> str:
    if not capture.stored:
        return "overflow"
    unseen = inference is None or not inference.block_cover
    if unseen and policy not in ("bent_pipe", "oracle"):
        return "keep_unprocessed"
    if row.blocks_kept == 0:
        return "drop"
    return "keep" if row.blocks_kept == region_blocks else "prune"


def _sum(counts: NDArray[np.int64], blocks: tuple[int, ...] | list[int]) -> int:
    return int(counts[[i for i in blocks if i < len(counts)]].sum())


def _quantised(cover: float) -> float:
    return round(round(cover / COVER_STEP) * COVER_STEP, 2)


def _is_cover(cover: float, clear_px: int, cloud_px: int) -> bool:
    valid_px = clear_px + cloud_px
    return abs(cover - (cloud_px / valid_px if valid_px else 1.0)) <= COVER_TOLERANCE


class _Pictures:
    """Pictures of a run, counted once each."""

    def __init__(self, log: RunLog) -> None:
        self._run = log.run
        self.truth = lru_cache(maxsize=None)(self._truth)
        self.mask = lru_cache(maxsize=None)(self._mask)
        self.confusion = lru_cache(maxsize=None)(self._confusion)

    def _truth(self, sha256: str) -> Blocks:
        classes = _genuine(self._run.truth(sha256), "truth", sha256)
        return _count(np.isin(classes, (0, 3)), np.isin(classes, (1, 2)))

    def _mask(self, sha256: str) -> Blocks:
        mask = _genuine(self._run.mask(sha256), "mask", sha256)
        return _count(mask == 0, (mask != 0) & (mask != NO_DATA))

    def _confusion(self, truth_sha256: str, mask_sha256: str) -> tuple[int, int, int, int]:
        classes, mask = self._run.truth(truth_sha256), self._run.mask(mask_sha256)
        clear, cloud = np.isin(classes, (0, 3)), np.isin(classes, (1, 2))
        called = mask == 1
        return (
            int(clear.sum()),
            int(cloud.sum()),
            int((clear & called).sum()),
            int((cloud & called).sum()),
        )


def _genuine(image: NDArray[np.uint8], kind: str, sha256: str) -> NDArray[np.uint8]:
    if content_sha256(image) != sha256:
        raise RunFolderError(f"the {kind} image {sha256[:12]} is not what its hash says")
    return image


def _count(clear: NDArray[np.bool_], cloud: NDArray[np.bool_]) -> Blocks:
    """Pixels per block, by padding to whole blocks and summing over them."""
    height, width = clear.shape
    padding = ((0, -height % BLOCK_PX), (0, -width % BLOCK_PX))

    def per_block(raster: NDArray[np.bool_]) -> NDArray[np.int64]:
        padded = np.pad(raster, padding)
        rows, columns = padded.shape[0] // BLOCK_PX, padded.shape[1] // BLOCK_PX
        blocks = padded.reshape(rows, BLOCK_PX, columns, BLOCK_PX)
        return np.asarray(blocks.sum(axis=(1, 3), dtype=np.int64).ravel())

    return Blocks(per_block(clear), per_block(cloud))
