"""The smallest memory each committed model flies in, per kind of cage.

Run from the repository's root::

    python tests/evidence/hil_caps.py [--models a,b] [--edge 1024] [--step 1]

A model flies under a cap if a caged payload starts and answers two different frames with a mask.
The smallest such cap is found by bisection to `step` MiB; one step below it, the run that died is
shown with its exit signal. Kinds of cage that this machine does not allow are named with the
reason. Under `rlimit` a short peak while the model is loaded is sampled in one run and missed in
another, so its figure is a bound of what was seen, not an edge.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

import numpy as np

from payload.card import list_cards
from payload.frame import Frame
from payload.limits import CAGE_KINDS, CageError, CageKind, CageLimits, open_cage
from payload.link.conversation import Timeouts
from payload.link.settings import LinkError, PayloadSettings
from payload.link.subprocess import SubprocessLink

TIMEOUTS = Timeouts(answer_s=5.0, frame_s=60.0, reconnect_s=1.0)


@dataclasses.dataclass(frozen=True)
class Flight:
    """What became of two frames under a cap."""

    flies: bool
    detail: str
    log: str
    peak_mib: float


def fly(model: str, kind: CageKind, cap_mib: float, frames: list[Frame]) -> Flight:
    """Have two frames processed under a cap."""
    settings = PayloadSettings(model, "host", memory_limit_mib=cap_mib)
    try:
        link = SubprocessLink(settings, CageLimits(memory_mib=cap_mib), kind, TIMEOUTS)
    except LinkError as error:
        return Flight(False, str(error), "", 0.0)
    try:
        results = [link.process(frame) for frame in frames]
        log = link.health().detail
    finally:
        link.close()
    failed = [result for result in results if result.status != "ok"]
    detail = f"{failed[0].status}: {failed[0].detail}" if failed else ""
    return Flight(not failed, detail, log, link.peak_mib)


def smallest_cap(model: str, kind: CageKind, frames: list[Frame], step: int) -> dict[str, Any]:
    """Bisect the smallest cap, MiB."""
    low, high = 8, 16
    flown = fly(model, kind, high, frames)
    while not flown.flies:
        low, high = high, high * 2
        if high > 4096:
            return {"smallest_mib": None, "reason": flown.detail}
        flown = fly(model, kind, high, frames)
    died = fly(model, kind, low, frames)
    while high - low > step:
        middle = (low + high) // 2
        flight = fly(model, kind, middle, frames)
        if flight.flies:
            high, flown = middle, flight
        else:
            low, died = middle, flight
    return {
        "smallest_mib": high,
        "peak_mib": round(flown.peak_mib, 1),
        "below": {"cap_mib": low, "outcome": died.detail, "log": died.log},
    }


def main() -> None:
    """Find and print the caps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    committed = ",".join(card.name for card in list_cards() if not card.package)
    parser.add_argument("--models", default=committed)
    parser.add_argument("--edge", type=int, default=1024)
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    shape = (4, options.edge, options.edge)
    frames = [Frame(f"f{n}", generator.random(shape, dtype=np.float32)) for n in range(2)]
    report: dict[str, Any] = {"frame_px": options.edge, "step_mib": options.step}
    for kind in CAGE_KINDS:
        try:
            open_cage(CageLimits(memory_mib=64), kind).close()
        except CageError as error:
            report[kind] = str(error)
            continue
        report[kind] = {
            model: smallest_cap(model, kind, frames, options.step)
            for model in options.models.split(",")
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
