"""Real scenes of a mission's own targets, fetched from a STAC catalogue before it flies.

A STAC catalogue (SpatioTemporal Asset Catalog) is asked what a satellite saw of each target within
a span of dates. The dates are divided into equal shares of what there is, and of each share the
first image is taken that shows the whole frame. A window the size of the camera's frame is read
around the target, with the product's own cloud classes as its mask, and written as a scene
collection. A mission whose ``scenes.strategy`` is ``stac`` shows every target its own ground.

Nothing is fetched while a mission flies: the folder is what it saw, whatever becomes of the
catalogue. Masks are a detector's and no person's; the manifest's label says which.

Needs the extra ``stac``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import date
from itertools import chain, groupby, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.transform import rowcol
from rasterio.warp import transform as to_crs
from rasterio.windows import Window, bounds, from_bounds

from payload.frame import NO_DATA
from payload.scene_writer import Position, SceneRow, write_collection, write_image, write_mask
from payload.scenes import (
    MANIFEST,
    REFLECTANCE_SCALE,
    read_manifest,
)
from payload.surfaces import spectral_surface
from simulator.catalogue.products import PRODUCTS, Product, radiometry
from simulator.scenario.targets import Target

PLANETARY_COMPUTER: Final = "https://planetarycomputer.microsoft.com/api/stac/v1"
"""The default catalogue; open to everybody, and its files are signed by `planetary-computer`."""

LEAST_VALID: Final = 0.99
"""Share of a frame that must hold data: swaths end inside tiles."""

SPLIT: Final = "train"
"""Of fetched scenes: nobody drew their masks, so they are not for validation."""

READING = MappingProxyType(
    {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_HTTP_MAX_RETRY": "3",
        "GDAL_HTTP_RETRY_DELAY": "1",
    }
)
"""Windows of remote files are read without listing their folders; a failed request is repeated."""


class CatalogueError(ValueError):
    """A catalogue cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a catalogue.

    Attributes
    ----------
    collection : str
        One of `PRODUCTS`.
    first_day, last_day : date
        Both included.
    dates : int
        Images per target, at most.
    frame_px : (int, int)
        Rows and columns of a window.
    catalogue : str
        Address of a STAC API.
    """

    collection: str
    first_day: date
    last_day: date
    dates: int
    frame_px: tuple[int, int]
    catalogue: str = PLANETARY_COMPUTER

    def __post_init__(self) -> None:
        if self.collection not in PRODUCTS:
            raise CatalogueError(
                f"collection {self.collection!r} cannot be read; use {' or '.join(PRODUCTS)}"
            )
        if self.last_day < self.first_day:
            raise CatalogueError(
                f"the last day {self.last_day} lies before the first, {self.first_day}; swap them"
            )
        if self.dates < 1:
            raise CatalogueError(f"dates is {self.dates}, expected at least 1")

    @property
    def product(self) -> Product:
        """How the collection's numbers are read."""
        return PRODUCTS[self.collection]


@dataclass
class Fetched:
    """What came of it: scenes read, scenes that were there, targets without a scene."""

    new: int = 0
    known: int = 0
    without: list[str] = field(default_factory=list)


def fetch_scenes(
    targets: Sequence[Target],
    wanted: Wanted,
    folder: Path,
    report: Callable[[int], None] = lambda _: None,
) -> Fetched:
    """Write a scene collection with real images of each target.

    The manifest is written after every target, so that an interruption loses at most one; what is
    in the folder is not read again.

    Parameters
    ----------
    targets : sequence of Target
        A scene's ``place`` is the name of its target.
    wanted : Wanted
    folder : Path
        Made when missing; a collection that is there is added to.
    report : callable
        Told the number of targets done.

    Raises
    ------
    CatalogueError
        The extra is not installed; or the catalogue or a file of it cannot be read.
    payload.scenes.SceneError
        The folder's manifest is damaged.
    """
    client = _open(wanted.catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    rows = _rows_of(folder)
    result = Fetched()
    for done, target in enumerate(targets, 1):
        found = 0
        for share in shares(_search(client, wanted, target), wanted.dates):
            row, is_new = _first_whole(share, target, wanted, folder, rows)
            if row is not None:
                rows[row.name] = row
                found += 1
                result.new += is_new
                result.known += not is_new
        if found == 0:
            result.without.append(target.name)
        write_collection(folder, list(rows.values()))
        report(done)
    return result


def _open(catalogue: str) -> Any:
    if importlib.util.find_spec("pystac_client") is None:
        raise CatalogueError(
            "scenes fetch: the package pystac-client is not installed; install the extra `stac`"
        )
    import planetary_computer
    import pystac_client

    signed = catalogue.rstrip("/") == PLANETARY_COMPUTER
    with _told_of(catalogue):
        return pystac_client.Client.open(
            catalogue, modifier=planetary_computer.sign_inplace if signed else None
        )


@contextmanager
def _told_of(catalogue: str) -> Iterator[None]:
    """Turn what the network and its libraries raise into one sentence."""
    import pystac
    import pystac_client.exceptions
    import pystac_client.warnings
    import requests

    try:
        yield
    except (
        pystac_client.exceptions.APIError,
        pystac.STACError,
        requests.RequestException,
        pystac_client.warnings.DoesNotConformTo,  # raised where there is no search
        OSError,
    ) as error:
        raise CatalogueError(
            f"catalogue {catalogue}: {_first_line(error)}; see to the address and the network, "
            "then give the same command again: what is there is not fetched twice"
        ) from error


def _first_line(error: Exception) -> str:
    return textwrap.shorten(str(error).partition("\n")[0] or type(error).__name__, 300)


def _search(client: Any, wanted: Wanted, target: Target) -> list[Any]:
    """Items over a target, by time."""
    point = {"type": "Point", "coordinates": [target.longitude_deg, target.latitude_deg]}
    with _told_of(wanted.catalogue):
        found = client.search(
            collections=[wanted.collection],
            intersects=point,
            datetime=f"{wanted.first_day}/{wanted.last_day}",
        )
        items = [item for item in found.items() if _platform(item) in wanted.product.sensors]
    return sorted(items, key=lambda item: (item.properties["datetime"], item.id))


def _platform(item: Any) -> str:
    return str(item.properties.get("platform", ""))


def shares(items: Sequence[Any], dates: int) -> list[list[Any]]:
    """Items in the order of time, divided into shares of as many days, none empty.

    Items of one day stay together: they are tiles of one swath, and show the same cloud.
    """
    days = [list(group) for _, group in groupby(items, key=_day)]
    edges = np.linspace(0, len(days), min(dates, len(days)) + 1).round().astype(int)
    return [list(chain.from_iterable(days[a:b])) for a, b in pairwise(edges)]


def _day(item: Any) -> str:
    return str(item.properties["datetime"])[:10]


def _first_whole(
    items: Sequence[Any],
    target: Target,
    wanted: Wanted,
    folder: Path,
    rows: Mapping[str, SceneRow],
) -> tuple[SceneRow | None, bool]:
    """The first item that shows the whole frame, and whether it had to be read."""
    names = [f"{_file_name(target.name)}_{_file_name(item.id)}" for item in items]
    for name in names:
        if name in rows:
            return rows[name], False
    for item, name in zip(items, names, strict=True):
        row = _scene(item, name, target, wanted, folder)
        if row is not None:
            return row, True
    return None, False


def _file_name(name: str) -> str:
    """A name that every file system takes; one that had to be changed gets a mark of its own."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    if plain == name:
        return name
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _scene(item: Any, name: str, target: Target, wanted: Wanted, folder: Path) -> SceneRow | None:
    """Read and write the frame of one item; None when it does not show it whole."""
    product = wanted.product
    read = _read_frame(item, target, wanted)
    if read is None:
        return None
    numbers, classes, position = read.numbers, read.classes, read.position
    valid = (numbers != 0).all(axis=0)
    mask = np.where(valid, product.mask(classes), np.uint8(NO_DATA)).astype(np.uint8)
    if (mask != NO_DATA).mean() < LEAST_VALID:
        return None
    scales, offsets = np.array(
        [radiometry(item, _asset(item, names, wanted)[1], product) for names in product.assets]
    ).T[..., None, None]
    reflectance = numbers * scales + offsets
    image = np.clip(np.rint(reflectance * REFLECTANCE_SCALE), 1, 65535).astype(np.uint16) * valid
    write_image(folder / f"{name}.tif", image, position)
    write_mask(folder / f"{name}.mask.tif", mask, position)
    return SceneRow.of(
        name=name,
        sensor=product.sensors[_platform(item)],
        level=product.level,
        gsd_m=abs(position.transform.a),
        image=image,
        mask=mask,
        label=product.label,
        split=SPLIT,
        place=target.name,
        date=_day(item),
        source=f"{wanted.collection}/{item.id}",
        licence=product.licence,
        surface=spectral_surface(image.astype(np.float32) / np.float32(REFLECTANCE_SCALE), mask),
    )


def _asset(item: Any, names: Sequence[str], wanted: Wanted) -> tuple[str, Any]:
    for name in names:
        if name in item.assets:
            return name, item.assets[name]
    raise CatalogueError(
        f"catalogue {wanted.catalogue}: item {item.id} has no asset {' or '.join(names)}; name a "
        "catalogue that has"
    )


@dataclass(frozen=True)
class _Frame:
    """Digital numbers (4, rows, columns), cloud classes (rows, columns), where they lie."""

    numbers: NDArray[np.float64]
    classes: NDArray[Any]
    position: Position


def _read_frame(item: Any, target: Target, wanted: Wanted) -> _Frame | None:
    """What an item shows around a target; None where that is not inside it."""
    product = wanted.product
    references = [_asset(item, names, wanted)[1].href for names in product.assets]
    with rasterio.Env(**READING):
        try:
            with rasterio.open(references[0]) as raster:
                window = _window(raster, target, wanted.frame_px)
                if window is None:
                    return None
                edges = bounds(window, raster.transform)
                position = Position(raster.crs, raster.window_transform(window))
            numbers = [_read(reference, edges, wanted.frame_px) for reference in references]
            classes = _read(_asset(item, product.classes, wanted)[1].href, edges, wanted.frame_px)
        except RasterioError as error:
            raise CatalogueError(
                f"catalogue {wanted.catalogue}: an image of item {item.id} cannot be read "
                f"({_first_line(error)}); give the same command again: what is there is not "
                "fetched twice"
            ) from error
    return _Frame(np.stack(numbers).astype(np.float64), classes, position)


def _window(raster: Any, target: Target, frame_px: tuple[int, int]) -> Window | None:
    """The frame around a target; None where it does not lie inside the raster."""
    x, y = to_crs("EPSG:4326", raster.crs, [target.longitude_deg], [target.latitude_deg])
    row, column = rowcol(raster.transform, x[0], y[0])
    top, left = math.floor(row) - frame_px[0] // 2, math.floor(column) - frame_px[1] // 2
    inside = (
        min(top, left) >= 0
        and top + frame_px[0] <= raster.height
        and left + frame_px[1] <= raster.width
    )
    return Window(left, top, frame_px[1], frame_px[0]) if inside else None


def _read(reference: str, edges: Sequence[float], frame_px: tuple[int, int]) -> NDArray[Any]:
    """The pixels of the first band within bounds; classes of coarser cells are repeated."""
    with rasterio.open(reference) as raster:
        window = from_bounds(*edges, transform=raster.transform)
        return np.asarray(
            raster.read(1, window=window, out_shape=frame_px, resampling=Resampling.nearest)
        )


def _rows_of(folder: Path) -> dict[str, SceneRow]:
    if not (folder / MANIFEST).is_file():
        return {}
    rows = read_manifest(folder / MANIFEST)
    foreign = sorted(
        {column for row in rows for column in row} - {f.name for f in fields(SceneRow)}
    )
    if foreign:
        raise CatalogueError(
            f"{folder} holds a collection of another kind (column {foreign[0]!r}), which would be "
            "rewritten; name another folder"
        )
    return {row["name"]: SceneRow.read(row) for row in rows}
