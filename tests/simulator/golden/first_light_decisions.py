"""The golden log of first_light: each capture and what was decided about it, as CSV.

Run from the repository's root after a change that is meant to change behaviour, and say in the
commit why it does::

    python tests/simulator/golden/first_light_decisions.py

Times are rounded to 10 ms and cover is quantised by the payload, so that the log agrees between
processors although ONNX Runtime promises no equal bits.
"""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

from simulator.mission import run_mission
from simulator.scenario import load_scenario
from simulator.telemetry.run_folder import RunFolder

GOLDEN = Path(__file__).with_suffix(".csv")

COLUMNS = (
    "capture", "t_s", "target", "attempt", "scene", "cover_detected", "action", "kept_blocks",
    "delivered_s",
)  # fmt: skip


def decision_log(run: RunFolder) -> str:
    """The log of a run as CSV text."""
    captures = {row["capture"]: row for row in run.events("capture").to_pylist()}
    delivered = {
        row["capture"]: row["end_s"]
        for row in run.events("downlink").to_pylist()
        if row["complete"]
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in run.events("decision").to_pylist():
        capture = captures[row["capture"]]
        end_s = delivered.get(row["capture"])
        writer.writerow(
            [
                row["capture"],
                f"{capture['t_s']:.2f}",
                capture["target"],
                capture["attempt"],
                capture["scene"],
                f"{row['cover_detected']:.2f}",
                row["action"],
                " ".join(map(str, row["kept_blocks"])),
                "" if end_s is None else f"{end_s:.1f}",
            ]
        )
    return text.getvalue()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        flown = RunFolder.open(run_mission(load_scenario("first_light"), Path(scratch)))
        GOLDEN.write_text(decision_log(flown), encoding="utf-8")
        print(f"{GOLDEN}: {len(GOLDEN.read_text().splitlines()) - 1} decisions")
