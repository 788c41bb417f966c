"""What to keep and what to send: the six policies, as pure functions of what the payload saw.

Each policy adds one thing to the one above it (`POLICIES`): inference and dropping whole frames
(CloudScout's flown rule), dropping blocks instead, ordering the downlink, re-imaging on board.
``oracle`` is ``reschedule`` with the truth in place of the detector: the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from payload.frame import BLOCK_PX, NO_DATA, block_cover, frame_cover, quantise_cover

CLOUD_CLASSES = (1, 2)
"""Truth classes that count as cloud: thick and thin. Shadow (3) is clear."""

URGENT_WITHIN_H = 48.0
"""A deadline nearer than this raises a product's rank, up to twice at the deadline."""

SATISFYING_FIRST = 1000.0
"""Added to the rank of a product that satisfies its target: above any priority x urgency (200)."""


@dataclass(frozen=True)
class PolicyTraits:
    """What a policy does at each step (the table of policies in ``README.md``)."""

    detector: Literal["none", "model", "truth"]
    drops_frames: bool
    drops_blocks: bool
    ranks_downlink: bool
    telemetry_tasking: bool
    onboard_tasking: bool


POLICIES: dict[str, PolicyTraits] = {
    "bent_pipe": PolicyTraits("none", False, False, False, False, False),
    "discard": PolicyTraits("model", True, False, False, True, False),
    "prune": PolicyTraits("model", False, True, False, True, False),
    "prioritise": PolicyTraits("model", False, True, True, True, False),
    "reschedule": PolicyTraits("model", False, True, True, True, True),
    "oracle": PolicyTraits("truth", False, True, True, True, True),
}


@dataclass(frozen=True)
class Detection:
    """Cloud cover of a frame and of its blocks, from a detector or from truth.

    Attributes
    ----------
    cover : float
        Cloud over the valid pixels of the frame, 0..1; 1 where none is valid.
    blocks : ndarray of float64, shape (rows, columns)
        The same of each block.
    valid_px : ndarray of int64, shape (rows, columns)
        Pixels of each block that hold data. The others are neither clear nor cloud, so that blocks
        count for a region by these.
    """

    cover: float
    blocks: NDArray[np.float64]
    valid_px: NDArray[np.int64]


@dataclass(frozen=True)
class Verdict:
    """What happens to a frame.

    `action` is ``keep``, ``prune``, ``drop``, ``keep_unprocessed`` or ``overflow``.
    """

    action: str
    kept_blocks: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Thresholds:
    """Limits from the scenario's ``autonomy`` section."""

    max_cloud_fraction: float
    block_cloud_fraction: float
    target_cloud_fraction: float


@dataclass(frozen=True)
class PixelCount:
    """Truth-labelled pixels of some blocks, by what they show."""

    clear_px: int
    cloud_px: int


def truth_detection(truth: NDArray[np.uint8]) -> Detection:
    """What a perfect detector would report for a frame with this truth."""
    return mask_detection(cloud_mask(truth))


def mask_detection(mask: NDArray[np.uint8]) -> Detection:
    """What a mask (1 cloud, 0 clear, 255 no data) of shape (H, W) says."""
    return Detection(frame_cover(mask), block_cover(mask), block_valid_px(mask))


def block_valid_px(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels with data in each block of a mask; shape (ceil(H/256), ceil(W/256))."""
    height, width = mask.shape
    valid = mask != NO_DATA
    return np.array(
        [
            [
                np.count_nonzero(valid[top : top + BLOCK_PX, left : left + BLOCK_PX])
                for left in range(0, width, BLOCK_PX)
            ]
            for top in range(0, height, BLOCK_PX)
        ],
        dtype=np.int64,
    )


def cloud_mask(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Truth classes as a mask: 1 cloud (thick or thin), 0 clear, 255 no data; shape kept."""
    mask = np.isin(truth, CLOUD_CLASSES).astype(np.uint8)
    mask[truth == NO_DATA] = NO_DATA
    return mask


def judge(
    traits: PolicyTraits,
    limits: Thresholds,
    detection: Detection | None,
    region: tuple[int, ...],
) -> Verdict:
    """Decide what is kept of a frame.

    Parameters
    ----------
    traits : PolicyTraits
    limits : Thresholds
    detection : Detection or None
        None when there is no mask (no detector, deadline missed, payload fault).
    region : tuple of int
        Blocks of the region of interest: all of the frame, unless it is cropped.

    Returns
    -------
    Verdict
    """
    everything, blocks = region, len(region)
    if traits.detector == "none":
        return Verdict("keep", everything, "policy keeps every frame")
    if detection is None:
        return Verdict("keep_unprocessed", everything, "no mask: kept whole")
    if traits.drops_frames:
        limit, cover = limits.max_cloud_fraction, region_cover(detection, region)
        if cover > limit:
            return Verdict("drop", (), f"cover {cover:.2f} > {limit:g} allowed")
        return Verdict("keep", everything, f"cover {cover:.2f} <= {limit:g} allowed")
    limit, covers = limits.block_cloud_fraction, detection.blocks.ravel()
    kept = tuple(i for i in region if covers[i] <= limit)
    said = f"{blocks - len(kept)} of {blocks} blocks over {limit:g} cloud"
    if not kept:
        return Verdict("drop", (), said)
    return Verdict("keep" if len(kept) == blocks else "prune", kept, said)


def region_cover(detection: Detection, region: tuple[int, ...]) -> float:
    """Cloud over the valid pixels of the region of interest, quantised; 1 where none is valid.

    That of the frame where the region is all of it.
    """
    covers = detection.blocks.ravel()
    if len(region) == len(covers):
        return detection.cover
    inside, valid_px = list(region), detection.valid_px.ravel()
    region_px = int(valid_px[inside].sum())
    if not region_px:
        return 1.0
    return quantise_cover(float(np.sum(covers[inside] * valid_px[inside])) / region_px)


def not_shown_clear(
    kept_blocks: tuple[int, ...], detection: Detection, region: tuple[int, ...]
) -> float:
    """Part of the region that its product does not show clear, as far as the detector can tell.

    Cloud in the kept blocks and all of the dropped ones, over the valid pixels of the region: what
    the ground will find when the detector is right, so it is what decides whether the target needs
    another look. Pixels without data are on neither side, as on the ground and in the metrics;
    where the region has no others nothing is shown clear.
    """
    blocks, valid_px = detection.blocks.ravel(), detection.valid_px.ravel()
    region_px = int(valid_px[list(region)].sum())
    clear_px = sum((1.0 - float(blocks[i])) * int(valid_px[i]) for i in kept_blocks)
    return round(1.0 - clear_px / region_px, 6) if region_px else 1.0


def count_blocks(truth: NDArray[np.uint8]) -> tuple[PixelCount, ...]:
    """Clear and cloud pixels of each block of a truth mask, row-major."""
    mask = cloud_mask(truth)
    height, width = mask.shape
    counts = []
    for top in range(0, height, BLOCK_PX):
        for left in range(0, width, BLOCK_PX):
            block = mask[top : top + BLOCK_PX, left : left + BLOCK_PX]
            counts.append(PixelCount(int((block == 0).sum()), int((block == 1).sum())))
    return tuple(counts)


def total(counts: tuple[PixelCount, ...], blocks: tuple[int, ...]) -> PixelCount:
    """Pixels of the named blocks together."""
    return PixelCount(
        sum(counts[i].clear_px for i in blocks), sum(counts[i].cloud_px for i in blocks)
    )


def satisfies(cover: float, limit: float) -> bool:
    """Whether a frame of this cover satisfies a target with this limit."""
    return cover < limit


@dataclass(frozen=True)
class Rank:
    """Place in the downlink queue, which changes as time runs out: the highest is sent first.

    Attributes
    ----------
    worth : float
        What decides where nothing is urgent.
    satisfying : bool
        Whether the product satisfies its target, and so goes before those that do not.
    due_s : float or None
        When its task's time is over; towards it the product becomes urgent.
    deadline_s : float or None
        When its target's is: from then on it satisfies nobody and nothing about it is urgent.
    """

    worth: float
    satisfying: bool = False
    due_s: float | None = None
    deadline_s: float | None = None

    @property
    def steady(self) -> bool:
        """Whether it is the same at all times."""
        return self.due_s is None and self.deadline_s is None

    def at(self, t_s: float) -> float:
        """The rank at a time."""
        if self.deadline_s is not None and t_s >= self.deadline_s:
            return self.worth
        urgency = 1.0
        if self.due_s is not None:
            left_h = max(self.due_s - t_s, 0.0) / 3600.0
            urgency += max(0.0, 1.0 - left_h / URGENT_WITHIN_H)
        return self.worth * urgency + (SATISFYING_FIRST if self.satisfying else 0.0)


def rank(
    traits: PolicyTraits,
    *,
    captured_s: float,
    not_clear: float | None,
    limit: float,
    priority: float,
    due_s: float | None,
    deadline_s: float | None,
) -> Rank:
    """Place of a frame's pixels in the downlink queue.

    Oldest first for policies without a detector in the loop of the radio. Else products that
    satisfy their target (`not_clear` under its `limit`) go before all others, and within each
    group clear fraction x priority x urgency decides. A frame without a mask is ranked as if half
    clear, so that neither certain cloud goes before it nor certain clarity after it.
    """
    if not traits.ranks_downlink:
        return Rank(-captured_s)
    clear = 0.5 if not_clear is None else 1.0 - not_clear
    satisfying = not_clear is not None and satisfies(not_clear, limit)
    return Rank(clear * priority, satisfying, due_s, deadline_s)
