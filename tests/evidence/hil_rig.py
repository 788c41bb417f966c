"""The test rig of the `hil_*` proofs: what is carried to a payload, and the ways to one.

A proof makes frames with `noise_frames`, reaches a payload by `start_server` and `local_link` or
has a whole mission fly with `fly`, and says what it found with `report`, which adds the machine and
how busy it was.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from payload.frame import Frame
from payload.link.client import WireLink
from payload.link.conversation import Timeouts
from payload.link.tcp import TCP_PART_BYTES, connect_tcp
from payload.training.profiling import host_name
from simulator.mission import run_mission
from simulator.scenario import load_scenario

LOOPBACK = "127.0.0.1"


def noise_frames(count: int, edge_px: int) -> list[Frame]:
    """Frames of random pixels, no two alike."""
    generator = np.random.default_rng(0)
    shape = (4, edge_px, edge_px)
    return [Frame(f"f{n}", generator.random(shape, dtype=np.float32)) for n in range(count)]


def start_server(
    model: str, listen: str, device: str = "host"
) -> tuple[subprocess.Popen[str], str]:
    """Start a payload server in a process of its own.

    Returns
    -------
    process : Popen
        To be killed by the caller.
    said : str
        The line it printed when it was ready, with the port it was given.
    """
    command = [sys.executable, "-m", "payload.link.serve", "serve"]
    arguments = [f"--model={model}", f"--device={device}", f"--listen={listen}"]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline() if process.stdout else ""


def local_link(
    port: Callable[[], int], *, timeouts: Timeouts | None = None, key: bytes | None = None
) -> WireLink:
    """A TCP link to a port of this machine, which is asked for anew at each connection."""
    return WireLink(
        "tcp",
        lambda: connect_tcp(LOOPBACK, port()),
        key=key,
        part_bytes=TCP_PART_BYTES,
        timeouts=timeouts,
    )


def fly(scenario: Path, out: Path, payload: Mapping[str, Any], **changes: Any) -> Path:
    """Fly a scenario with fields of its top level and of every payload section changed.

    Returns
    -------
    Path
        The run folder.
    """
    fields = {f"satellites.*.payload.{field}": value for field, value in payload.items()}
    return run_mission(load_scenario(scenario, changes | fields), out)


def rows(run: Path, table: str) -> list[dict[str, Any]]:
    """Rows of a table of a run folder, such as ``events/inference``."""
    return pq.read_table(run / f"{table}.parquet").to_pylist()


def statuses(run: Path) -> dict[str, int]:
    """How many frames ended how."""
    return dict(sorted(Counter(row["status"] for row in rows(run, "events/inference")).items()))


def report(figures: Mapping[str, object], file: Path | None = None) -> None:
    """Print figures as JSON, and write them to a file if one is given."""
    machine = {
        "machine": f"{host_name()}, release {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    text = json.dumps({**machine, **figures}, indent=2)
    print(text)
    if file is not None:
        file.write_text(text + "\n", encoding="utf-8")
