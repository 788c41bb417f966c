"""What a comparison is of, known before anything is flown, and whether a folder holds it already.

A comparison is named by everything that decides the events of its runs: scenario, variants, seeds,
the content of the files they name, scenes and versions. ``asked.json`` in a campaign folder says
it from the start, so that a comparison goes on where it stopped and never takes another's place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from payload.card_library import load_card
from simulator.inputs import input_hashes, scene_hashes
from simulator.scenario import Scenario, load_scenario, resolved_yaml
from simulator.telemetry.events import SCHEMA_VERSION
from simulator.telemetry.manifest import project_version
from simulator.telemetry.runs import list_runs

ASKED_NAME = "asked.json"
"""What a campaign folder was begun for, so that another comparison does not take its place."""


class CampaignError(ValueError):
    """A campaign cannot be run or read as asked."""


@dataclass(frozen=True)
class Variant:
    """One combination that is compared; an empty name leaves each satellite its own."""

    model: str
    device: str
    policy: str

    @property
    def label(self) -> str:
        """Short name for tables."""
        return " / ".join(filter(None, (self.policy, self.model, self.device)))


@dataclass(frozen=True)
class Asked:
    """What a comparison is of: everything that decides the events of its runs.

    Attributes
    ----------
    scenario, scenario_sha256 : str
        Name and hash of the scenario before any variant.
    variants : tuple of Variant
    seeds : tuple of int
    inputs : tuple of dict of str to str
        `simulator.inputs.input_hashes` of each variant: the content of the files it names.
    scenes : dict of str to str
        `simulator.inputs.scene_hashes`, the same for all variants.
    project_version : str
    schema_version : int
        Of the events.
    """

    scenario: str
    scenario_sha256: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    inputs: tuple[Mapping[str, str], ...]
    scenes: Mapping[str, str]
    project_version: str
    schema_version: int

    def to_json(self) -> str:
        """Serialise; equal texts mean the very same comparison."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def variants_of(
    scenario: Scenario,
    models: Sequence[str] = (),
    devices: Sequence[str] = (),
    policies: Sequence[str] = (),
) -> tuple[Variant, ...]:
    """Every combination, once; where nothing is named the scenario's own is taken."""
    payloads = [satellite.payload for satellite in scenario.satellites]
    combinations = itertools.product(
        policies or (scenario.autonomy.policy,),
        models or (_in_common([payload.model for payload in payloads]),),
        devices or (_in_common([payload.device for payload in payloads]),),
    )
    named = (Variant(model, device, policy) for policy, model, device in combinations)
    return tuple(dict.fromkeys(named))


def _in_common(names: Sequence[str]) -> str:
    """The name all satellites share; empty where they differ."""
    return names[0] if len(set(names)) == 1 else ""


def asked_of(
    scenario_name: str,
    *,
    models: Sequence[str] = (),
    devices: Sequence[str] = (),
    policies: Sequence[str] = (),
    seeds: int = 5,
) -> Asked:
    """Check what is asked before anything is flown; parameters as in `compare`.

    Raises
    ------
    CampaignError
        When `seeds` is not positive, or one model has two names.
    ScenarioError, ModelError, SceneError
        When a variant cannot be flown.
    """
    if seeds < 1:
        raise CampaignError(f"seeds: {seeds} is not positive; give 1 or more, 20 for a verdict")
    scenario = load_scenario(scenario_name)
    variants = variants_of(scenario, models, devices, policies)
    seed_values = tuple(range(scenario.seed, scenario.seed + seeds))
    flown = [  # a misspelt name or a seed too far must cost nothing
        load_scenario(scenario_name, overrides_of(scenario, variant, seed_values[-1]))
        for variant in variants
    ]
    _require_each_model_once(scenario, models)
    return Asked(
        scenario.name,
        hashlib.sha256(resolved_yaml(scenario).encode()).hexdigest(),
        variants,
        seed_values,
        inputs=tuple(input_hashes(each) for each in flown),
        scenes=scene_hashes(scenario),
        project_version=project_version(),
        schema_version=SCHEMA_VERSION,
    )


def _require_each_model_once(scenario: Scenario, names: Sequence[str]) -> None:
    """Refuse two names of one card: the difference of a model to itself is no evidence."""
    named: dict[Path, str] = {}
    for name in dict.fromkeys(names):
        card = load_card(scenario.name_or_path(name))
        path = card.path.resolve()
        if path in named:
            raise CampaignError(
                f"model {card.name!r} is named twice ({named[path]} and {name}); name it once, or "
                "copy its card and its ONNX file under another name"
            )
        named[path] = name


def overrides_of(scenario: Scenario, variant: Variant, seed: int) -> dict[str, object]:
    """The variant as dotted fields; what it names goes to every satellite."""
    overrides: dict[str, object] = {"seed": seed, "autonomy.policy": variant.policy}
    for index in range(len(scenario.satellites)):
        for field, name in (("model", variant.model), ("device", variant.device)):
            if name:
                overrides[f"satellites.{index}.payload.{field}"] = name
    return overrides


def folder_for(asked: Asked, root: Path) -> Path:
    """``compare-NAME`` below `root`, numbered where another comparison lies there already."""
    names = itertools.count(2)
    folder = root / f"compare-{asked.scenario}"
    while _taken(folder, asked):
        folder = root / f"compare-{asked.scenario}-{next(names)}"
    return folder


def _taken(folder: Path, asked: Asked) -> bool:
    """Whether a folder holds anything but the comparison that is asked for."""
    empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    return not empty and not holds(folder, asked)


def holds(folder: Path, asked: Asked) -> bool:
    """Whether a folder was begun for the very same comparison."""
    try:
        return (folder / ASKED_NAME).read_text(encoding="utf-8") == asked.to_json()
    except (OSError, UnicodeDecodeError):
        return False


def begun(folder: Path) -> bool:
    """Whether a comparison left complete runs, from which its own command would go on."""
    return (folder / ASKED_NAME).exists() and any(
        run.state == "complete" for run in list_runs(folder)
    )
