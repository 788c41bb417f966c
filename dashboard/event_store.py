"""The events of one run as tables that SQL can be asked of, loaded when first asked for.

Files are read, and their columns checked, by `RunFolder`; DuckDB holds the tables in memory. A
store belongs to one state of a run folder: when the run goes on, its fingerprint changes and a
new store is opened.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from simulator.telemetry.events import EVENT_TYPES, HOST_EVENT_TYPES
from simulator.telemetry.manifest import RunFolderError
from simulator.telemetry.metrics import target_cloud_limits
from simulator.telemetry.run_folder import RunFolder

_TABLES = (
    *(f"host_{name}" for name in HOST_EVENT_TYPES),
    *EVENT_TYPES,
    "target",
    "track",
)
# `pass` is no reserved word of DuckDB; a table is named when its name stands after FROM or JOIN.
_NAMED = re.compile(r"\b(?:FROM|JOIN)\s+(" + "|".join(_TABLES) + r")\b")


class EventStore:
    """SQL over one run.

    Tables are the event types (``capture``, ``power``, ...), the host's (``host_inference``,
    ``host_run``), ``track``, and ``target`` (name, longitude_deg, latitude_deg, priority,
    deadline_h, cloud_limit).

    Parameters
    ----------
    path : Path
        A run folder.

    Raises
    ------
    RunFolderError
        If it is no run folder of this version.
    """

    def __init__(self, path: Path) -> None:
        self.run = RunFolder.open(path)
        self._database = duckdb.connect()
        self._loaded: set[str] = set()
        self._lock = threading.Lock()

    def rows(self, sql: str, **parameters: object) -> pd.DataFrame:
        """Answer of a query; ``$name`` in it stands for the parameter `name`.

        Raises
        ------
        RunFolderError
            If a file of the run is missing or damaged.
        """
        with self._lock:
            for name in dict.fromkeys(_NAMED.findall(sql)):
                self._load(name)
            return self._database.execute(sql, parameters or None).df()

    def value(self, sql: str, **parameters: object) -> Any:
        """First column of the first row; None without rows."""
        found = self.rows(sql, **parameters)
        if found.empty:
            return None
        first = found.iat[0, 0]
        return None if pd.isna(first) else first

    def _load(self, name: str) -> None:
        if name in self._loaded:
            return
        table = self._table(name)
        try:
            self._database.register("loading", table)
            self._database.execute(f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM loading')
            self._database.unregister("loading")
        except (duckdb.Error, pa.ArrowException) as error:
            raise RunFolderError(
                f"{self.run.path}: the table {name} cannot be loaded ({error}). Restore the "
                "folder from a copy or run the scenario again."
            ) from None
        self._loaded.add(name)

    def _table(self, name: str) -> pa.Table:
        if name == "target":
            try:
                return _targets(self.run)
            except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
                raise RunFolderError(
                    f"{self.run.path / 'targets.geojson'} holds no targets as this version writes "
                    f"them ({error}). Restore it from a copy or run the scenario again."
                ) from None
        if name == "track":
            self._refuse_link("track.parquet")
            return self.run.track()
        host = name.startswith("host_")
        short = name.removeprefix("host_")
        root = "host_events" if host else "events"
        self._refuse_link(f"{root}/{short}.parquet")
        if self.run.complete and not (self.run.path / root / f"{short}.parquet").is_file():
            raise RunFolderError(
                f"{self.run.path / root / short}.parquet is missing, though the run is complete. "
                "Restore the file from a copy or run the scenario again."
            )
        return self.run.host_events(short) if host else self.run.events(short)

    def _refuse_link(self, name: str) -> None:
        path = self.run.path / name
        if not path.resolve().is_relative_to(self.run.path.resolve()):
            raise RunFolderError(
                f"{path} is a link that leads out of the run folder, so it is not opened. Remove "
                "the link and restore the file."
            )


def _targets(run: RunFolder) -> pa.Table:
    limits = target_cloud_limits(run)
    rows = []
    for feature in run.targets().get("features", []):
        properties = feature["properties"]
        longitude_deg, latitude_deg = _centre(feature["geometry"])
        rows.append(
            {
                "name": str(properties["name"]),
                "longitude_deg": longitude_deg,
                "latitude_deg": latitude_deg,
                "priority": float(properties.get("priority") or 1.0),
                "deadline_h": properties.get("deadline_h"),
                "cloud_limit": limits[properties["name"]],
            }
        )
    schema = pa.schema(
        [("name", pa.string())]
        + [
            (name, pa.float64())
            for name in ("longitude_deg", "latitude_deg", "priority", "deadline_h", "cloud_limit")
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _centre(geometry: dict[str, Any]) -> tuple[float, float]:
    """A point itself, or the mean of a polygon's outer corners (for drawing only)."""
    if geometry["type"] == "Point":
        longitude_deg, latitude_deg = geometry["coordinates"][:2]
        return float(longitude_deg), float(latitude_deg)
    corners = geometry["coordinates"][0][:-1]
    return (
        sum(float(c[0]) for c in corners) / len(corners),
        sum(float(c[1]) for c in corners) / len(corners),
    )
