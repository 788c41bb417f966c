"""What a month of four satellites and 500 targets costs to simulate.

Run from the repository's root::

    python tests/evidence/month_of_four.py [--days 30] [--model threshold]

Processor time is printed beside wall time: on a quiet machine the two are close, on a busy one
only the first says something.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from simulator.mission import run_mission
from simulator.scenario import Scenario, load_scenario
from simulator.telemetry.run_folder import RunFolder

SATELLITES = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly the month and print its cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--model", default="threshold")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        scenario = month(Path(folder), asked.days, asked.model)
        processor_s, wall_s = time.process_time(), time.perf_counter()
        run = RunFolder.open(run_mission(scenario, Path(folder)))
        processor_s = time.process_time() - processor_s
        wall_s = time.perf_counter() - wall_s
        metrics = run.metrics()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{asked.days:g} days, {SATELLITES} satellites, {metrics['targets']} targets: "
        f"{processor_s:.1f} s processor, {wall_s:.1f} s wall, {peak_mib:.0f} MiB at most; "
        f"{metrics['captures']} captures, {metrics['passes']} passes, "
        f"{metrics['model_calls']} inferences"
    )


def month(folder: Path, days: float, model: str) -> Scenario:
    """Four planes an hour apart over both bundled sets of targets and two stations."""
    base = load_scenario("first_light")
    features = []
    for name in ("world_200", "world_300"):
        path = base.folder / "targets" / f"{name}.geojson"
        features += json.loads(path.read_text(encoding="utf-8"))["features"]
    for number, feature in enumerate(features):
        feature["properties"]["name"] = f"t{number:03d}"
    targets = folder / "targets.geojson"
    targets.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    section = base.satellites[0].model_dump(mode="json", exclude_none=True)
    satellites = [
        section
        | {
            "name": f"neph-{plane + 1}",
            "orbit": {"sun_synchronous": {"altitude_km": 510, "ltan_h": 9.0 + plane}},
        }
        for plane in range(SATELLITES)
    ]
    return load_scenario(
        "first_light",
        {
            "satellites": satellites,
            "targets": str(targets),
            "duration_h": 24 * days,
            "ground.stations": ["matera", "svalsat"],
            "satellites.*.payload.model": model,
        },
    )


if __name__ == "__main__":
    main()
