"""Ten simulated minutes at factor 1: how late are events, and is any deadline missed?

Run from the repository's root::

    python tests/evidence/hil_realtime.py [--scenario FILE] [--minutes 10] [--factor 1]

The mission starts shortly before the first capture of the scenario, so that the payload has work;
it flies in a caged child with measured timing.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import timedelta
from pathlib import Path

from hil_rig import fly, report, rows, statuses

from simulator.scenario import load_scenario

LEAD_S = 60.0

SCOUT_H = 6.0
"""Long enough for a first capture."""


def main() -> None:
    """Find the first captures, fly through them in real time, print lateness."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=Path("scenarios/first_light.yaml"))
    parser.add_argument("--model", default="unet-distilled")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--factor", type=float, default=1)
    options = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="hil-pace-"))
    model = {"model": options.model}
    scout = fly(options.scenario, out, model, duration_h=SCOUT_H)
    first_s = rows(scout, "events/capture")[0]["t_s"]
    start = load_scenario(options.scenario).epoch + timedelta(seconds=max(first_s - LEAD_S, 0.0))
    pace = {"pace": "realtime", "realtime_factor": options.factor}
    run = fly(
        options.scenario,
        out,
        {**model, "link": "subprocess", "timing": "measured", **pace},
        epoch=start.isoformat(),
        duration_h=options.minutes / 60,
    )
    inference = rows(run, "events/inference")
    phases = rows(run, "host_events/run")
    report(
        {
            "simulated_minutes": options.minutes,
            "mission_wall_s": [row["wall_s"] for row in phases if row["phase"] == "mission"],
            "lateness": rows(run, "host_events/pace"),
            "frames": statuses(run),
            "latency_s": [round(row["latency_s"], 3) for row in inference],
            "provenance": sorted({row["provenance"] for row in inference}),
        }
    )


if __name__ == "__main__":
    main()
