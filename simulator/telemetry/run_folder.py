"""A run folder: the only thing a run leaves, and all that metrics, audit and dashboard read.

`RunWriter` writes one, `RunFolder` reads one; neither knows what a mission is. A folder is
readable at every moment of its life, and says what it is:

- ``running``: events are there in parts, up to the last flush;
- ``complete``: one file per event type, every file's hash in the manifest;
- ``interrupted`` / ``failed``: parts up to the moment it stopped, with the reason;
- killed or cut off: still says ``running``, but its process is gone (`Manifest.state`).

A second run under the same name supersedes the first, since equal names mean equal inputs. The
earlier folder is set aside as ``<name>.previous`` and removed only when the new run is complete.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import ArrayLike, NDArray

from simulator.telemetry.capture_images import (
    image_name,
    quicklook,
    read_classes,
    write_classes,
    write_rgb,
)
from simulator.telemetry.event_log import COMPRESSION, EventLogWriter, read_events, read_parquet
from simulator.telemetry.events import EVENT_TYPES, Event
from simulator.telemetry.host_events import HOST_EVENT_TYPES, HostEvent
from simulator.telemetry.manifest import (
    MANIFEST_NAME,
    RESTORE,
    FileRecord,
    Manifest,
    RunFolderError,
    file_sha256,
    read_manifest,
    wall_clock,
)

TEXT_FILES = ("scenario.yaml", "targets.geojson", "stations.geojson", "orbits.json")
TARGET_NUMBERS = ("priority", "deadline_h", "max_cloud_fraction", "repeat_days")
METRICS_NAME = "metrics.json"
TRACK_NAME = "track.parquet"


class RunWriter:
    """Writes one run folder; a context manager.

    Leaving the block by Ctrl-C marks the run interrupted; leaving it by another exception, or
    without `complete`, marks it failed. What was written stays readable in every case.

    Parameters
    ----------
    folder : Path
        Where the run goes. May exist if it is empty or holds an earlier run that is over.
    manifest : Manifest
        What is run (`new_manifest`).

    Raises
    ------
    RunFolderError
        If the folder is another process's running run, holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, *, manifest: Manifest) -> None:
        self.folder = folder
        self._manifest = manifest
        self._sealed = False
        with self._writing(folder):
            self._previous = _set_aside(folder)
            for name in ("cards", "captures"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            self._events = EventLogWriter(folder / "events", EVENT_TYPES)
            self._host_events = EventLogWriter(folder / "host_events", HOST_EVENT_TYPES)
            self._update_manifest()

    def write(self, event: Event) -> None:
        """Log one event, deterministic or host. Order of calls decides among equal times."""
        log = self._host_events if isinstance(event, HostEvent) else self._events
        progress_s = max(self._manifest.progress_s, event.t_s)
        if progress_s > self._manifest.progress_s:
            self._manifest = dataclasses.replace(self._manifest, progress_s=progress_s)
        if log.append(event):
            self.flush()

    def flush(self) -> None:
        """Append what is buffered, so that a reader sees every event written so far."""
        with self._writing(self.folder):
            self._events.flush()
            self._host_events.flush()
            self._update_manifest()

    def write_text(self, name: str, text: str) -> None:
        """Write one of `TEXT_FILES`."""
        if name not in TEXT_FILES:
            raise RunFolderError(f"{name!r} is no file of a run; expected one of {TEXT_FILES}.")
        with self._writing(self.folder / name):
            _replace_text(self.folder / name, text)

    def write_track(self, columns: Mapping[str, ArrayLike]) -> None:
        """Write ``track.parquet``: sub-satellite track and sunlight over time.

        Parameters
        ----------
        columns : mapping of str to array, each of shape (n,)
            ``t_s``, ``satellite`` and whatever else the track has, with units in names.
        """
        arrays = {name: np.asarray(column) for name, column in columns.items()}
        with self._writing(self.folder / TRACK_NAME):
            draft = self.folder / "track.tmp"
            pq.write_table(pa.table(arrays), draft, compression=COMPRESSION)
            draft.replace(self.folder / TRACK_NAME)

    def write_card(self, path: Path) -> None:
        """Keep a copy of a model card or device profile under ``cards/``."""
        with self._writing(self.folder / "cards" / path.name):
            shutil.copyfile(path, self.folder / "cards" / path.name)

    def write_capture_images(
        self,
        *,
        reflectance: NDArray[np.float32],
        truth: NDArray[np.uint8],
        frame_sha256: str,
        truth_sha256: str,
        mask: NDArray[np.uint8] | None = None,
        mask_sha256: str = "",
    ) -> None:
        """Keep the pictures of one capture; content already kept is not written again.

        Parameters
        ----------
        reflectance : ndarray of float32, shape (4, H, W)
            The frame; a small true-colour picture is kept.
        truth : ndarray of uint8, shape (H, W)
            Classes: 0 clear, 1 cloud, 2 thin cloud, 3 shadow, 255 no data.
        mask : ndarray of uint8, shape (H, W), optional
            What the payload detected: 0 clear, 1 cloud, 255 no data.
        frame_sha256, truth_sha256, mask_sha256 : str
            Content hashes (`payload.frame.content_sha256`); the events carry the same.
        """
        folder = self.folder / "captures"
        with self._writing(folder):
            rgb_path = folder / image_name("rgb", frame_sha256)
            if not rgb_path.exists():
                write_rgb(rgb_path, quicklook(reflectance))
            truth_path = folder / image_name("truth", truth_sha256)
            if not truth_path.exists():
                write_classes(truth_path, truth)
            if mask is not None:
                mask_path = folder / image_name("mask", mask_sha256)
                if not mask_path.exists():
                    write_classes(mask_path, mask)

    def seal(self) -> None:
        """Leave one file per event type; nothing can be logged afterwards.

        Between `seal` and `complete` the metrics are computed from the folder.
        """
        if not self._sealed:
            with self._writing(self.folder):
                self._events.seal()
                self._host_events.seal()
                self._update_manifest()
            self._sealed = True

    def complete(self, metrics: Mapping[str, object]) -> None:
        """Write ``metrics.json``, record every file's hash and mark the run complete."""
        self.seal()
        with self._writing(self.folder):
            text = json.dumps(dict(metrics), indent=2, allow_nan=False) + "\n"
            _replace_text(self.folder / METRICS_NAME, text)
            self._update_manifest(status="complete", files=file_records(self.folder))
            if self._previous is not None:
                shutil.rmtree(self._previous, ignore_errors=True)

    def interrupt(self, reason: str) -> None:
        """Keep what there is and mark the run interrupted."""
        self._stop("interrupted", reason)

    def fail(self, reason: str) -> None:
        """Keep what there is and mark the run failed."""
        self._stop("failed", reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._manifest.status != "running":
            return
        # The folder may be what failed (disk full): the error under way is the one to report,
        # and the manifest on disk already tells a reader that the run did not complete.
        with suppress(RunFolderError):
            if kind is None:
                self.fail("The run ended without completing.")
            elif issubclass(kind, KeyboardInterrupt):
                self.interrupt("Interrupted by the user.")
            else:
                self.fail(f"{kind.__name__}: {error}")

    def _stop(self, status: str, reason: str) -> None:
        with self._writing(self.folder):
            try:
                if not self._sealed:
                    self._events.flush()
                    self._host_events.flush()
            finally:
                self._update_manifest(status=status, reason=reason)

    def _update_manifest(self, **changes: Any) -> None:
        self._manifest = dataclasses.replace(self._manifest, heartbeat=wall_clock(), **changes)
        _replace_text(self.folder / MANIFEST_NAME, self._manifest.to_json())

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "Free space on that disk" if full else "Check the path and its permissions"
            raise RunFolderError(
                f"{path} could not be written: {error.strerror or error}. {remedy} or choose "
                "another folder with --out. What was written before stays readable."
            ) from error


class RunFolder:
    """Reads one run folder, complete or not; never outside it.

    Use `RunFolder.open`.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a folder that `RunWriter` wrote.

        Raises
        ------
        RunFolderError
            If it has no manifest, a damaged one, or one of an unknown schema version.
        """
        return cls(path, read_manifest(path))

    @property
    def complete(self) -> bool:
        """Whether the run went to its end."""
        return self.manifest.status == "complete"

    @property
    def horizon_s(self) -> float:
        """How much simulated time the events cover."""
        if self.complete:
            return self.manifest.duration_s
        return min(self.manifest.duration_s, self.manifest.progress_s)

    def events(self, name: str) -> pa.Table:
        """All events of one type, sorted by ``t_s``; also while the run is being written.

        Raises
        ------
        RunFolderError
            If the file of a complete run is missing, or one is damaged.
        """
        self._must_be_there(f"events/{name}.parquet")
        return read_events(self.path / "events", name, EVENT_TYPES[name])

    def host_events(self, name: str) -> pa.Table:
        """All host events of one type, sorted by ``t_s``; raises as `events` does."""
        self._must_be_there(f"host_events/{name}.parquet")
        return read_events(self.path / "host_events", name, HOST_EVENT_TYPES[name])

    def track(self) -> pa.Table:
        """Sub-satellite track and sunlight over time."""
        return read_parquet(self.path / TRACK_NAME)

    @property
    def scenario_yaml(self) -> str:
        """The resolved scenario, as it was written."""
        return self._text("scenario.yaml")

    def scenario(self) -> Mapping[str, Any]:
        """The resolved scenario as plain values.

        Raises
        ------
        RunFolderError
            If it is missing or no YAML mapping.
        """
        path = self.path / "scenario.yaml"
        try:
            document = yaml.safe_load(self.scenario_yaml)
        except yaml.YAMLError as error:
            raise RunFolderError(f"{path} is not YAML ({_one_line(error)}). {RESTORE}") from None
        if not isinstance(document, Mapping):
            raise RunFolderError(f"{path} holds no scenario. {RESTORE}")
        return document

    def targets(self) -> dict[str, Any]:
        """The targets as a GeoJSON feature collection."""
        return self._json("targets.geojson")

    def target_properties(self) -> dict[str, Mapping[str, Any]]:
        """Properties of each target by its name.

        Raises
        ------
        RunFolderError
            If the file is missing, or a target in it has no name or a limit that is no number.
        """
        path = self.path / "targets.geojson"
        try:
            found = {f["properties"]["name"]: f["properties"] for f in self.targets()["features"]}
        except (KeyError, TypeError):
            raise RunFolderError(f"{path} holds a target without a name. {RESTORE}") from None
        for name, properties in found.items():
            for key in TARGET_NUMBERS:
                if not isinstance(properties.get(key, 0), int | float | None):
                    raise RunFolderError(f"{path}: {key} of {name} is no number. {RESTORE}")
        return found

    def stations(self) -> dict[str, Any]:
        """The ground stations as a GeoJSON feature collection."""
        return self._json("stations.geojson")

    def orbits(self) -> dict[str, dict[str, Any]]:
        """Mean elements of each satellite, as fields of an OMM (`orbits_json`)."""
        return self._json("orbits.json")

    def metrics(self) -> dict[str, Any]:
        """The metrics stored with the run. A run that is not complete has none."""
        return self._json(METRICS_NAME)

    def cards(self) -> dict[str, Path]:
        """Model cards and device profiles kept with the run, by file name."""
        return {path.name: path for path in sorted((self.path / "cards").glob("*"))}

    def truth(self, truth_sha256: str) -> NDArray[np.uint8]:
        """Truth classes behind a capture, shape (H, W)."""
        return read_classes(self._inside("captures", image_name("truth", truth_sha256)))

    def mask(self, mask_sha256: str) -> NDArray[np.uint8]:
        """What the payload detected in a capture, shape (H, W)."""
        return read_classes(self._inside("captures", image_name("mask", mask_sha256)))

    def rgb_path(self, frame_sha256: str) -> Path:
        """Path of the true-colour picture of a frame."""
        return self._inside("captures", image_name("rgb", frame_sha256))

    def _must_be_there(self, name: str) -> None:
        """A complete run had a file of each type: without it there is no telling none from some."""
        if self.complete and name in self.manifest.files and not (self.path / name).exists():
            raise RunFolderError(f"{self.path / name} is missing. {RESTORE}")

    def _inside(self, *names: str) -> Path:
        path = self.path.joinpath(*names)
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise RunFolderError(
                f"{path} leads out of the run folder. Remove the link and restore the file."
            )
        return path

    def _text(self, name: str) -> str:
        try:
            return self._inside(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunFolderError(
                f"{self.path / name} cannot be read ({error}). An unfinished run may not have it "
                "yet; else restore the file from a copy or run the scenario again."
            ) from None

    def _json(self, name: str) -> dict[str, Any]:
        try:
            document = json.loads(self._text(name))
        except json.JSONDecodeError as error:
            raise RunFolderError(f"{self.path / name} is not JSON ({error}). {RESTORE}") from None
        if not isinstance(document, dict):
            raise RunFolderError(f"{self.path / name} holds no JSON object. Restore the file.")
        return document


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Hash, size and rows of every file below a run folder but its manifest."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(
            sha256=file_sha256(path),
            bytes=path.stat().st_size,
            rows=pq.read_metadata(path).num_rows if path.suffix == ".parquet" else -1,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }


def _set_aside(folder: Path) -> Path | None:
    """Make room at `folder` for a new run; where the earlier run under that name went."""
    previous = folder.with_name(folder.name + ".previous")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        try:
            manifest = read_manifest(folder)
        except RunFolderError as error:
            raise RunFolderError(
                f"{folder} exists and is not a run folder that this version knows: nothing in it "
                f"is overwritten. Choose another folder with --out, or move it away. ({error})"
            ) from None
        if manifest.writer_alive:
            raise RunFolderError(
                f"{folder} is being written by process {manifest.pid} since {manifest.created}. "
                "Wait for it, or choose another folder with --out."
            )
        if previous.exists() and manifest.status != "complete":
            shutil.rmtree(folder)
        else:
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
    return previous if previous.exists() else None


def _replace_text(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
