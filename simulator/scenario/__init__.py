"""Scenario files: what a mission is, read from YAML and checked before anything is simulated.

Read `models` for the contract; `loading` turns a file into a `Scenario`; `checks` opens what the
scenario names (targets, scenes, model, device, orbit); `problems` says what is wrong and where.
"""

from __future__ import annotations

from simulator.scenario.faults import (
    FaultSection,
    PayloadFaults,
    PayloadOutage,
    StationOutage,
)
from simulator.scenario.handling import DataHandling, StorageQuota
from simulator.scenario.loading import (
    bundled_scenarios,
    load_scenario,
    read_scenario_source,
    resolved_yaml,
)
from simulator.scenario.models import (
    POLICIES,
    Autonomy,
    Ground,
    GroundStation,
    Scenario,
    SceneCollection,
    Scenes,
    Weather,
)
from simulator.scenario.problems import Problem, ScenarioError, UndefinedVariableError
from simulator.scenario.spacecraft import (
    Agility,
    Imager,
    Keplerian,
    LinkBudget,
    LookAhead,
    ModcodStep,
    OrbitSection,
    Payload,
    Power,
    Radio,
    Satellite,
    SunSynchronous,
)
from simulator.scenario.targets import Target, load_targets

__all__ = [
    "POLICIES",
    "Agility",
    "Autonomy",
    "DataHandling",
    "FaultSection",
    "Ground",
    "GroundStation",
    "Imager",
    "Keplerian",
    "LinkBudget",
    "LookAhead",
    "ModcodStep",
    "OrbitSection",
    "Payload",
    "PayloadFaults",
    "PayloadOutage",
    "Power",
    "Problem",
    "Radio",
    "Satellite",
    "Scenario",
    "ScenarioError",
    "SceneCollection",
    "Scenes",
    "StationOutage",
    "StorageQuota",
    "SunSynchronous",
    "Target",
    "UndefinedVariableError",
    "Weather",
    "bundled_scenarios",
    "load_scenario",
    "load_targets",
    "read_scenario_source",
    "resolved_yaml",
]
