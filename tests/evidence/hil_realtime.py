"""Ten simulated minutes at factor 1: how late are events, and is any deadline missed?

Run from the repository's root::

    python tests/evidence/hil_realtime.py [--scenario FILE] [--minutes 10] [--factor 1]

The mission starts shortly before the first capture of the scenario, so that the payload has work;
it flies in a caged child with measured timing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from simulator.mission import run_mission
from simulator.scenario import load_scenario

LEAD_S = 60.0


def fly(options: argparse.Namespace, **changes: Any) -> Path:
    """Fly the scenario with changes to its top level and its payload section."""
    payload = {"model": options.model, **changes.pop("payload", {})}
    changes.update({f"satellites.*.payload.{field}": value for field, value in payload.items()})
    out = Path(tempfile.mkdtemp(prefix="hil-pace-"))
    return run_mission(load_scenario(options.scenario, changes), out)


def main() -> None:
    """Find the first captures, fly through them in real time, print lateness."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=Path("scenarios/first_light.yaml"))
    parser.add_argument("--model", default="unet-distilled")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--factor", type=float, default=1)
    options = parser.parse_args()
    scout = fly(options, duration_h=6)
    first_s = pq.read_table(scout / "events/capture.parquet").column("t_s")[0].as_py()
    epoch = load_scenario(options.scenario).epoch
    run = fly(
        options,
        epoch=(epoch + timedelta(seconds=max(first_s - LEAD_S, 0.0))).isoformat(),
        duration_h=options.minutes / 60,
        payload={
            "link": "subprocess",
            "timing": "measured",
            "pace": "realtime",
            "realtime_factor": options.factor,
        },
    )
    inference = pq.read_table(run / "events/inference.parquet").to_pylist()
    host_run = pq.read_table(run / "host_events/run.parquet").to_pylist()
    print(
        json.dumps(
            {
                "simulated_minutes": options.minutes,
                "mission_wall_s": [row["wall_s"] for row in host_run if row["phase"] == "mission"],
                "lateness": pq.read_table(run / "host_events/pace.parquet").to_pylist(),
                "frames": dict(Counter(row["status"] for row in inference)),
                "latency_s": [round(row["latency_s"], 3) for row in inference],
                "provenance": sorted({row["provenance"] for row in inference}),
                "load_average": os.getloadavg(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
