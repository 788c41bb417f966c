"""The outbox makes room by dropping what ranks lower, if that is enough, and else drops nothing."""

from __future__ import annotations

import numpy as np
import pytest
import simpy

from simulator.autonomy.policies import POLICIES, Detection, PixelCount, Thresholds
from simulator.scenario import StorageQuota
from simulator.scenario.targets import Target
from simulator.spacecraft.outbox import Outbox
from simulator.spacecraft.radio import DownlinkQueue
from simulator.spacecraft.storage import Storage
from simulator.spacecraft.taken import FramePolicy, Taken

CAPACITY_BYTES = 100


class NobodyAsks:
    """A desk that notes what was lost."""

    def __init__(self) -> None:
        self.gone: list[str] = []

    def lost(self, taken: Taken) -> None:
        """A frame or product was lost for lack of storage."""
        self.gone.append(taken.capture)


def taken(capture: str) -> Taken:
    target = Target(name=capture, latitude_deg=0.0, longitude_deg=0.0)
    counts, truth = (PixelCount(1, 0),), Detection(0.0, np.zeros(1), np.ones(1, int))
    return Taken(capture, target, None, 0, 1, 0.0, 0.0, counts, truth, (0,))


@pytest.fixture(params=[(), (StorageQuota(max_priority=1, fraction=1.0),)], ids=["free", "quota"])
def full(request: pytest.FixtureRequest) -> tuple[Outbox, NobodyAsks]:
    """30 bytes of a cloudy product and 60 of a clear one in 100."""
    queue, desk = DownlinkQueue(), NobodyAsks()
    storage = Storage(CAPACITY_BYTES, lambda _: None)
    policy = FramePolicy("reschedule", POLICIES["reschedule"], Thresholds(0.7, 0.5, 0.2))
    outbox = Outbox(
        simpy.Environment(),
        "neph-1",
        policy,
        request.param,
        storage,
        queue,
        desk=desk,
        to_radio=queue.add,
        log=lambda _: None,
    )
    for capture, size_bytes, not_clear in (("cloudy", 30, 0.9), ("clear", 60, 0.0)):
        storage.admit(capture, size_bytes)
        outbox.keep(taken(capture), (0,), size_bytes, not_clear, None)
    return outbox, desk


def test_what_ranks_lower_goes_for_a_frame_that_then_fits(full: tuple[Outbox, NobodyAsks]) -> None:
    outbox, desk = full
    assert outbox.make_room(taken("new"), 40) == ""
    assert desk.gone == ["cloudy"]


def test_nothing_goes_for_a_frame_that_does_not_fit_even_so(
    full: tuple[Outbox, NobodyAsks],
) -> None:
    outbox, desk = full
    assert "full" in outbox.make_room(taken("new"), 50)
    assert desk.gone == []
