"""A small mission on disk: the contract's own example, four targets and two made-up scenes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

EXAMPLE = Path(__file__).with_name("scenario-example.yaml")
"""The scenario contract by example, as it stands."""

TARGETS = {"alps": (11.2, 46.5), "nile": (31.1, 30.0), "ems": (7.2, 53.3), "ebro": (0.6, 40.7)}


def write_geojson(path: Path, features: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def point(name: str, longitude: float, latitude: float, **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": {"name": name, **properties},
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
    }


@pytest.fixture(scope="session")
def untouched_mission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with scenario.yaml (the example, flown by the committed threshold model), targets
    and samples beside it. Nobody writes into it: see `mission`."""
    folder = tmp_path_factory.mktemp("mission") / "untouched"
    folder.mkdir()
    text = EXAMPLE.read_text(encoding="utf-8").replace("model: unet-distilled", "model: threshold")
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    features = [point(name, *place) for name, place in TARGETS.items()]
    write_geojson(folder / "targets" / "world_200.geojson", features)
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
        "transform": from_origin(500_000, 5_000_000, 10, 10),
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
