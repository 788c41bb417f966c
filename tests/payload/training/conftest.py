"""Small scene collections and the folder of real ones, for whoever trains on them."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from payload.scene_writer import SceneRow, write_collection, write_image, write_mask

MakeCollection = Callable[..., Path]


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size: what a disk that fills up does to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def cloudy_image(seed: int, edge_px: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Dark ground with one bright block of cloud, and the mask of the block."""
    rng = np.random.default_rng(seed)
    image = rng.integers(500, 2000, size=(4, edge_px, edge_px)).astype(np.uint16)
    mask = np.zeros((edge_px, edge_px), dtype=np.uint8)
    top, left = rng.integers(0, edge_px // 2, size=2)
    block = (slice(top, top + edge_px // 2), slice(left, left + edge_px // 2))
    mask[block] = 1
    image[:, *block] += 6000
    return image, mask


@pytest.fixture
def make_collection() -> MakeCollection:
    """Writes a collection: one image per (name, label, split), 64 px by default."""

    def make(folder: Path, scenes: list[tuple[str, str, str]], edge_px: int = 64) -> Path:
        rows = []
        for index, (name, label, split) in enumerate(scenes):
            image, mask = cloudy_image(index, edge_px)
            write_image(folder / f"{name}.tif", image)
            if label != "none":
                write_mask(folder / f"{name}.mask.tif", mask)
            row = SceneRow.of(
                name=name,
                sensor="Sentinel-2 MSI",
                level="L1C",
                gsd_m=10.0,
                image=image,
                mask=None if label == "none" else mask,
                label=label,
                split=split,
                source="made by a test",
                licence="CC0",
            )
            rows.append(replace(row, place=f"place {index}"))
        write_collection(folder, rows)
        return folder

    return make


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Within the context no file grows beyond so many bytes."""
    return room_for


@pytest.fixture
def real_scenes() -> Path:
    """Folder of the real scenes; skips where the environment does not name it."""
    named = os.environ.get("NEPHOSCOPE_SCENES")
    if not named:
        pytest.skip("NEPHOSCOPE_SCENES is not set: the real scenes are not at hand")
    return Path(named)
