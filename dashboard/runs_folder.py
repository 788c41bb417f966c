"""What lies in the folder of runs: run folders, campaigns, and nothing outside it.

A run is named by its path relative to that folder, and found only by looking the name up in the
listing: a name out of a link can therefore never lead anywhere else. A folder that is a link out
of the runs folder is listed as unreadable, never opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dashboard.scenario_paths import without_paths
from simulator.telemetry import runs as telemetry_runs
from simulator.telemetry.manifest import (
    MANIFEST_NAME,
    Manifest,
    RunFolderError,
    file_sha256,
    read_manifest,
)
from simulator.telemetry.runs import CAMPAIGN_NAME, Setup, how_far, read_scenario


@dataclass(frozen=True)
class FoundRun:
    """One run below the runs folder.

    Attributes
    ----------
    run_id : str
        POSIX path relative to the runs folder; the name in links.
    path : Path
    state : str
        ``complete``, ``running``, ``interrupted``, ``failed``, ``incomplete`` or ``unreadable``.
    detail : str
        Why it is not complete, as a sentence; empty for a complete one.
    manifest : Manifest or None
        None for an unreadable one.
    campaign : str
        The campaign folder it belongs to; empty for a run of its own.
    """

    run_id: str
    path: Path
    state: str
    detail: str
    manifest: Manifest | None
    campaign: str = ""

    @property
    def progress(self) -> float:
        """Simulated share of the mission, 0..1."""
        if self.manifest is None or self.manifest.duration_s <= 0:
            return 0.0
        if self.state == "complete":
            return 1.0
        return min(1.0, self.manifest.progress_s / self.manifest.duration_s)

    @property
    def fingerprint(self) -> str:
        """Changes whenever the run was written to; caches are keyed by it."""
        try:
            status = (self.path / MANIFEST_NAME).stat()
        except OSError:
            return ""
        return _digest(self.path / MANIFEST_NAME, status.st_mtime_ns, status.st_size)


@dataclass(frozen=True)
class Folders:
    """All runs, newest first, and the folders of campaigns by name."""

    root: Path
    runs: tuple[FoundRun, ...]
    campaigns: Mapping[str, Path]

    def run(self, run_id: str) -> FoundRun | None:
        """The run of that name, or None: names are looked up, never joined to a path."""
        return next((run for run in self.runs if run.run_id == run_id), None)


def find_folders(root: Path) -> Folders:
    """List runs and campaigns, at most one folder deep.

    `root` may also be a campaign folder or a single run folder. A folder that does not exist
    holds nothing.
    """
    if (root / MANIFEST_NAME).is_file():
        return Folders(root, (_found(root, root.name, root),), {})
    runs: list[FoundRun] = []
    campaigns = {root.name: root} if (root / CAMPAIGN_NAME).is_file() else {}
    campaign_of_root = root.name if campaigns else ""
    for folder in _subfolders(root):
        if (folder / MANIFEST_NAME).is_file():
            runs.append(_found(folder, folder.name, root, campaign_of_root))
            continue
        if not _inside(folder, root):
            continue
        members = [sub for sub in _subfolders(folder) if (sub / MANIFEST_NAME).is_file()]
        runs += [_found(sub, f"{folder.name}/{sub.name}", root, folder.name) for sub in members]
        if members or (folder / CAMPAIGN_NAME).is_file():
            campaigns[folder.name] = folder
    runs.sort(key=lambda run: run.manifest.created if run.manifest else "", reverse=True)
    return Folders(root, tuple(runs), campaigns)


def _subfolders(root: Path) -> list[Path]:
    try:
        return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _found(path: Path, run_id: str, root: Path, campaign: str = "") -> FoundRun:
    if not (_inside(path, root) and _inside(path / MANIFEST_NAME, path)):
        reason = "It is a link that leads out of the runs folder, so it is not opened."
        return FoundRun(run_id, path, "unreadable", reason, None, campaign)
    try:
        status = (path / MANIFEST_NAME).stat()
        manifest = _manifest(path, status.st_mtime_ns, status.st_size)
    except (RunFolderError, OSError) as error:
        return FoundRun(run_id, path, "unreadable", str(error), None, campaign)
    state = manifest.state
    return FoundRun(run_id, path, state, how_far(manifest), manifest, campaign)


@lru_cache(maxsize=4096)
def _manifest(path: Path, _mtime_ns: int, _size: int) -> Manifest:
    return read_manifest(path)


@lru_cache(maxsize=4096)
def _digest(path: Path, _mtime_ns: int, _size: int) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def scenario_of(run: FoundRun) -> dict[str, Any]:
    """The resolved scenario of a run as plain values.

    Empty when it cannot be read, or is not the one that the run flew: its limits would be others.
    """
    path = run.path / "scenario.yaml"
    try:
        status = path.stat()
    except OSError:
        return {}
    flown = run.manifest.scenario_sha256 if run.manifest else ""
    return _scenario(path, flown, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _scenario(path: Path, sha256: str, _mtime_ns: int, _size: int) -> dict[str, Any]:
    if not _inside(path, path.parent):
        return {}
    try:
        flown = file_sha256(path) == sha256
    except OSError:
        return {}
    return read_scenario(path) if flown else {}


def setup_of(run: FoundRun) -> Setup:
    """Policy, planner, models and devices of a run."""
    return telemetry_runs.setup_of(scenario_of(run))


def labels_of(runs: Sequence[FoundRun]) -> list[str]:
    """A label for each run, in their order, no two alike.

    Policy, models and seed always stand there, the rest where the runs differ in it; runs that are
    still alike are called by their names.
    """
    told = [_told(run) for run in runs]
    always = ("policy", "models", "seed")
    shown = [
        part
        for part in next(iter(told), {})
        if part in always or len({words[part] for words in told}) > 1
    ]
    labels = [", ".join(filter(None, (words[part] for part in shown))) for words in told]
    return [
        label if labels.count(label) == 1 else run.run_id
        for run, label in zip(runs, labels, strict=True)
    ]


def _told(run: FoundRun) -> dict[str, str]:
    setup = setup_of(run)
    return {
        "mission": run.manifest.name if run.manifest else "",
        "policy": setup.policy,
        "models": ", ".join(setup.models),
        "devices": ", ".join(setup.devices),
        "planner": setup.planner,
        "satellites": f"{setup.satellites} satellite{'' if setup.satellites == 1 else 's'}",
        "seed": f"seed {run.manifest.seed}" if run.manifest else "",
    }


def stored_metrics(run: FoundRun) -> dict[str, Any]:
    """``metrics.json`` of a complete run; empty for any other or when it cannot be read."""
    if run.state != "complete":
        return {}
    path = run.path / "metrics.json"
    try:
        status = path.stat()
        return _metrics(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return {}


@lru_cache(maxsize=4096)
def _metrics(path: Path, _mtime_ns: int, _size: int) -> dict[str, Any]:
    if not _inside(path, path.parent):
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return {}
    return values if isinstance(values, dict) else {}


def sibling_with_policy(folders: Folders, run: FoundRun, policy: str) -> FoundRun | None:
    """A complete run of the same mission and seed that differs in its policy alone.

    Files are compared by content, wherever they lay; a run that does not record it has no sibling.
    """
    if run.manifest is None or not run.manifest.inputs:
        return None
    own = _mission(run)
    for other in folders.runs:
        if (
            other.state == "complete"
            and other.manifest is not None
            and setup_of(other).policy == policy
            and other.manifest.scenes == run.manifest.scenes
            and other.manifest.inputs == run.manifest.inputs
            and _mission(other) == own
        ):
            return other
    return None


def _mission(run: FoundRun) -> dict[str, Any]:
    """The scenario of a run without its policy and without its paths."""
    scenario = without_paths(scenario_of(run))
    autonomy = {k: v for k, v in (scenario.get("autonomy") or {}).items() if k != "policy"}
    return {**scenario, "autonomy": autonomy}
