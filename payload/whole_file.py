"""Files that are whole or not there: not half, after an interruption or on a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO


@contextmanager
def finished_or_nothing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name once it is whole, whoever else writes it at the same time.

    It is made in a folder of its own, which goes with it if even closing it fails, as on a full
    disk; and with the rights of any new file, so that others may read it.
    """
    with TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as aside:
        unfinished = Path(aside) / path.name
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
