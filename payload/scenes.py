"""One reader for scenes: the folder of GeoTIFFs that training, evaluation and simulation share.

A scene collection is a folder::

    manifest.csv              one row per scene
    <name>.tif                uint16, reflectance x 10000, bands blue, green, red, nir
    <name>.mask.tif           uint8: 0 clear, 1 cloud, 2 thin cloud, 3 cloud shadow, 255 no data
    <name>.clear.tif          optional: the same place on a clear date, four bands

Several collections may also lie side by side in subfolders of one folder whose ``manifest.csv``
has a ``collection`` column. A scene is read lazily: the manifest tells what there is, pixels are
read when asked for; what image files may look like is told in `payload.scene_images`. Where all
four bands are 0 there is no data.

rasterio is imported here, so a flying payload does not import this module.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.frame import NO_DATA
from payload.scene_images import SceneError as SceneError
from payload.scene_images import image_size_px, read_image
from payload.surfaces import SURFACES, surface_of_row

REFLECTANCE_SCALE = 10_000.0
"""Digital numbers per unit of reflectance."""

CLEAR, CLOUD, THIN_CLOUD, SHADOW = 0, 1, 2, 3
"""Values of a mask beside `NO_DATA`."""

MASK_VALUES: tuple[int, ...] = (CLEAR, CLOUD, THIN_CLOUD, SHADOW, NO_DATA)

UNLABELLED = "none"
"""Value of the manifest's `label` column of a scene without a mask."""

MANIFEST = "manifest.csv"
REQUIRED_COLUMNS: tuple[str, ...] = ("name", "sensor", "level", "gsd_m", "label")


def labelled_cloud(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a mask says cloud, thick or thin; of the mask's shape."""
    cloud: NDArray[np.bool_] = (mask == CLOUD) | (mask == THIN_CLOUD)
    return cloud


@dataclass(frozen=True)
class Scene:
    """One image with what is known about it.

    Attributes
    ----------
    collection, name : str
        The scene is called ``collection/name`` everywhere else.
    path : Path
        The image.
    mask_path : Path or None
        The label, None when the manifest says there is none.
    sensor, level : str
        As in the manifest, for example ``Sentinel-2 MSI`` and ``L1C``.
    gsd_m : float
        Edge of a cell on the ground.
    height_px, width_px : int
    label : str
        Who made the mask: ``human``, ``exact``, ``clear_by_eye``, a detector's name, or ``none``.
    cloud_fraction : float or None
        By the mask, thick and thin over valid pixels; None without a mask.
    split : str
        ``train``, ``val``, ``unlabelled`` or what the manifest says.
    surface : str
        One of `payload.surfaces.SURFACES`; see `payload.surfaces.surface_of_row`.
    kind : str
        ``real``, or ``composite`` when clouds were added to a real background.
    background : str
        Name of the scene of the same collection that a composite's clouds were laid over.
    place, date, source, licence, notes : str
        As in the manifest; empty when not known.
    """

    collection: str
    name: str
    path: Path
    mask_path: Path | None
    sensor: str
    level: str
    gsd_m: float
    height_px: int
    width_px: int
    label: str
    cloud_fraction: float | None
    split: str
    surface: str
    kind: str = "real"
    background: str = ""
    place: str = ""
    date: str = ""
    source: str = ""
    licence: str = ""
    notes: str = ""

    @property
    def full_name(self) -> str:
        """``collection/name``."""
        return f"{self.collection}/{self.name}"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the image file, in hexadecimal."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def reflectance(self) -> NDArray[np.float32]:
        """Reflectance of blue, green, red and near infrared, shape (4, H, W).

        Raises
        ------
        SceneError
            The image is missing, unreadable, of another shape than the manifest says, not
            uint16, or has neither 4 nor 13 bands.
        """
        return self._reflectance_of(self.path)

    def clear_reflectance(self) -> NDArray[np.float32] | None:
        """The same place on a clear date, shape (4, H, W); None when there is no such file."""
        path = self.path.with_name(f"{self.name}.clear.tif")
        return self._reflectance_of(path) if path.is_file() else None

    def truth(self) -> NDArray[np.uint8] | None:
        """The mask, shape (H, W): 0 clear, 1 cloud, 2 thin, 3 shadow, 255 no data; or None.

        Raises
        ------
        SceneError
            The mask is missing, unreadable, of another shape than the image, or holds other
            values.
        """
        if self.mask_path is None:
            return None
        mask = read_image(self.mask_path).values
        self._check_shape(self.mask_path, mask[0].shape)
        if mask.shape[0] != 1 or mask.dtype != np.uint8:
            raise SceneError(
                f"{self.mask_path}: a mask is one uint8 band, this has {mask.shape[0]} of "
                f"{mask.dtype}; write it as uint8"
            )
        strange = np.setdiff1d(mask, MASK_VALUES)
        if strange.size:
            raise SceneError(
                f"{self.mask_path}: value {int(strange[0])} has no meaning in a mask; "
                "use 0 clear, 1 cloud, 2 thin cloud, 3 shadow, 255 no data"
            )
        return np.asarray(mask[0], dtype=np.uint8)

    def _reflectance_of(self, path: Path) -> NDArray[np.float32]:
        image = read_image(path)
        values = image.values
        if values.dtype != np.uint16:
            raise SceneError(
                f"{path}: pixels are {values.dtype}, expected uint16 (reflectance x 10000); "
                "convert the image"
            )
        self._check_shape(path, values.shape[1:])
        return image.four_bands().astype(np.float32) / np.float32(REFLECTANCE_SCALE)

    def _check_shape(self, path: Path, shape: tuple[int, ...]) -> None:
        if shape != (self.height_px, self.width_px):
            raise SceneError(
                f"{path}: the file is {shape[0]} x {shape[1]} px, the manifest says "
                f"{self.height_px} x {self.width_px}; correct the manifest or restore the file"
            )


@dataclass(frozen=True)
class SceneCollection:
    """The scenes of one folder, in the order of the manifest."""

    name: str
    folder: Path
    scenes: tuple[Scene, ...]

    def __iter__(self) -> Iterator[Scene]:
        return iter(self.scenes)

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def labelled(self) -> tuple[Scene, ...]:
        """Scenes with a mask."""
        return tuple(scene for scene in self.scenes if scene.mask_path is not None)


def read_collection(folder: Path | str) -> SceneCollection:
    """Read one collection: a folder with its own manifest, or a part of a larger one.

    Parameters
    ----------
    folder : path
        Holds ``manifest.csv``; or its parent does, and rows say ``collection`` = folder name.

    Raises
    ------
    SceneError
        No manifest, no row for the folder, a missing column or file, or a value that cannot
        be read.
    """
    folder = Path(folder)
    manifest, rows = collection_rows(folder)
    scenes = tuple(
        scene_of_row(row, folder, f"{manifest}, row {i}") for i, row in enumerate(rows, 2)
    )
    _check_unique(scenes, manifest)
    return SceneCollection(name=folder.resolve().name, folder=folder, scenes=scenes)


def collection_rows(folder: Path) -> tuple[Path, list[dict[str, str]]]:
    """The manifest that describes a collection, and its rows for that folder.

    Raises
    ------
    SceneError
        There is no folder, no manifest, or no row for it.
    """
    if not folder.is_dir():
        raise SceneError(f"{folder}: there is no such folder; name a scene collection's folder")
    own, parent = folder / MANIFEST, folder.resolve().parent / MANIFEST
    if own.is_file():
        rows = read_manifest(own)
        if rows and "collection" in rows[0] and not _images_lie_in(folder, rows):
            parts = sorted({row["collection"] for row in rows})
            raise SceneError(
                f"{own}: holds several collections; name one of the subfolders {', '.join(parts)}"
            )
        manifest = own
    elif parent.is_file():
        name = folder.resolve().name
        rows = [row for row in read_manifest(parent) if row.get("collection") == name]
        manifest = parent
    else:
        raise SceneError(
            f"{folder}: holds no {MANIFEST}, nor does its parent folder; a scene collection "
            "needs one row per image in such a file"
        )
    if not rows:
        raise SceneError(f"{manifest}: has no row for {folder}; add the scenes to the manifest")
    return manifest, rows


def read_scenes(root: Path | str) -> tuple[Scene, ...]:
    """Read every scene below `root`: one collection, or a folder of several.

    Raises
    ------
    SceneError
        As `read_collection`.
    """
    root = Path(root)
    return tuple(scene for folder in collection_folders(root) for scene in read_collection(folder))


def collection_folders(root: Path | str) -> tuple[Path, ...]:
    """Folders of the collections at `root`: itself, or the subfolders its manifest names.

    Raises
    ------
    SceneError
        `root` holds no collection.
    """
    root = Path(root)
    manifest = root / MANIFEST
    if manifest.is_file():
        rows = read_manifest(manifest)
        if rows and "collection" in rows[0] and not _images_lie_in(root, rows):
            return tuple(root / name for name in dict.fromkeys(row["collection"] for row in rows))
        return (root,)
    if root.is_dir():
        found = tuple(sorted(path.parent for path in root.glob(f"*/{MANIFEST}")))
        if found:
            return found
        if (root.resolve().parent / MANIFEST).is_file():
            return (root,)
    raise SceneError(
        f"{root}: holds no scene collection; expected {MANIFEST} there or in its subfolders"
    )


def read_manifest(path: Path) -> list[dict[str, str]]:
    """Rows of a manifest as text.

    Raises
    ------
    SceneError
        The file is not readable as CSV in UTF-8, or lacks a required column.
    """
    try:
        # With the mark that spreadsheet programs put before UTF-8, or without.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SceneError(
            f"{path}: cannot be read ({error}); a manifest is a CSV file in UTF-8"
        ) from error
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if missing:
        raise SceneError(
            f"{path}: column {missing[0]!r} is missing; the manifest needs "
            f"{', '.join(REQUIRED_COLUMNS)}"
        )
    return rows


def scene_of_row(row: Mapping[str, str], folder: Path, where: str) -> Scene:
    """Scene of one manifest row; `where` names the row in errors (`SceneError`)."""
    name, label = row["name"], row["label"] or UNLABELLED
    path, mask_path = folder / f"{name}.tif", folder / f"{name}.mask.tif"
    if not path.is_file():
        raise SceneError(f"{where}: {path} does not exist; restore the image or remove the row")
    if label != UNLABELLED and not mask_path.is_file():
        raise SceneError(
            f"{where}: {mask_path} does not exist though label is {label!r}; restore the mask "
            f"or set label to {UNLABELLED!r}"
        )
    surface = surface_of_row(row)
    if surface not in SURFACES:
        raise SceneError(
            f"{where}: surface {surface!r} is not known; use one of {', '.join(SURFACES)}"
        )
    cover = row.get("cloud_fraction", "")
    height_px, width_px = _size_px(row, path, where)
    return Scene(
        collection=folder.resolve().name,
        name=name,
        path=path,
        mask_path=mask_path if label != UNLABELLED else None,
        sensor=row["sensor"],
        level=row["level"],
        gsd_m=_number(row["gsd_m"], "gsd_m", where, low=0.01),
        height_px=height_px,
        width_px=width_px,
        label=label,
        cloud_fraction=_number(cover, "cloud_fraction", where, high=1.0) if cover else None,
        split=row.get("split", ""),
        surface=surface,
        kind=row.get("kind") or "real",
        background=row.get("background", ""),
        place=row.get("place", "") or row.get("place_or_scene", ""),
        date=row.get("date", ""),
        source=row.get("source", ""),
        licence=row.get("licence", ""),
        notes=row.get("notes", ""),
    )


def _size_px(row: Mapping[str, str], path: Path, where: str) -> tuple[int, int]:
    height, width = row.get("height", ""), row.get("width", "")
    if height and width:
        return (
            int(_number(height, "height", where, low=1)),
            int(_number(width, "width", where, low=1)),
        )
    return image_size_px(path)


def _number(
    text: str, column: str, where: str, low: float = 0.0, high: float = float("inf")
) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high or value == float("inf"):
        bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise SceneError(f"{where}: {column} is {text!r}, expected a number {bounds}; correct it")
    return value


def _check_unique(scenes: Sequence[Scene], manifest: Path) -> None:
    seen: set[str] = set()
    for scene in scenes:
        if scene.name in seen:
            raise SceneError(f"{manifest}: name {scene.name!r} occurs twice; remove one row")
        seen.add(scene.name)


def _images_lie_in(folder: Path, rows: Sequence[Mapping[str, str]]) -> bool:
    return any((folder / f"{row['name']}.tif").is_file() for row in rows)
