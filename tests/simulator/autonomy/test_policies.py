"""The policy table of the design, row by row."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from payload.frame import BLOCK_PX
from simulator.autonomy.policies import (
    POLICIES,
    SATISFYING_FIRST,
    Detection,
    Rank,
    Thresholds,
    count_blocks,
    judge,
    not_shown_clear,
    rank,
    region_cover,
    satisfies,
    total,
    truth_detection,
)

LIMITS = Thresholds(max_cloud_fraction=0.7, block_cloud_fraction=0.5, target_cloud_fraction=0.2)
FULL_PX = np.full((2, 2), BLOCK_PX**2)
HALF = Detection(0.5, np.array([[0.0, 0.4], [0.6, 1.0]]), FULL_PX)
ALL = (0, 1, 2, 3)
OVERCAST = Detection(0.71, np.full((2, 2), 0.71), FULL_PX)
SIX_PLACES = 5e-7
"""Shares that are not shown clear are rounded to six places."""


@pytest.mark.parametrize(
    ("policy", "action", "kept"),
    [
        ("bent_pipe", "keep", (0, 1, 2, 3)),
        ("discard", "keep", (0, 1, 2, 3)),
        ("prune", "prune", (0, 1)),
        ("prioritise", "prune", (0, 1)),
        ("reschedule", "prune", (0, 1)),
        ("oracle", "prune", (0, 1)),
    ],
)
def test_half_a_frame_of_cloud(policy, action, kept):
    verdict = judge(POLICIES[policy], LIMITS, HALF, ALL)
    assert (verdict.action, verdict.kept_blocks) == (action, kept)


@pytest.mark.parametrize("policy", ["discard", "prune", "reschedule", "oracle"])
def test_an_overcast_frame_is_dropped(policy):
    assert judge(POLICIES[policy], LIMITS, OVERCAST, ALL).action == "drop"


def test_cover_at_the_limit_is_kept():
    at_limit = Detection(0.7, np.full((2, 2), 0.5), FULL_PX)
    assert judge(POLICIES["discard"], LIMITS, at_limit, ALL).action == "keep"
    assert judge(POLICIES["prune"], LIMITS, at_limit, ALL).action == "keep"


@pytest.mark.parametrize("policy", ["discard", "prune", "prioritise", "reschedule"])
def test_without_a_mask_everything_is_kept(policy):
    verdict = judge(POLICIES[policy], LIMITS, None, ALL)
    assert (verdict.action, verdict.kept_blocks) == ("keep_unprocessed", (0, 1, 2, 3))


def test_each_policy_adds_one_thing():
    traits = list(POLICIES.values())
    steps = [
        sum(getattr(a, name) != getattr(b, name) for name in type(a).__dataclass_fields__)
        for a, b in pairwise(traits[2:])
    ]
    assert steps == [1, 1, 1]


def test_truth_counts_thin_cloud_as_cloud_and_shadow_as_clear():
    truth = np.zeros((2 * BLOCK_PX, 2 * BLOCK_PX), dtype=np.uint8)
    truth[:BLOCK_PX, :BLOCK_PX] = 1
    truth[:BLOCK_PX, BLOCK_PX:] = 2
    truth[BLOCK_PX:, :BLOCK_PX] = 3
    truth[BLOCK_PX:, BLOCK_PX:] = 255
    counts = count_blocks(truth)
    block = BLOCK_PX**2
    assert [(c.clear_px, c.cloud_px) for c in counts] == [
        (0, block),
        (0, block),
        (block, 0),
        (0, 0),
    ]
    assert total(counts, (1, 2)).clear_px == block
    assert truth_detection(truth).cover == pytest.approx(0.67)


def test_rank_is_oldest_first_unless_the_policy_ranks():
    def place(policy, captured_s, not_clear, deadline_s=None, priority=1.0):
        return rank(
            POLICIES[policy],
            captured_s=captured_s,
            not_clear=not_clear,
            limit=0.2,
            priority=priority,
            due_s=deadline_s,
            deadline_s=deadline_s,
        ).at(captured_s)

    assert place("prune", 10.0, 0.0) > place("prune", 20.0, 0.0)
    assert place("prioritise", 10.0, 0.1) > place("prioritise", 5.0, 0.2)
    assert place("prioritise", 0.0, 0.1, deadline_s=3600.0) > place("prioritise", 0.0, 0.1)
    assert (
        place("prioritise", 0.0, 0.1)
        > place("prioritise", 0.0, None)
        > place("prioritise", 0.0, 0.9)
    )

    assert place("prioritise", 0.0, 0.19) > place("prioritise", 0.0, 0.21, priority=100.0)


def test_rank_grows_towards_the_deadline_and_falls_behind_at_it():
    def place(t_h, deadline_h=72.0, priority=1.0):
        due_s = deadline_h and deadline_h * 3600.0
        clear = Rank(0.9 * priority, satisfying=True, due_s=due_s, deadline_s=due_s)
        return clear.at(t_h * 3600.0)

    assert place(0.0) == place(24.0) == place(24.0, deadline_h=None)
    assert place(24.0) < place(48.0) < place(71.9)
    assert place(48.0) - SATISFYING_FIRST == pytest.approx(1.5 * 0.9)
    assert place(72.0) == 0.9 < Rank(1.0).at(0.0)
    period = Rank(0.9, satisfying=True, due_s=3600.0)
    assert period.at(7200.0) == period.at(3600.0) == SATISFYING_FIRST + 1.8


def test_dropped_blocks_are_not_shown_clear():
    def shown(policy, detection):
        kept = judge(POLICIES[policy], LIMITS, detection, ALL).kept_blocks
        return not_shown_clear(kept, detection, ALL)

    assert shown("prune", HALF) == pytest.approx(1.0 - (1.0 + 0.6) / 4)
    assert shown("discard", HALF) == pytest.approx(0.5)
    assert shown("prune", OVERCAST) == 1.0


def test_only_the_region_of_interest_is_judged_and_kept():
    right = (1, 3)
    assert judge(POLICIES["bent_pipe"], LIMITS, None, right).kept_blocks == right
    assert judge(POLICIES["discard"], LIMITS, HALF, right).action == "keep"
    assert judge(POLICIES["discard"], LIMITS, HALF, (3,)).action == "drop"
    pruned = judge(POLICIES["prune"], LIMITS, HALF, right)
    assert (pruned.action, pruned.kept_blocks) == ("prune", (1,))
    assert judge(POLICIES["prune"], LIMITS, HALF, (0, 1)).action == "keep"
    assert not_shown_clear((1,), HALF, right) == pytest.approx(1.0 - 0.6 / 2)


def half_empty() -> np.ndarray:
    """Truth of 2 x 4 blocks: two columns of them and half the third empty, one corner cloud."""
    truth = np.zeros((2 * BLOCK_PX, 4 * BLOCK_PX), dtype=np.uint8)
    truth[:, : 2 * BLOCK_PX + BLOCK_PX // 2] = 255
    truth[:BLOCK_PX, 3 * BLOCK_PX :] = 1
    return truth


def test_pixels_without_data_are_neither_clear_nor_cloud():
    detection, everything = truth_detection(half_empty()), tuple(range(8))
    kept = judge(POLICIES["oracle"], LIMITS, detection, everything).kept_blocks
    assert kept == (2, 6, 7)
    # Half a block is empty: one of three whole blocks is cloud, and none of the empty ones is.
    assert not_shown_clear(kept, detection, everything) == pytest.approx(1 / 3, abs=SIX_PLACES)
    counts = count_blocks(half_empty())
    shown, whole = total(counts, kept), total(counts, everything)
    by_truth = 1.0 - shown.clear_px / (whole.clear_px + whole.cloud_px)
    assert not_shown_clear(kept, detection, everything) == pytest.approx(by_truth, abs=SIX_PLACES)


def test_a_region_is_judged_by_its_pixels_with_data():
    detection = truth_detection(half_empty())
    assert region_cover(detection, (0, 1, 2)) == 0.0
    assert region_cover(detection, (2, 3)) == 0.67
    assert not_shown_clear((2,), detection, (0, 1, 2)) == 0.0


def test_where_nothing_has_data_nothing_is_shown_clear():
    detection = truth_detection(half_empty())
    assert region_cover(detection, (0, 1)) == not_shown_clear((), detection, (0, 1)) == 1.0
    assert not_shown_clear((0, 1), detection, (0, 1)) == 1.0


def test_a_target_is_satisfied_strictly_below_its_limit():
    assert satisfies(0.19, 0.2)
    assert not satisfies(0.2, 0.2)
