"""A small mission on disk: the contract's own example, four targets and two made-up scenes."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

EXAMPLE = Path(__file__).with_name("scenario") / "scenario-example.yaml"
"""The scenario contract by example, as it stands."""

TARGETS = {"alps": (11.2, 46.5), "nile": (31.1, 30.0), "ems": (7.2, 53.3), "ebro": (0.6, 40.7)}


@pytest.fixture
def ctrl_c_heeded() -> Iterator[None]:
    """What a test starts hears Ctrl-C, though a shell that put the tests in the background told
    them, and all they start, to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def untouched_mission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with scenario.yaml (the example, flown by the committed threshold model), targets
    and samples beside it. Nobody writes into it: see `mission`."""
    folder = tmp_path_factory.mktemp("mission") / "untouched"
    folder.mkdir()
    text = EXAMPLE.read_text(encoding="utf-8").replace("model: unet-distilled", "model: threshold")
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Point", "coordinates": place},
        }
        for name, place in TARGETS.items()
    ]
    (folder / "targets").mkdir()
    (folder / "targets" / "world_200.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features}, indent=1), encoding="utf-8"
    )
    _write_samples(folder / "samples")
    return folder


@pytest.fixture
def mission(untouched_mission: Path, tmp_path: Path) -> Path:
    """A copy of `untouched_mission` to break."""
    return Path(shutil.copytree(untouched_mission, tmp_path / "mission"))


def _write_samples(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    profile = {
        "driver": "GTiff",
        "height": 64,
        "width": 64,
        "dtype": "uint16",
        "count": 4,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
    }
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("name", "sensor", "level", "gsd_m", "label", "cloud_fraction"))
        for name, cloud in (("clear", 0), ("cloudy", 1)):
            pixels = rng.integers(500 + 6000 * cloud, 2500 + 6000 * cloud, (4, 64, 64))
            with rasterio.open(folder / f"{name}.tif", "w", **profile) as image:
                image.write(pixels.astype(np.uint16))
            with rasterio.open(
                folder / f"{name}.mask.tif", "w", **{**profile, "dtype": "uint8", "count": 1}
            ) as mask:
                mask.write(np.full((1, 64, 64), cloud, np.uint8))
            rows.writerow((name, "Sentinel-2 MSI", "L1C", 10, "exact", cloud))
