"""The runs below a folder: what each is, how far it came, and whether it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from simulator.telemetry.manifest import MANIFEST_NAME, Manifest, RunFolderError, read_manifest


@dataclass(frozen=True)
class RunSummary:
    """One line of ``nephoscope runs``.

    Attributes
    ----------
    path : Path
        The run folder.
    state : str
        ``complete``, ``running``, ``interrupted``, ``failed``, ``incomplete`` (its process is
        gone) or ``unreadable``.
    detail : str
        Why it is not complete; empty otherwise.
    manifest : Manifest or None
        None for an unreadable one.
    """

    path: Path
    state: str
    detail: str
    manifest: Manifest | None


def list_runs(folder: Path) -> list[RunSummary]:
    """Summarise the run folders directly below `folder`, newest first.

    Raises
    ------
    RunFolderError
        If `folder` does not exist or is no folder.
    """
    if not folder.is_dir():
        raise RunFolderError(
            f"{folder} is not a folder. Give the folder that holds the runs "
            "(`nephoscope run` writes to runs/ unless --out says otherwise)."
        )
    found = [_summary(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST_NAME}"))]
    return sorted(found, key=lambda run: run.manifest.created if run.manifest else "", reverse=True)


def _summary(path: Path) -> RunSummary:
    try:
        manifest = read_manifest(path)
    except RunFolderError as error:
        return RunSummary(path, "unreadable", str(error), None)
    return RunSummary(path, manifest.state, _detail(manifest), manifest)


def _detail(manifest: Manifest) -> str:
    if manifest.state == "complete":
        return ""
    reached = f"{manifest.progress_s / 3600:.1f} of {manifest.duration_s / 3600:.1f} h"
    if manifest.state == "incomplete":
        return f"its process is gone (last sign of life {manifest.heartbeat}); {reached} simulated"
    if manifest.state == "running":
        return f"process {manifest.pid}; {reached} simulated"
    return f"{manifest.reason} {reached} simulated".strip()
