"""One scenario in four bodies and their replays: are the event logs the same, byte for byte?

Run from the repository's root::

    python tests/evidence/hil_backends.py [--scenario FILE] [--hours 12] [--model NAME]

Flies the scenario with the payload in-process, in a caged child, over TCP and over a serial line
(two pseudo-terminals joined end to end), then replays each recorded trace under a card whose ONNX
file is gone and with no server running. In the subprocess run the child is also killed in
mid-mission once, with ``kill -9``, to show what that leaves in the log. Last, it flies under a
memory limit that its model does not fit in, and a smaller model flies under the same limit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pty
import select
import shutil
import tempfile
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from hil_rig import fly, report, rows, start_server, statuses

from payload.card_library import load_card


def fly_box(options: argparse.Namespace, out: Path, **payload: Any) -> Path:
    """Fly the scenario with the payload section changed; the run folder."""
    payload = {"model": options.model, "timing": "declared", **payload}
    return fly(options.scenario, out, payload, duration_h=options.hours)


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of every event file."""
    files = sorted((run / "events").glob("*.parquet"))
    return {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def box_log(run: Path) -> list[dict[str, Any]]:
    """What the payload said of itself, from host events."""
    shown = ("t_s", "moment", "enforced", "detail")
    return [{column: row[column] for column in shown} for row in rows(run, "host_events/payload")]


@contextmanager
def server(options: argparse.Namespace, listen: str) -> Iterator[str]:
    """A payload server in a process of its own; yields the line it says when ready."""
    process, said = start_server(options.model, listen, options.device)
    try:
        yield said
    finally:
        process.kill()
        process.wait()


@contextmanager
def joined_terminals() -> Iterator[tuple[str, str]]:
    """Two pseudo-terminals joined end to end; yields their device names."""
    pairs = [pty.openpty() for _ in range(2)]
    for pair in pairs:
        for descriptor in pair:
            tty.setraw(descriptor)
    masters = [pair[0] for pair in pairs]

    def carry() -> None:
        while True:
            ready, _, _ = select.select(masters, [], [])
            for source in ready:
                data = os.read(source, 4096)
                target = masters[1 - masters.index(source)]
                while data:
                    data = data[os.write(target, data) :]

    threading.Thread(target=carry, daemon=True).start()
    yield os.ttyname(pairs[0][1]), os.ttyname(pairs[1][1])


def kill_once(out: Path, after_frames: int) -> None:
    """Kill the caged child of this process, with SIGKILL, once it has answered so many frames."""

    def answered() -> int:
        traces = out.glob("*/trace/*/trace.jsonl")
        return sum(max(len(trace.read_bytes().splitlines()) - 1, 0) for trace in traces)

    def wait_and_kill() -> None:
        while answered() < after_frames:
            time.sleep(0.01)
        for child in psutil.Process().children(recursive=True):
            if "payload.link.serve" in " ".join(child.cmdline()):
                child.kill()

    threading.Thread(target=wait_and_kill, daemon=True).start()


def card_without_model(model: str, folder: Path) -> str:
    """A copy of a model's card beside which no ONNX file lies."""
    card = load_card(model)
    source = card.folder / f"{card.name}.yaml"
    shutil.copyfile(source, folder / source.name)
    return str(folder / source.name)


def main() -> None:
    """Fly, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=Path("scenarios/first_light.yaml"))
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--model", default="unet-distilled")
    parser.add_argument("--device", default="myriad2")
    parser.add_argument("--small-model", default="unet-distilled-int8")
    parser.add_argument("--small-limit-mib", type=float, default=98)
    parser.add_argument("--kill-after-frames", type=int, default=10)
    options = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="hil-backends-"))
    runs = {"inprocess": fly_box(options, out, link="inprocess")}
    runs["subprocess"] = fly_box(options, out, link="subprocess")
    with server(options, "tcp://127.0.0.1:0") as line:
        runs["tcp"] = fly_box(options, out, link=line.split(" on ")[1].split(",")[0])
    with joined_terminals() as (board, here), server(options, f"serial://{board}?baud=921600"):
        runs["serial"] = fly_box(options, out, link=f"serial://{here}?baud=921600")
    expected = digests(runs["inprocess"])
    found: dict[str, Any] = {"frames": statuses(runs["inprocess"]), "events": {}, "replays": {}}
    bare_card = card_without_model(options.model, out)
    for name, run in runs.items():
        found["events"][name] = digests(run) == expected
        for trace in sorted((run / "trace").glob("*")):
            replay = fly_box(options, out, link=f"replay:{trace}", model=bare_card)
            found["replays"][name] = digests(replay) == expected
    kill_once(out / "killed", options.kill_after_frames)
    killed = fly_box(options, out / "killed", link="subprocess")
    found["killed"] = {"frames": statuses(killed), "log": box_log(killed)}
    capped = fly_box(options, out, link="subprocess", memory_limit_mib=options.small_limit_mib)
    found["capped"] = {"frames": statuses(capped), "log": box_log(capped)[:4]}
    small = fly_box(
        options,
        out,
        link="subprocess",
        model=options.small_model,
        memory_limit_mib=options.small_limit_mib,
    )
    found["capped_small_model"] = {"frames": statuses(small), "log": box_log(small)[:2]}
    report(found)


if __name__ == "__main__":
    main()
