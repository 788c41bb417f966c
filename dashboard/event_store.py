"""The events of one run as tables that SQL can be asked of.

A complete run is read by DuckDB straight from its Parquet files: a query reads the columns and row
groups it names, and nothing is copied into memory. Before a file is first read its columns and its
hash are checked against what the run says it wrote. A run that is not complete lies in many small
parts; they are gathered in memory, and only parts that are new are read when one looks again.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.telemetry.event_log import read_parquet
from simulator.telemetry.events import EVENT_TYPES, arrow_schema
from simulator.telemetry.host_events import HOST_EVENT_TYPES
from simulator.telemetry.manifest import RunFolderError, file_sha256
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
_GLOB = re.compile(r"[*?\[]")
_DEFECTS = (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException)
"""Errors of the query itself, never of a file."""


class EventStore:
    """SQL over one run.

    Tables are the event types (``capture``, ``power``, ...), the host's (``host_inference``,
    ``host_run``), ``track``, and ``target`` (name, longitude_deg, latitude_deg, priority,
    deadline_h, cloud_limit). Each event has an ``event_row``: its place in the order of time.

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
        self._ready: set[str] = set()
        self._last_part: dict[str, int] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Take notice that the run may have gone on: its manifest and new parts are read again."""
        with self._lock:
            self.run = RunFolder.open(self.run.path)
            self._ready.clear()

    def rows(self, sql: str, **parameters: object) -> pd.DataFrame:
        """Answer of a query; ``$name`` in it stands for the parameter `name`.

        Raises
        ------
        RunFolderError
            If a file of the run is missing or damaged.
        """
        with self._lock:
            try:
                for name in dict.fromkeys(_NAMED.findall(sql)):
                    self._prepare(name)
                return self._database.execute(sql, parameters or None).df()
            except _DEFECTS:
                raise
            except (duckdb.Error, pa.ArrowException) as error:
                raise RunFolderError(
                    f"{self.run.path}: the events cannot be read ({str(error).splitlines()[0]}). "
                    "Restore the folder from a copy or run the scenario again."
                ) from None

    def value(self, sql: str, **parameters: object) -> Any:
        """First column of the first row; None without rows."""
        found = self.rows(sql, **parameters)
        if found.empty:
            return None
        first = found.iat[0, 0]
        return None if pd.isna(first) else first

    def _prepare(self, name: str) -> None:
        if name in self._ready:
            return
        if name == "target":
            self._fill(name, _targets(self.run))
        elif name == "track":
            self._read_file(name, "track.parquet", None)
        else:
            self._prepare_events(name)
        self._ready.add(name)

    def _prepare_events(self, name: str) -> None:
        host = name.startswith("host_")
        short = name.removeprefix("host_")
        schema = arrow_schema((HOST_EVENT_TYPES if host else EVENT_TYPES)[short])
        root = "host_events" if host else "events"
        file = f"{root}/{short}.parquet"
        if (self.run.path / file).is_file() or self._was_written(file):
            self._read_file(name, file, schema)
        else:
            self._read_parts(name, f"{root}/{short}", schema)

    def _was_written(self, file: str) -> bool:
        """Whether a complete run says it has the file; a type younger than the run is empty."""
        return self.run.complete and file in self.run.manifest.files

    def _read_file(self, name: str, file: str, schema: pa.Schema | None) -> None:
        path = self.run.path / file
        self._refuse_link(path)
        if not path.is_file():
            raise RunFolderError(
                f"{path} is missing, though {_whose(self.run)}. Restore the file from a copy or "
                "run the scenario again."
            )
        columns = _columns_of(path)
        if schema is not None and not columns.equals(schema):
            raise RunFolderError(
                f"{path} has columns {columns.names}, expected {schema.names} with the types of "
                "this version. Read the folder with the version that wrote it."
            )
        record = self.run.manifest.files.get(file)
        if record is not None and file_sha256(path) != record.sha256:
            raise RunFolderError(
                f"{path} is not the file that the run wrote: its SHA-256 differs from the "
                "manifest's, so its numbers cannot be trusted. Restore it from a copy or run the "
                "scenario again; `nephoscope audit` says more."
            )
        self._drop(name)
        if _GLOB.search(str(path)):  # DuckDB would take such a name for a pattern
            table = pq.ParquetFile(path).read()
            self._fill(name, table.append_column("event_row", pa.array(range(table.num_rows))))
            return
        quoted = str(path).replace("'", "''")
        self._database.execute(
            f'CREATE VIEW "{name}" AS SELECT * RENAME (file_row_number AS event_row) '
            f"FROM read_parquet('{quoted}', file_row_number = true)"
        )

    def _read_parts(self, name: str, folder: str, schema: pa.Schema) -> None:
        """Append the parts that were written since the last look; a view puts them in order."""
        held = f"part_of_{name}"
        if name not in self._last_part:
            self._drop(name)
            self._database.register("loading", schema.empty_table())
            self._database.execute(
                f'CREATE OR REPLACE TABLE "{held}" AS SELECT * FROM loading; '
                f'CREATE VIEW "{name}" AS SELECT *, row_number() OVER (ORDER BY t_s, rowid) - 1 '
                f'AS event_row FROM "{held}"'
            )
            self._database.unregister("loading")
            self._last_part[name] = 0
        numbered = {
            int(path.stem.removeprefix("part-")): path
            for path in (self.run.path / folder).glob("part-*.parquet")
        }
        fresh = sorted(number for number in numbered if number > self._last_part[name])
        if not fresh:
            return
        for number in fresh:
            self._refuse_link(numbered[number])
        table = pa.concat_tables([read_parquet(numbered[n], schema) for n in fresh])
        self._database.register("loading", table)
        self._database.execute(f'INSERT INTO "{held}" SELECT * FROM loading')
        self._database.unregister("loading")
        self._last_part[name] = fresh[-1]

    def _fill(self, name: str, table: pa.Table) -> None:
        self._database.register("loading", table)
        self._database.execute(f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM loading')
        self._database.unregister("loading")

    def _drop(self, name: str) -> None:
        self._database.execute(f'DROP VIEW IF EXISTS "{name}"')

    def _refuse_link(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.run.path.resolve()):
            raise RunFolderError(
                f"{path} is a link that leads out of the run folder, so it is not opened. Remove "
                "the link and restore the file."
            )


def _whose(run: RunFolder) -> str:
    return "the run is complete" if run.complete else "every run has one from its start on"


def _columns_of(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise RunFolderError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}). Restore the file "
            "from a copy or run the scenario again."
        ) from None


def _targets(run: RunFolder) -> pa.Table:
    try:
        return _target_table(run)
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        if isinstance(error, RunFolderError):
            raise
        raise RunFolderError(
            f"{run.path / 'targets.geojson'} holds no targets as this version writes them "
            f"({error}). Restore it from a copy or run the scenario again."
        ) from None


def _target_table(run: RunFolder) -> pa.Table:
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
