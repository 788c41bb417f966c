"""What a reader of a run folder needs beside its events: scenario, map, tracks, cards.

Written before the first event, so that a mission under way can be shown like one that ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from payload.card_library import load_card
from payload.device import device_paths
from simulator.ground.screening import PERFECT
from simulator.scenario import Scenario
from simulator.scenario.targets import Target
from simulator.telemetry.orbits import orbits_json
from simulator.telemetry.run_folder import RunWriter
from simulator.world import World


def write_surroundings(
    writer: RunWriter, scenario: Scenario, world: World, scenario_text: str
) -> None:
    """Everything a reader needs beside the events."""
    writer.write_text("scenario.yaml", scenario_text)
    writer.write_text("targets.geojson", _geojson(_target_feature(t) for t in world.targets))
    writer.write_text(
        "stations.geojson",
        _geojson(
            _point(
                station.longitude_deg,
                station.latitude_deg,
                name=station.name,
                altitude_m=station.altitude_m,
                min_elevation_deg=scenario.ground.mask_deg(station),
                antennas=station.antennas,
            )
            for station in scenario.ground.stations
        ),
    )
    elements = {name: flight.orbit.satrec for name, flight in world.flights.items()}
    writer.write_text("orbits.json", orbits_json(elements))
    tracks = [(name, flight.track) for name, flight in world.flights.items()]
    writer.write_track(
        {
            "t_s": np.concatenate([track.t_s for _, track in tracks]),
            "satellite": np.concatenate([np.full(len(track.t_s), name) for name, track in tracks]),
            "latitude_deg": np.concatenate([track.latitude_deg for _, track in tracks]),
            "longitude_deg": np.concatenate([track.longitude_deg for _, track in tracks]),
            "altitude_km": np.concatenate([track.altitude_km for _, track in tracks]),
        }
    )
    if scenario.ground.screening != PERFECT:
        ground_card = load_card(scenario.name_or_path(scenario.ground.screening))
        writer.write_card(ground_card.folder / f"{ground_card.name}.yaml")
    for satellite in scenario.satellites:
        card = load_card(scenario.name_or_path(satellite.payload.model))
        writer.write_card(card.folder / f"{card.name}.yaml")
        device = scenario.name_or_path(satellite.payload.device)
        writer.write_card(device_paths().get(device, Path(device)))


def _point(longitude_deg: float, latitude_deg: float, **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [longitude_deg, latitude_deg]},
        "properties": properties,
    }


def _target_feature(target: Target) -> dict[str, object]:
    return _point(
        target.longitude_deg,
        target.latitude_deg,
        name=target.name,
        priority=target.priority,
        deadline_h=target.deadline_h,
        surface=target.surface,
        max_cloud_fraction=target.max_cloud_fraction,
        repeat_days=target.repeat_days,
        area=target.area,
        area_share=target.area_share,
    )


def _geojson(features: Iterable[dict[str, object]]) -> str:
    return json.dumps({"type": "FeatureCollection", "features": list(features)}, indent=1) + "\n"
