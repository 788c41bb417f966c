"""A STAC API on this machine: items over the targets, their images as GeoTIFFs on disk."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.warp import transform

CRS = "EPSG:32633"
EDGE_PX = 400
CELL_M = 10.0
FRAME_PX = (128, 128)
REFLECTANCE = (0.08, 0.09, 0.07, 0.30)
"""Of clear ground; cloud is 0.6 in every band."""
CLOUD_REFLECTANCE = 0.6
CONFORMANCE = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
)


@dataclass
class Catalogue:
    """Items to be served and where; what was asked is kept."""

    folder: Path
    address: str = ""
    conformance: tuple[str, ...] = CONFORMANCE
    items: list[dict[str, Any]] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        name: str,
        day: str,
        centre: tuple[float, float],
        *,
        cloudy_columns: int = 0,
        offset: float = 0.0,
        scale: float = 1e-4,
        empty_columns: int = 0,
        shift_m: float = 0.0,
        collection: str = "sentinel-2-l2a",
        platform: str = "Sentinel-2A",
        names: tuple[str, ...] = ("B02", "B03", "B04", "B08", "SCL"),
        classes: tuple[int, int, int] = (4, 9, 0),
        **properties: Any,
    ) -> dict[str, Any]:
        """Write the images of one item and serve it.

        The tile's middle lies `shift_m` east of `centre` (longitude, latitude); cloud covers the
        western columns, and the eastern ones hold no data. Classes are those of clear ground,
        cloud and no data, in cells of twice the size.
        """
        east, north = (value[0] for value in transform("EPSG:4326", CRS, *([c] for c in centre)))
        # The corner lies on even cells, as those of real tiles do: classes are twice as coarse.
        west = 20.0 * round((east + shift_m - CELL_M * EDGE_PX / 2) / 20)
        top = 20.0 * round((north + CELL_M * EDGE_PX / 2) / 20)
        columns = np.arange(EDGE_PX)
        cloud, data = columns < cloudy_columns, columns < EDGE_PX - empty_columns
        assets = {}
        for band, clear in zip(names[:4], REFLECTANCE, strict=True):
            numbers = (np.where(cloud, CLOUD_REFLECTANCE, clear) - offset) / scale * data
            assets[band] = self._write(f"{name}-{band}", numbers.round(), CELL_M, west, top)
        kinds = np.where(data, np.where(cloud, classes[1], classes[0]), classes[2])
        assets[names[4]] = self._write(f"{name}-{names[4]}", kinds[::2], 2 * CELL_M, west, top)
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": collection,
            "geometry": {"type": "Point", "coordinates": list(centre)},
            "bbox": [*centre, *centre],
            "properties": {"datetime": f"{day}T10:00:00Z", "platform": platform, **properties},
            "links": [],
            "assets": assets,
        }
        self.items.append(item)
        return item

    def _write(
        self, name: str, row: NDArray[Any], cell_m: float, west: float, top: float
    ) -> dict[str, Any]:
        path = self.folder / f"{name}.tif"
        image = np.tile(row.astype(np.uint16), (len(row), 1))
        with rasterio.open(
            path, "w", driver="GTiff", count=1, height=len(row), width=len(row), dtype="uint16",
            crs=CRS, transform=Affine(cell_m, 0, west, 0, -cell_m, top),
        ) as raster:  # fmt: skip
            raster.write(image, 1)
        return {"href": str(path), "type": "image/tiff; application=geotiff"}

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Items of the collections, days and places that are asked for."""
        self.searches.append(asked)
        first, last = asked["datetime"].split("/")
        found = [
            item
            for item in self.items
            if item["collection"] in asked["collections"]
            and first <= item["properties"]["datetime"] <= last
            and np.allclose(item["geometry"]["coordinates"], asked["intersects"]["coordinates"])
        ]
        return {"type": "FeatureCollection", "features": found, "links": []}

    def landing_page(self) -> dict[str, Any]:
        """What stands at the address."""
        return {
            "type": "Catalog",
            "id": "test",
            "description": "items on disk",
            "stac_version": "1.0.0",
            "conformsTo": self.conformance,
            "links": [
                {"rel": "self", "href": self.address},
                {"rel": "root", "href": self.address},
                *(
                    {
                        "rel": "search", "href": f"{self.address}/search", "method": method,
                        "type": "application/geo+json",
                    }
                    for method in ("GET", "POST")
                ),
            ],
        }  # fmt: skip


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """An empty catalogue that is being served."""
    folder = tmp_path / "images"
    folder.mkdir()
    served = Catalogue(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(served.landing_page())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(served.answer(json.loads(body)))

        def _send(self, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()
