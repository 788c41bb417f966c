"""What a collection of a STAC catalogue holds, and how its numbers become reflectance and masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from payload.frame import NO_DATA
from payload.scenes import CLEAR, CLOUD, SHADOW, THIN_CLOUD

OFFSET_BASELINE: Final = 4.0
"""From this processing baseline on, Sentinel-2 L2A numbers are 1000 too high (BOA_ADD_OFFSET -1000;
Sentinel-2 Products Specification Document, from version 14.9)."""


@dataclass(frozen=True)
class Product:
    """What a catalogue's collection holds and how its numbers are read.

    Attributes
    ----------
    level, label, licence : str
        As in a manifest.
    sensors : mapping of str to str
        Name of the sensor by the item's ``platform``; items of other platforms are left out.
    assets : tuple of tuple of str
        What blue, green, red and near infrared may be called.
    classes : tuple of str
        What the band of cloud classes may be called.
    scale : float
        Reflectance per digital number, where the item does not tell it.
    offset : callable
        Reflectance at digital number 0 by the item's properties, where its asset tells none.
    mask : callable
        From cloud classes to the values of a mask.
    """

    level: str
    label: str
    licence: str
    sensors: Mapping[str, str]
    assets: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    scale: float
    offset: Callable[[Mapping[str, Any]], float]
    mask: Callable[[NDArray[Any]], NDArray[np.uint8]]


def scl_mask(classes: NDArray[Any]) -> NDArray[np.uint8]:
    """Mask of the scene classification of Sentinel-2 L2A.

    8 and 9 are cloud, 10 is thin cirrus, 3 cloud shadow; 0 (no data), 1 (saturated or defective)
    and codes above 11 are no data (Sen2Cor, Algorithm Theoretical Basis Document).
    """
    meanings = np.full(256, NO_DATA, np.uint8)
    meanings[2:12] = CLEAR
    meanings[[8, 9]] = CLOUD
    meanings[10], meanings[3] = THIN_CLOUD, SHADOW
    return np.asarray(meanings[np.clip(classes, 0, 255).astype(np.uint8)])


def qa_pixel_mask(classes: NDArray[Any]) -> NDArray[np.uint8]:
    """Mask of the QA_PIXEL band of Landsat Collection 2.

    Bit 0 is fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow (Landsat 8-9 Collection 2
    Level 2 Science Product Guide, table of QA_PIXEL). Dilated cloud counts as cloud, as people draw
    outlines generously.
    """
    bits = classes.astype(np.uint16)
    mask = np.full(bits.shape, CLEAR, np.uint8)
    mask[bits & 1 << 4 != 0] = SHADOW
    mask[bits & 1 << 2 != 0] = THIN_CLOUD
    mask[bits & (1 << 1 | 1 << 3) != 0] = CLOUD
    mask[bits & 1 != 0] = NO_DATA
    return mask


def _sentinel2_offset(properties: Mapping[str, Any]) -> float:
    baseline = float(properties.get("s2:processing_baseline") or 0)
    return -0.1 if baseline >= OFFSET_BASELINE else 0.0


PRODUCTS: Final[Mapping[str, Product]] = MappingProxyType(
    {
        "sentinel-2-l2a": Product(
            level="L2A",
            label="scl",
            licence="Copernicus open",
            sensors={
                name.format(letter): "Sentinel-2 MSI"
                for name in ("Sentinel-2{}", "sentinel-2{}")
                for letter in ("A", "B", "C", "a", "b", "c")
            },
            assets=(("B02", "blue"), ("B03", "green"), ("B04", "red"), ("B08", "nir")),
            classes=("SCL", "scl"),
            scale=1e-4,
            offset=_sentinel2_offset,
            mask=scl_mask,
        ),
        "landsat-c2-l2": Product(
            level="L2SP",
            label="qa_pixel",
            licence="public domain",
            sensors={"landsat-8": "Landsat-8 OLI", "landsat-9": "Landsat-9 OLI-2"},
            assets=(("blue",), ("green",), ("red",), ("nir08",)),
            classes=("qa_pixel",),
            scale=2.75e-5,
            offset=lambda _: -0.2,
            mask=qa_pixel_mask,
        ),
    }
)
"""By the collection's name in the catalogue."""


def radiometry(item: Any, asset: Any, product: Product) -> tuple[float, float]:
    """Reflectance per digital number, and at digital number 0.

    What the asset tells goes first (extension ``raster``, before and since STAC 1.1). A catalogue
    that says it took the offset off already has told the offset of the original.
    """
    fields = asset.extra_fields
    band = (fields.get("raster:bands") or fields.get("bands") or [{}])[0]
    told = {**fields, **band}
    scale = told.get("scale", told.get("raster:scale", product.scale))
    offset = told.get("offset", told.get("raster:offset"))
    if item.properties.get("earthsearch:boa_offset_applied"):
        offset = 0.0
    return float(scale), float(product.offset(item.properties) if offset is None else offset)
