"""Run folders of the mini mission (`mini_mission`): whole, empty, or under way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from simulator.telemetry import events as ev
from simulator.telemetry.host_events import HostRun
from simulator.telemetry.manifest import Manifest
from simulator.telemetry.metrics import compute_metrics
from simulator.telemetry.run_folder import RunFolder, RunWriter

# Tests are imported without their folder on the path; what the mission is built of lies in it.
sys.path.append(str(Path(__file__).parent))

from mini_contact import antennas, contact
from mini_frame import glance, image
from mini_ledgers import Ledgers
from mini_mission import (
    DURATION_S,
    PASSES_S,
    SATELLITE,
    mini_manifest,
    shots,
    write_mini_files,
)


def write_mini_events(writer: RunWriter) -> None:
    """Write every event of the mini mission, in time order."""
    ledgers = Ledgers(writer)
    writer.write(
        ev.Eclipse(t_s=500.0, satellite=SATELLITE, start_s=500.0, end_s=510.0, kind="penumbra")
    )
    antennas(writer)
    ledgers.power(0.0, "start")
    pointing_deg = 0.0
    for shot in shots():
        if shot.name == "c4":
            glance(writer, ledgers, shot)
        image(writer, ledgers, shot, slew_deg=abs(shot.off_nadir_deg - pointing_deg))
        pointing_deg = shot.off_nadir_deg
        if shot.name == "c3":
            contact(writer, ledgers, PASSES_S[0], [("c1", "A", 2, 2), ("c2", "A", 4, 4)])
    writer.write(
        ev.Uplink(
            t_s=16000.0,
            satellite=SATELLITE,
            station="matera",
            targets=("A",),
            periods=(0,),
            requested=(),
            released=(),
            reason="tasking was ready",
        )
    )
    contact(writer, ledgers, PASSES_S[1], [("c4", "B", 3, 1)])
    writer.write(
        ev.Fault(
            t_s=18000.0,
            satellite=SATELLITE,
            kind="payload_outage",
            component="payload",
            capture="",
            end_s=19800.0,
            detail="switched off by the scenario",
        )
    )
    ledgers.power(DURATION_S, "end")


def build_mini_run(folder: Path, *, eventful: bool = True) -> RunFolder:
    """Write the mini mission to `folder`, or one of the same frame in which nothing happened."""
    with RunWriter(folder, manifest=mini_manifest()) as writer:
        write_mini_files(writer)
        if eventful:
            write_mini_events(writer)
            writer.write(
                HostRun(t_s=DURATION_S, satellite="", phase="total", wall_s=2.0, rss_mib=300.0)
            )
        writer.seal()
        writer.complete(compute_metrics(RunFolder.open(folder)).to_dict())
    return RunFolder.open(folder)


@pytest.fixture
def mini_run(tmp_path: Path) -> RunFolder:
    """The mini mission as a complete run folder."""
    return build_mini_run(tmp_path / "mini")


@pytest.fixture(scope="session")
def build_run_once() -> Callable[[Path], RunFolder]:
    """The builder of the mini mission."""
    return build_mini_run


@pytest.fixture
def empty_run() -> Callable[[Path], RunFolder]:
    """The builder of a mission in which nothing happens."""
    return partial(build_mini_run, eventful=False)


@pytest.fixture
def manifest() -> Manifest:
    """A manifest that starts now in this process."""
    return mini_manifest()


@pytest.fixture(scope="session")
def manifest_once() -> Manifest:
    """A manifest for tests that make many runs."""
    return mini_manifest()


@pytest.fixture
def fill_run() -> Callable[[RunWriter], None]:
    """Writes the files and events of the mini mission into an open writer."""

    def fill(writer: RunWriter) -> None:
        write_mini_files(writer)
        write_mini_events(writer)

    return fill
