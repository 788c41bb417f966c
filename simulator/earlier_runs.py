"""Whether a mission has been flown already: a run is known by its name, which covers its inputs."""

from __future__ import annotations

from pathlib import Path

from simulator.inputs import input_hashes, scene_hashes
from simulator.scenario import Scenario, resolved_yaml
from simulator.telemetry.manifest import new_manifest, run_folder_name
from simulator.telemetry.runs import list_runs


def earlier_run(scenario: Scenario, folder: Path) -> Path | None:
    """Find the complete run, directly below a folder, that flying a scenario would repeat."""
    scenes, inputs = scene_hashes(scenario), input_hashes(scenario)
    for run in list_runs(folder):
        if run.manifest is None or run.state != "complete":
            continue
        repeated = new_manifest(
            name=scenario.name,
            seed=scenario.seed,
            epoch=scenario.epoch.isoformat(),
            duration_s=scenario.duration_s,
            scenario_yaml=resolved_yaml(scenario),
            models=run.manifest.models,  # `inputs` has their cards, and these the networks' hashes
            scenes=scenes,
            inputs=inputs,
        )
        if run_folder_name(repeated) == run.path.name:
            return run.path
    return None
