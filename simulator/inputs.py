"""The files a scenario names, by their content.

A path says where a file lay, not what was in it. Whatever decides the events of a run is hashed
here, so that two runs are called alike only when they are; where the files lie plays no part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from payload.card_library import load_card
from payload.device import device_paths
from payload.link.trace import TRACE_FILE
from payload.scenes import read_collection
from simulator.environment.scene_library import collection_hashes
from simulator.ground.screening import PERFECT
from simulator.scenario import Satellite, Scenario
from simulator.scenario.problems import FieldPath, dotted
from simulator.spacecraft.boxes import REPLAY, placed_link
from simulator.telemetry.manifest import file_sha256


def input_hashes(scenario: Scenario) -> dict[str, str]:
    """SHA-256 of every file that a scenario names, by the field that names it.

    Scene collections are not among them: they have hashes of their own (`scene_hashes`). Nor are
    networks: a card holds the hash of its own.

    Raises
    ------
    ModelError
        When a card cannot be read.
    OSError
        When a file has gone since the scenario was checked.
    """
    return {dotted(field): file_sha256(path) for field, path in _named_files(scenario)}


def scene_hashes(scenario: Scenario) -> dict[str, str]:
    """One hash per scene collection of a scenario, as the manifest of a run has them.

    Raises
    ------
    SceneError
        When a collection cannot be read.
    """
    return collection_hashes([read_collection(folder) for folder in scenario.scene_folders()])


def _named_files(scenario: Scenario) -> Iterator[tuple[FieldPath, Path]]:
    yield ("targets",), scenario.resolve(scenario.targets)
    if scenario.weather.series is not None:
        yield ("weather", "series"), scenario.resolve(scenario.weather.series)
    if scenario.ground.screening != PERFECT:
        yield ("ground", "screening"), _card(scenario.name_or_path(scenario.ground.screening))
    for index, satellite in enumerate(scenario.satellites):
        for field, path in _files_of(scenario, satellite):
            yield ("satellites", index, *field), path


def _files_of(scenario: Scenario, satellite: Satellite) -> Iterator[tuple[FieldPath, Path]]:
    """Files of one satellite; a tuple of TLE lines stands in the scenario itself."""
    orbit, payload = satellite.orbit, satellite.payload
    if isinstance(orbit.tle, str):
        yield ("orbit", "tle"), scenario.resolve(orbit.tle)
    if orbit.omm is not None:
        yield ("orbit", "omm"), scenario.resolve(orbit.omm)
    yield ("payload", "model"), _card(scenario.name_or_path(payload.model))
    device = scenario.name_or_path(payload.device)
    yield ("payload", "device"), device_paths().get(device, Path(device))
    if payload.link.startswith(REPLAY):
        link = placed_link(scenario, payload.link, satellite.name)
        trace = Path(link.removeprefix(REPLAY)) / TRACE_FILE
        if trace.is_file():  # a policy without a model on board asks for none
            yield ("payload", "link"), trace


def _card(name_or_path: str) -> Path:
    card = load_card(name_or_path)
    return card.folder / f"{card.name}.yaml"
