"""Real scenes of a mission's own targets, from a STAC catalogue (extra ``stac``)."""

from __future__ import annotations

from simulator.catalogue.fetching import (
    PLANETARY_COMPUTER,
    CatalogueError,
    Fetched,
    Wanted,
    fetch_scenes,
)

__all__ = ["PLANETARY_COMPUTER", "CatalogueError", "Fetched", "Wanted", "fetch_scenes"]
