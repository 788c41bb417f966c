"""The runs below a folder: what each flew, how far it came, and whether it can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simulator.telemetry.manifest import (
    MANIFEST_NAME,
    Manifest,
    RunFolderError,
    read_manifest,
    readable_time,
)

CAMPAIGN_NAME = "campaign.json"
"""What makes a folder of runs a campaign."""

_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Setup:
    """What of a scenario tells runs apart in a list."""

    policy: str = ""
    planner: str = ""
    models: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    satellites: int = 0


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
        Why it is not complete, as a sentence; empty otherwise.
    manifest : Manifest or None
        None for an unreadable one.
    setup : Setup
        Empty where the scenario cannot be read.
    """

    path: Path
    state: str
    detail: str
    manifest: Manifest | None
    setup: Setup = Setup()


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


def list_campaigns(folder: Path) -> list[Path]:
    """Campaign folders directly below `folder`, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{CAMPAIGN_NAME}"))


def _summary(path: Path) -> RunSummary:
    try:
        manifest = read_manifest(path)
    except RunFolderError as error:
        return RunSummary(path, "unreadable", str(error), None)
    setup = setup_of(read_scenario(path / "scenario.yaml"))
    return RunSummary(path, manifest.state, how_far(manifest), manifest, setup)


def how_far(manifest: Manifest) -> str:
    """Why a run is not complete and how far it came, as a sentence; empty for a complete one."""
    state = manifest.state
    reached = f"{manifest.progress_s / 3600:.1f} of {manifest.duration_s / 3600:.1f} h simulated"
    if state == "complete":
        return ""
    if state == "running":
        return f"Still running: {reached}."
    if state == "incomplete":
        seen = readable_time(manifest.heartbeat)
        return f"Its process is gone (last sign of life {seen}); {reached}."
    return f"{manifest.reason} {reached[0].upper()}{reached[1:]}.".strip()


def read_scenario(path: Path) -> dict[str, Any]:
    """The resolved scenario of a run as plain values; empty when it cannot be read."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def setup_of(scenario: Mapping[str, Any]) -> Setup:
    """Policy, planner, models and devices of a scenario given as plain values."""
    autonomy = _section(scenario, "autonomy")
    listed = scenario.get("satellites")
    satellites = [s for s in listed if isinstance(s, dict)] if isinstance(listed, list) else []
    payloads = [_section(s, "payload") for s in satellites]
    return Setup(
        policy=str(autonomy.get("policy", "")),
        planner=str(autonomy.get("planner", "")),
        models=_each_once(p.get("model") for p in payloads),
        devices=_each_once(p.get("device") for p in payloads),
        satellites=len(satellites),
    )


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a scenario; empty where a damaged one has something else there."""
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _each_once(names: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(short_name(str(name)) for name in names if name))


def short_name(text: str) -> str:
    """Name of a model or device, which may be given by the path of its card, graph or profile."""
    path = Path(text)
    return path.stem if path.suffix in (".yaml", ".yml", ".onnx") else path.name


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Short names; where two are alike, with as many parent folders as tell them apart."""
    given = list(dict.fromkeys(names))
    return {name: _shortest(name, [other for other in given if other != name]) for name in given}


def _shortest(name: str, others: Iterable[str]) -> str:
    for folders in range(len(Path(name).parts)):
        shown = _with_folders(name, folders)
        if shown not in [_with_folders(other, folders) for other in others]:
            return shown
    return name


def _with_folders(name: str, count: int) -> str:
    parents = Path(name).parent.parts
    return Path(*parents[max(len(parents) - count, 0) :], short_name(name)).as_posix()
