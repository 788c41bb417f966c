"""The event log on disk: growing parts while a run lasts, one file per type once it is over.

Rows are buffered and appended as small Parquet files, all types together each `FLUSH_ROWS` rows,
so that memory stays bounded and a reader (or whoever finds the folder after a power cut) sees a
consistent prefix of the mission. Sealing merges the parts of a type into one file sorted by
``t_s``, rows of equal time in the order written. The merge streams: a row is final once no later
part holds an earlier one, so memory does not grow with the mission either.

Layout: ``<root>/<type>/part-00001.parquet`` ... while open, ``<root>/<type>.parquet`` when sealed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.telemetry.events import Event, arrow_schema
from simulator.telemetry.manifest import RunFolderError

FLUSH_ROWS = 300
"""Rows, over all types, that are buffered before they are appended as parts."""

ROW_GROUP_ROWS = 16384
"""Rows per row group of a sealed file; fixed, so that equal rows make equal bytes."""

COMPRESSION = "zstd"


@dataclass(frozen=True)
class _OpenPart:
    """Rows that wait to become part `number` of their type."""

    number: int
    rows: list[tuple[object, ...]]


class EventLogWriter:
    """Appends events of known types under one root folder.

    Parameters
    ----------
    root : Path
        Folder of the log (``events`` or ``host_events``); created.
    types : mapping of str to type of Event
        Event classes by file name.
    """

    def __init__(self, root: Path, types: Mapping[str, type[Event]]) -> None:
        self._root = root
        self._schemas = {name: arrow_schema(cls) for name, cls in types.items()}
        self._names = {name: tuple(schema.names) for name, schema in self._schemas.items()}
        self._open = {name: _OpenPart(1, []) for name in types}
        self._buffered = 0
        root.mkdir(parents=True, exist_ok=True)

    def append(self, event: Event) -> bool:
        """Buffer one event; True when it is time to `flush`."""
        kind = event.kind_of_event
        row = tuple(getattr(event, name) for name in self._names[kind])
        self._open[kind].rows.append(row)
        self._buffered += 1
        return self._buffered >= FLUSH_ROWS

    def flush(self) -> None:
        """Append all buffered rows as parts.

        An interruption at any point leaves either the rows in the buffer under their part's number
        or the part on disk, so a second call neither loses nor repeats a row.

        Raises
        ------
        RunFolderError
            If an event held a value that its column cannot.
        """
        for name, schema in self._schemas.items():
            part = self._open[name]
            if part.rows:
                folder = self._root / name
                folder.mkdir(exist_ok=True)
                table = _table(name, part.rows, schema)
                _write(table, folder / f"part-{part.number:05d}.parquet")
                self._open[name] = _OpenPart(part.number + 1, [])
        self._buffered = 0

    def seal(self) -> None:
        """Flush, then leave one file per type, also for types without a row."""
        self.flush()
        for name, schema in self._schemas.items():
            target = self._root / f"{name}.parquet"
            draft = target.with_suffix(".tmp")
            with pq.ParquetWriter(draft, schema, compression=COMPRESSION) as writer:
                for rows in _row_groups(_merged(_part_paths(self._root / name)), schema):
                    writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
            draft.replace(target)
            shutil.rmtree(self._root / name, ignore_errors=True)


def read_events(root: Path, name: str, event_type: type[Event]) -> pa.Table:
    """All rows of one type, from the sealed file or from the parts of an unfinished run.

    Returns
    -------
    pyarrow.Table
        Columns of `arrow_schema`, sorted by ``t_s``. Empty when nothing was written yet.

    Raises
    ------
    RunFolderError
        If a file is damaged or has other columns than its type.
    """
    schema = arrow_schema(event_type)
    sealed = root / f"{name}.parquet"
    if sealed.exists():
        return read_parquet(sealed, schema)
    try:
        parts = [read_parquet(path, schema) for path in _part_paths(root / name)]
    except RunFolderError:
        if sealed.exists():  # the writer sealed the log while its parts were being read
            return read_parquet(sealed, schema)
        raise
    return _by_time(pa.concat_tables(parts)) if parts else schema.empty_table()


def read_parquet(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read one Parquet file, checking its columns against `schema` when given.

    Raises
    ------
    RunFolderError
        If the file is missing, damaged, or has other columns.
    """
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise RunFolderError(
            f"{path} cannot be read as Parquet ({_first_line(error)}). Restore the file from a "
            "copy or run the scenario again."
        ) from None
    if schema is not None and not table.schema.equals(schema):
        raise RunFolderError(
            f"{path} has columns {table.schema.names}, expected {schema.names} with the types of "
            "this version. Read the folder with the version that wrote it."
        )
    return table


def _table(name: str, rows: list[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    arrays = []
    for field, column in zip(schema, zip(*rows, strict=True), strict=True):
        try:
            arrays.append(pa.array(column, type=field.type))
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise RunFolderError(
                f"event {name}: column {field.name} does not hold {field.type} "
                f"({_first_line(error)}). This is a defect of the program that wrote the event."
            ) from None
    return _by_time(pa.Table.from_arrays(arrays, schema=schema))


def _write(table: pa.Table, path: Path) -> None:
    draft = path.with_suffix(".tmp")
    pq.write_table(table, draft, compression=COMPRESSION, row_group_size=ROW_GROUP_ROWS)
    draft.replace(path)


def _part_paths(folder: Path) -> list[Path]:
    # A long mission passes part 99999; the number decides, not the spelling.
    return sorted(folder.glob("part-*.parquet"), key=lambda path: int(path.stem.split("-")[1]))


def _by_time(table: pa.Table) -> pa.Table:
    """Sort by ``t_s``; rows of equal time stay in order (pyarrow's sort is stable)."""
    times = table["t_s"].combine_chunks()
    if len(times) < 2 or pc.all(pc.less_equal(times[:-1], times[1:])).as_py():
        return table
    return table.take(pc.array_sort_indices(times))


def _merged(parts: list[Path]) -> Iterator[pa.Table]:
    """Rows of all parts in order of time, in pieces no part can still interrupt."""
    waiting: pa.Table | None = None
    for path, later_s in zip(parts, _earliest_after(parts), strict=True):
        rows = read_parquet(path)
        merged = rows if waiting is None else _by_time(pa.concat_tables([waiting, rows]))
        final = pc.sum(pc.less_equal(merged["t_s"], later_s)).as_py() or 0
        yield merged.slice(0, final)
        waiting = merged.slice(final)


def _earliest_after(parts: list[Path]) -> list[float]:
    """For each part, the earliest ``t_s`` in any later part (parts are sorted in themselves)."""
    earliest = float("inf")
    bounds = []
    for path in reversed(parts):
        bounds.append(earliest)
        statistics = pq.read_metadata(path).row_group(0).column(0).statistics
        earliest = min(earliest, statistics.min)
    return bounds[::-1]


def _row_groups(pieces: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Re-cut a stream of tables into tables of `ROW_GROUP_ROWS` rows (the last may be shorter)."""
    waiting = schema.empty_table()
    for piece in pieces:
        waiting = pa.concat_tables([waiting, piece])
        while waiting.num_rows >= ROW_GROUP_ROWS:
            yield waiting.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting = waiting.slice(ROW_GROUP_ROWS)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
