"""The manifest of a run folder: what was run, by which versions, and how far it came.

Everything that ties a run to its inputs (hashes of scenario, models and scenes, seed, versions)
and everything that ties it to the wall clock (created, heartbeat, process) is here and nowhere
else, so that the event files can be byte-identical between runs. The manifest is always replaced
whole (written beside, then renamed): a reader never sees half of one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from simulator.telemetry.events import SCHEMA_VERSION

RESTORE = "Restore the file from a copy or run the scenario again."
"""What to do about a damaged file of a run."""

MANIFEST_NAME = "manifest.json"
STATUSES = ("running", "complete", "interrupted", "failed")

_LIBRARIES = ("numpy", "onnxruntime", "pyarrow", "scipy", "sgp4", "simpy", "skyfield")
_PROCESS_START_TOLERANCE_S = 1.0

_IDENTITY = (
    "name", "seed", "epoch", "duration_s", "scenario_sha256", "models", "scenes", "inputs",
)  # fmt: skip
"""Fields that decide the events, with the versions of schema and project."""


_WORDS = {"str": "a string", "int": "a whole number", "float": "a number"}
_IN_JSON: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
"""What JSON may hold for a field of this type; all others are objects."""


class RunFolderError(ValueError):
    """A run folder that cannot be written or read; the message names file, reason and remedy."""


@dataclass(frozen=True)
class FileRecord:
    """One file of a complete run: its hash, size and, for Parquet, number of rows (else -1)."""

    sha256: str
    bytes: int
    rows: int = -1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run folder says of itself.

    Attributes
    ----------
    name : str
        Name of the scenario.
    seed : int
        Seed of every random draw.
    epoch : str
        ISO 8601 UTC instant at which ``t_s`` is 0.
    duration_s : float
        Length of the simulated mission.
    scenario_sha256 : str
        Hash of the resolved scenario text.
    models : dict of str to str
        SHA-256 of each model's ONNX file, by model name.
    scenes : dict of str to str
        One SHA-256 over each scene collection (images, masks, manifest), by collection name.
    inputs : dict of str to str
        SHA-256 of each file that the scenario names (targets, orbit, weather series, card,
        device profile, trace), by the field that names it, as ``satellites[0].payload.device``.
    scenario_folder : str
        Absolute folder of the scenario file, where the relative paths of ``scenario.yaml`` start;
        empty where it is not known. It plays no part in the identity of a run.
    schema_version : int
        Version of the event schema.
    project_version, libraries
        Version of this project, of Python and of the libraries that decide bits.
    status : {"running", "complete", "interrupted", "failed"}
        How far the run came; `reason` says why it stopped short.
    created, heartbeat : str
        Wall clock, ISO 8601 UTC: start, and the last time the writer wrote.
    progress_s : float
        Largest ``t_s`` written so far.
    host, pid, process_started_s
        The process that writes; together they tell a running writer from a dead one.
    files : dict of str to FileRecord
        Every other file of a complete run, by POSIX path relative to the folder.
    """

    name: str
    seed: int
    epoch: str
    duration_s: float
    scenario_sha256: str
    models: Mapping[str, str]
    scenes: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    scenario_folder: str = ""
    schema_version: int = SCHEMA_VERSION
    project_version: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    status: str = "running"
    reason: str = ""
    created: str = ""
    heartbeat: str = ""
    progress_s: float = 0.0
    host: str = ""
    pid: int = 0
    process_started_s: float = 0.0
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def writer_alive(self) -> bool:
        """Whether the process that wrote this manifest still runs (on this host)."""
        if self.status != "running" or self.host != platform.node():
            return False
        try:
            started_s: float = psutil.Process(self.pid).create_time()
        except psutil.Error:
            return False
        return abs(started_s - self.process_started_s) < _PROCESS_START_TOLERANCE_S

    @property
    def state(self) -> str:
        """Status for a reader: a run whose process is gone is ``incomplete``, not ``running``."""
        if self.status != "running" or self.writer_alive:
            return self.status
        return "incomplete"

    def to_json(self) -> str:
        """Serialise; `read_manifest` reads it back."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"


def new_manifest(
    *,
    name: str,
    seed: int,
    epoch: str,
    duration_s: float,
    scenario_yaml: str,
    models: Mapping[str, str],
    scenes: Mapping[str, str],
    inputs: Mapping[str, str] | None = None,
    scenario_folder: str = "",
) -> Manifest:
    """Manifest of a run that starts now in this process.

    Parameters
    ----------
    scenario_yaml : str
        The resolved scenario, as it is written to ``scenario.yaml``.
    name, seed, epoch, duration_s, models, scenes, inputs, scenario_folder
        As in `Manifest`.
    """
    return Manifest(
        name=name,
        seed=seed,
        epoch=epoch,
        duration_s=duration_s,
        scenario_sha256=hashlib.sha256(scenario_yaml.encode()).hexdigest(),
        models=dict(sorted(models.items())),
        scenes=dict(sorted(scenes.items())),
        inputs=dict(sorted((inputs or {}).items())),
        scenario_folder=scenario_folder,
        project_version=project_version(),
        libraries={"python": platform.python_version()} | {n: _version(n) for n in _LIBRARIES},
        created=wall_clock(),
        heartbeat=wall_clock(),
        host=platform.node(),
        pid=os.getpid(),
        process_started_s=psutil.Process().create_time(),
    )


def run_folder_name(manifest: Manifest) -> str:
    """Folder name ``<scenario>-<short hash>`` of a run.

    The hash covers everything that decides the events (scenario with its policy and device, seed,
    models, scenes, the content of every other file that the scenario names, schema and project
    version), so equal names mean equal results as long as the scenario does not ask for measured
    timing.
    """
    identity = {key: getattr(manifest, key) for key in _IDENTITY} | {
        "schema": manifest.schema_version,
        "version": manifest.project_version,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in manifest.name) or "run"
    return f"{stem}-{digest[:10]}"


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a run folder.

    Raises
    ------
    RunFolderError
        If the file is missing, is not a manifest, or has an unknown schema version.
    """
    path = folder / MANIFEST_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        why = "it is a file" if folder.is_file() else f"it has no {MANIFEST_NAME}"
        raise RunFolderError(
            f"{folder} is not a run folder: {why}. Give a folder that `nephoscope run` wrote; "
            "`nephoscope runs` lists them."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunFolderError(
            f"{path} cannot be read as JSON ({error}). Restore it from a copy or run the "
            "scenario again."
        ) from None
    return _manifest_from(document, path)


def _manifest_from(document: object, path: Path) -> Manifest:
    if not isinstance(document, dict):
        raise RunFolderError(f"{path} holds no JSON object. Restore it from a copy.")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RunFolderError(
            f"{path}: schema_version is {version!r}, this version of nephoscope reads "
            f"{SCHEMA_VERSION}. Read the folder with the version that wrote it "
            "(see project_version in the same file), or run the scenario again."
        )
    try:
        files = {name: FileRecord(**record) for name, record in document.pop("files").items()}
        manifest = Manifest(**document, files=files)
    except (AttributeError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{path} is not a manifest of schema {SCHEMA_VERSION} ({error}). Restore it from a "
            "copy or run the scenario again."
        ) from None
    _check_types(manifest, "", path)
    for name, record in files.items():
        _check_types(record, f"files {name}: ", path)
    _check_moments(manifest, path)
    if manifest.status not in STATUSES:
        raise RunFolderError(
            f"{path}: status is {manifest.status!r}, expected one of {', '.join(STATUSES)}. "
            f"{RESTORE}"
        )
    return manifest


def _check_moments(manifest: Manifest, path: Path) -> None:
    """Moments are told as such; those of the wall clock may be left out."""
    for name in ("epoch", "created", "heartbeat"):
        moment = getattr(manifest, name)
        try:
            if moment or name == "epoch":
                datetime.fromisoformat(moment)
        except ValueError:
            raise RunFolderError(
                f"{path}: {name} is {moment!r}, expected a time such as 2024-06-01T12:30:00+00:00. "
                f"{RESTORE}"
            ) from None


def _check_types(record: Manifest | FileRecord, where: str, path: Path) -> None:
    for entry in dataclasses.fields(record):
        value = getattr(record, entry.name)
        if not _holds(value, str(entry.type)):
            words = _WORDS.get(str(entry.type), "a JSON object of strings")
            raise RunFolderError(
                f"{path}: {where}{entry.name} is {value!r}, expected {words}. {RESTORE}"
            )


def _holds(value: object, kind: str) -> bool:
    """Whether a value is of a field's type; the `files` are records by now."""
    if kind in _IN_JSON:
        return isinstance(value, _IN_JSON[kind]) and not isinstance(value, bool)
    inner = str if kind == "Mapping[str, str]" else FileRecord
    return isinstance(value, dict) and all(isinstance(part, inner) for part in value.values())


def wall_clock() -> str:
    """UTC now, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def readable_time(moment: str) -> str:
    """A moment as `wall_clock` writes it, as people read it: ``2024-06-01 12:30 UTC``."""
    return f"{moment[:16].replace('T', ' ')} UTC"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def project_version() -> str:
    """Version of this project."""
    return _version("nephoscope")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
