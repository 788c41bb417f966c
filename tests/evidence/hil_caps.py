"""The smallest memory each committed model flies in, per kind of cage.

Run from the repository's root::

    python tests/evidence/hil_caps.py [--models a,b] [--kinds cgroup-v1,rlimit] [--out FILE]
    python tests/evidence/hil_caps.py --models a --caps 400,60      # what happens under these

A model flies under a cap if a caged payload starts and answers `frames` different frames with a
mask. The smallest such cap is found by bisection to `step` MiB and then has to be flown `flights`
times more; as often as one of these dies the cap is raised by a step, so that what is reported
flew every time. The highest cap at which a flight died is reported with its exit signal.

Before a model's first cage the payload is started once without one: file pages (libraries, the
model) are charged to whoever reads them first, and should not be to some cages and not to others.
Kinds of cage that this machine does not allow are named with the reason. Under `rlimit` resident
memory is sampled, so a peak shorter than 4 ms may be missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

from hil_rig import noise_frames, report

from payload.card import MODELS_DIR
from payload.frame import Frame
from payload.limits import CAGE_KINDS, CageError, CageKind, CageLimits, open_cage
from payload.link.conversation import Timeouts
from payload.link.settings import LinkError, PayloadSettings
from payload.link.subprocess import SubprocessLink


@dataclasses.dataclass(frozen=True)
class Trial:
    """How a model is flown."""

    model: str
    kind: CageKind
    frames: list[Frame]
    timeouts: Timeouts


@dataclasses.dataclass(frozen=True)
class Flight:
    """What became of the frames under a cap."""

    cap_mib: float | None
    flies: bool
    statuses: list[str]
    enforced: str
    outcome: str
    log: str
    peak_mib: float


def fly(trial: Trial, cap_mib: float | None) -> Flight:
    """Have the frames processed under a cap, or without one."""
    settings = PayloadSettings(trial.model, "host", memory_limit_mib=cap_mib)
    kind = None if cap_mib is None else trial.kind
    try:
        link = SubprocessLink(settings, CageLimits(memory_mib=cap_mib), kind, trial.timeouts)
    except LinkError as error:
        return Flight(cap_mib, False, [], trial.kind, str(error), "", 0.0)
    try:
        results = [link.process(frame) for frame in trial.frames]
        health = link.health()
    finally:
        link.close()
    failed = [result for result in results if result.status != "ok"]
    return Flight(
        cap_mib,
        not failed,
        [result.status for result in results],
        link.enforced,
        f"{failed[0].status}: {failed[0].detail}" if failed else "",
        health.detail,
        round(link.peak_mib if cap_mib else health.rss_mib, 1),
    )


def smallest_cap(trial: Trial, step: int, flights: int) -> dict[str, Any]:
    """The smallest cap under which every flight flew, MiB."""
    free = fly(trial, None)
    if not free.flies:
        return {"smallest_mib": None, "reason": free.outcome}
    high = math.ceil(free.peak_mib)
    flown = fly(trial, high)
    while not flown.flies:
        high += 16
        flown = fly(trial, high)
    low, died = 0, None
    while high - low > step:
        middle = (low + high) // 2
        flight = fly(trial, middle)
        if flight.flies:
            high, flown = middle, flight
        else:
            low, died = middle, flight
    flown_times, raised = 0, 0
    while flown_times < flights:
        flight = fly(trial, high)
        if flight.flies:
            flown, flown_times = flight, flown_times + 1
        else:
            died, flown_times, raised = flight, 0, raised + 1
            high += step
    return {
        "smallest_mib": high,
        "flown": flown_times,
        "raised_by_mib": raised * step,
        "peak_mib": flown.peak_mib,
        "resident_without_a_cage_mib": free.peak_mib,
        "died": None if died is None else dataclasses.asdict(died),
    }


def kinds_to_be_had(asked: list[str]) -> tuple[list[CageKind], dict[str, str]]:
    """Those of the kinds asked for that this machine allows, and why not the others."""
    allowed: list[CageKind] = []
    reasons = {}
    for kind in CAGE_KINDS:
        if kind in asked:
            try:
                open_cage(CageLimits(memory_mib=64), kind).close()
                allowed.append(kind)
            except CageError as error:
                reasons[kind] = str(error)
    return allowed, reasons


def main() -> None:
    """Find the caps, say each as it is found, and print or write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    committed = ",".join(path.stem for path in sorted(MODELS_DIR.glob("*.onnx")))
    parser.add_argument("--models", default=committed)
    parser.add_argument("--kinds", default=",".join(CAGE_KINDS))
    parser.add_argument("--caps", help="fly under these, MiB, instead of looking for the smallest")
    parser.add_argument("--edge", type=int, default=1024, help="edge of a frame, px")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--step", type=int, default=1, help="MiB")
    parser.add_argument("--flights", type=int, default=3)
    parser.add_argument("--patience", type=float, default=1.0, help="on slow machines: 10 or more")
    parser.add_argument("--out", type=Path, help="write the report here too")
    options = parser.parse_args()
    frames = noise_frames(options.frames, options.edge)
    patience = options.patience
    timeouts = Timeouts(5.0 * patience, 60.0 * patience, 1.0, 60.0 * patience)
    kinds, reasons = kinds_to_be_had(options.kinds.split(","))
    caps: dict[str, Any] = {
        "frame_px": options.edge,
        "frames": options.frames,
        "step_mib": options.step,
        "not_to_be_had": reasons,
        "models": {},
    }
    for model in options.models.split(","):
        found = caps["models"][model] = {}
        for kind in kinds:
            trial = Trial(model, kind, frames, timeouts)
            if options.caps:
                asked = [float(text) for text in options.caps.split(",")]
                found[kind] = [dataclasses.asdict(fly(trial, cap)) for cap in asked]
                said = ", ".join(f"{f['cap_mib']:g} MiB {f['statuses']}" for f in found[kind])
            else:
                found[kind] = smallest_cap(trial, options.step, options.flights)
                said = f"{found[kind]['smallest_mib']} MiB"
            print(f"{model:28} {kind:10} {said}", file=sys.stderr, flush=True)
    report(caps, options.out)


if __name__ == "__main__":
    main()
