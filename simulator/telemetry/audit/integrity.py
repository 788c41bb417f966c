"""Integrity: the files are those the writer left, and they are all there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from simulator.telemetry.audit.findings import Finding, RunLog
from simulator.telemetry.events import EVENT_TYPES
from simulator.telemetry.host_events import HOST_EVENT_TYPES
from simulator.telemetry.manifest import RunFolderError
from simulator.telemetry.run_folder import METRICS_NAME, TEXT_FILES, TRACK_NAME, file_records

EXPECTED_FILES = (
    *TEXT_FILES,
    METRICS_NAME,
    TRACK_NAME,
    *(f"events/{name}.parquet" for name in EVENT_TYPES),
    *(f"host_events/{name}.parquet" for name in HOST_EVENT_TYPES),
)


def check_integrity(log: RunLog) -> Iterator[Finding]:
    """Compare every file with what the manifest recorded when the run completed."""
    manifest = log.run.manifest
    found = file_records(log.run.path)
    for name in sorted({*manifest.files, *EXPECTED_FILES} - found.keys()):
        yield Finding(name, "the file is missing")
    for name in sorted(found.keys() - manifest.files.keys()):
        yield Finding(name, "the file is not in the manifest")
    for name in sorted(found.keys() & manifest.files.keys()):
        recorded, present = manifest.files[name], found[name]
        if recorded.rows != present.rows:
            yield Finding(name, f"{present.rows} rows, {recorded.rows} when the run completed")
        elif recorded.sha256 != present.sha256:
            yield Finding(name, "the content is not what it was when the run completed")


def check_schema(log: RunLog) -> Iterator[Finding]:
    """Open every event file: columns, types and order of time."""
    read = {f"events/{name}": log.run.events for name in EVENT_TYPES}
    read |= {f"host_events/{name}": log.run.host_events for name in HOST_EVENT_TYPES}
    for path, reader in read.items():
        try:
            times = reader(path.split("/")[1])["t_s"].to_numpy()
        except RunFolderError as error:
            yield Finding(path, str(error))
            continue
        if (times[1:] < times[:-1]).any():
            yield Finding(path, "rows are not in order of time")
        if len(times) and not 0.0 <= times[0] <= times[-1] <= log.run.manifest.duration_s:
            yield Finding(path, "a row lies outside the mission")


def check_inputs(log: RunLog) -> Iterator[Finding]:
    """The scenario is the one the manifest names."""
    manifest = log.run.manifest
    if hashlib.sha256(log.run.scenario_yaml.encode()).hexdigest() != manifest.scenario_sha256:
        yield Finding("scenario.yaml", "it is not the scenario of this run")
    for name, value in (("name", manifest.name), ("seed", manifest.seed)):
        if log.scenario[name] != value:
            yield Finding("manifest.json", f"{name} is {value!r}, the scenario's is another")
    if log.scenario["duration_h"] * 3600.0 != manifest.duration_s:
        yield Finding(
            "manifest.json", f"duration_s is {manifest.duration_s}, the scenario's is not"
        )
