"""Soft labels: a cloud probability per pixel that somebody else than a person gave.

Two kinds exist. A *pseudo label* is the joint opinion of other detectors, with a confidence per
pixel (`payload.training.weak_labels`). A *teacher label* is what the trained teacher says; it is
committed with the project, so that students can be rebuilt without hours of teacher training.
Both are keyed by the SHA-256 of the image file they belong to: a changed or renamed image is
never paired with another image's label.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from payload.whole_file import finished_or_nothing

FULL_SCALE = 255
"""Byte that stands for a probability or a confidence of 1."""

PROBABILITY_STEP = 15
"""Teacher probabilities are stored in steps of 15/255 = 0.06: finer steps only store noise."""

SOFT_LABELS = Path(__file__).parent / "soft_labels"
"""Folder of the committed teacher labels: a folder per teacher, a file per scene collection."""

NNUNET = "nnunet"
"""The teacher whose card and labels are committed; `nephoscope train teacher --publish` writes
both."""

_PROBABILITY, _CONFIDENCE = ".probability", ".confidence"


class SoftLabelError(ValueError):
    """A file of soft labels cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class SoftLabel:
    """Cloud probability and confidence of one image, in 1/255.

    Attributes
    ----------
    probability, confidence : ndarray of uint8, shape (H, W)
        0 stands for 0, 255 for 1.
    """

    probability: NDArray[np.uint8]
    confidence: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.probability.shape != self.confidence.shape:
            raise SoftLabelError(
                f"probability has shape {self.probability.shape}, confidence "
                f"{self.confidence.shape}; both describe the same pixels"
            )


def quantise(values: NDArray[np.floating], step: int = 1) -> NDArray[np.uint8]:
    """Fractions 0..1 as bytes, rounded to multiples of `step`/255."""
    steps = np.rint(np.clip(values, 0.0, 1.0) * (FULL_SCALE / step))
    return np.asarray(steps * step, dtype=np.uint8)


def write_soft_labels(path: Path, labels: Mapping[str, SoftLabel]) -> None:
    """Write labels to one compressed file.

    Parameters
    ----------
    path : Path
        An ``.npz`` file; replaced in one step if it exists.
    labels : mapping
        SHA-256 of the image file -> label.
    """
    arrays: dict[str, NDArray[np.uint8]] = {}
    for sha256, label in sorted(labels.items()):
        arrays[sha256 + _PROBABILITY] = label.probability
        if np.any(label.confidence != FULL_SCALE):
            arrays[sha256 + _CONFIDENCE] = label.confidence
    path.parent.mkdir(parents=True, exist_ok=True)
    with finished_or_nothing(path) as file:
        np.savez_compressed(file, **arrays)


def read_soft_labels(paths: Path | Iterable[Path]) -> dict[str, SoftLabel]:
    """Read labels: SHA-256 of the image file -> label.

    Parameters
    ----------
    paths : path or iterable of paths
        Files, or folders of ``.npz`` files. Where two files know the same image, the later wins.

    Raises
    ------
    SoftLabelError
        A path does not exist, or a file does not hold soft labels.
    """
    roots = [paths] if isinstance(paths, Path) else list(paths)
    labels: dict[str, SoftLabel] = {}
    for file in _files(roots):
        labels.update(_read_file(file))
    return labels


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_dir():
            yield from sorted(root.glob("*.npz"))
        elif root.is_file():
            yield root
        else:
            raise SoftLabelError(
                f"{root}: there are no soft labels there; restore them from the repository, or "
                f"make them with `nephoscope train teacher --publish`"
            )


@contextmanager
def open_arrays(file: Path) -> Iterator[NpzFile]:
    """The arrays of an ``.npz`` file.

    Raises
    ------
    SoftLabelError
        The file is damaged; what is read of it later, too.
    """
    try:
        arrays = np.load(file, allow_pickle=False)
        if not isinstance(arrays, NpzFile):
            raise ValueError("one array, not an archive")
    except (EOFError, ValueError, BadZipFile) as error:
        raise _damaged(file, error) from error
    with arrays:
        try:
            yield arrays
        except (EOFError, BadZipFile, zlib.error) as error:
            raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> SoftLabelError:
    reason = str(error) or type(error).__name__
    return SoftLabelError(
        f"{file}: is damaged ({reason}); restore it, or, in a cache, delete it: it is made again"
    )


def _read_file(file: Path) -> dict[str, SoftLabel]:
    with open_arrays(file) as arrays:
        strange = [key for key in arrays.files if not key.endswith((_PROBABILITY, _CONFIDENCE))]
        if strange:
            raise SoftLabelError(f"{file}: holds {strange[0]!r}, which is no soft label")
        shas = [key.removesuffix(_PROBABILITY) for key in arrays.files if _PROBABILITY in key]
        return {sha: _label_of(arrays, sha) for sha in shas}


def _label_of(arrays: Mapping[str, NDArray[np.uint8]], sha256: str) -> SoftLabel:
    probability = arrays[sha256 + _PROBABILITY]
    if sha256 + _CONFIDENCE in arrays:
        return SoftLabel(probability, arrays[sha256 + _CONFIDENCE])
    return SoftLabel(probability, np.full_like(probability, FULL_SCALE))
