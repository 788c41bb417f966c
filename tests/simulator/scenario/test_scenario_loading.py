"""The scenario contract: what loads, what is filled in, what can be overridden, what is noted."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from payload.card_library import load_card
from payload.scenes import read_collection
from simulator.ground.stations import catalogue
from simulator.scenario import (
    GroundStation,
    Radio,
    Scenario,
    ScenarioError,
    bundled_scenarios,
    load_scenario,
    resolved_yaml,
)
from simulator.scenario.checks import check_scenario
from simulator.scenario.explain import json_schema

EXAMPLE = Path(__file__).with_name("scenario-example.yaml")
BUNDLED = ("downlink_limited", "first_light", "landsat8_like", "phisat1_like", "sentinel2_like")


def test_the_example_of_the_contract_loads_as_it_stands() -> None:
    scenario = load_scenario(EXAMPLE)
    satellite = scenario.satellites[0]
    assert scenario.epoch == datetime(2024, 6, 1, tzinfo=UTC)
    assert scenario.duration_s == 7 * 86400
    assert satellite.imager.frame_bytes == 1024 * 1024 * 4 * 12 // 8
    assert satellite.imager.frame_km == (10.24, 10.24)
    assert satellite.payload.model == "unet-distilled"
    assert scenario.ground.mask_deg(scenario.ground.stations[0]) == 10


def test_the_bundled_scenarios_load_by_name() -> None:
    assert set(BUNDLED) <= set(bundled_scenarios())
    for name in BUNDLED:
        assert load_scenario(name).name == name


def _values(name: str | Path) -> dict[str, Any]:
    values = load_scenario(name).model_dump(mode="json")
    for key in ("name", "description"):
        del values[key]
    return values


def test_first_light_has_the_numbers_of_the_example() -> None:
    assert _values("first_light") == _values(EXAMPLE)


def test_downlink_limited_differs_in_targets_and_ground_delay_alone() -> None:
    expected = _values("first_light")
    expected["targets"] = "targets/world_300.geojson"
    expected["ground"]["processing_delay_h"] = 24
    assert _values("downlink_limited") == expected


def test_what_was_resolved_loads_again_to_the_same_values(tmp_path: Path) -> None:
    for name in BUNDLED:
        scenario = load_scenario(name)
        path = tmp_path / f"{name}.yaml"
        path.write_text(resolved_yaml(scenario), encoding="utf-8")
        again = load_scenario(path)
        assert again.model_dump() == scenario.model_dump()
        assert resolved_yaml(again) == resolved_yaml(scenario)
        assert str(tmp_path) not in resolved_yaml(again)


def test_relative_paths_start_at_the_scenario_file(
    mission: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mission.parent)
    scenario = load_scenario(Path(mission.name) / "scenario.yaml")
    assert scenario.resolve("targets/x.geojson") == (mission / "targets/x.geojson").resolve()
    monkeypatch.setenv("NEPHOSCOPE_TEST_FOLDER", "/somewhere")
    assert scenario.resolve("$NEPHOSCOPE_TEST_FOLDER/l8") == Path("/somewhere/l8")
    assert scenario.name_or_path("threshold") == "threshold"
    assert scenario.name_or_path("cards/a.yaml") == str((mission / "cards/a.yaml").resolve())
    assert scenario.link_address("replay:a.trace") == f"replay:{(mission / 'a.trace').resolve()}"
    assert scenario.link_address("tcp://board:5000") == "tcp://board:5000"


def test_overrides_replace_fields_of_every_satellite(mission: Path) -> None:
    scenario = load_scenario(
        mission / "scenario.yaml",
        {"seed": 3, "satellites.*.payload.model": "other", "satellites.0.power.battery_wh": 80},
    )
    assert scenario.seed == 3
    assert scenario.satellites[0].payload.model == "other"
    assert scenario.satellites[0].power.battery_wh == 80
    assert load_scenario(mission / "scenario.yaml").seed == 7


def test_an_override_may_make_a_section(mission: Path) -> None:
    path = mission / "scenario.yaml"
    text = path.read_text(encoding="utf-8")
    start, end = text.index("autonomy:"), text.index("ground:")
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    assert load_scenario(path).autonomy.policy == "reschedule"
    assert load_scenario(path, {"autonomy.policy": "prune"}).autonomy.policy == "prune"


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ({"satellites.4.storage_gib": 1}, "correct the index"),
        ({"autonomy.polcy": "prune"}, "did you mean policy?"),
        ({"autonomy.policy": "prun"}, "did you mean prune?"),
    ],
)
def test_a_bad_override_is_told_by_its_name(
    mission: Path, override: dict[str, object], remedy: str
) -> None:
    with pytest.raises(ScenarioError) as refused:
        load_scenario(mission / "scenario.yaml", override)
    (problem,) = refused.value.problems
    assert problem.file == f"override {next(iter(override))}"
    assert problem.remedy == remedy


def test_a_bad_part_of_an_override_is_told_as_it_was_given(mission: Path) -> None:
    """Not as the file has it, where the override stands in its place."""
    override = {"satellites.0.power": {"battery_wh": -3, "panel_area_m2": 0.05}}
    with pytest.raises(ScenarioError) as refused:
        load_scenario(mission / "scenario.yaml", override)
    problem = next(p for p in refused.value.problems if p.field_path.endswith("battery_wh"))
    assert problem.value == "-3"


def _numbers(values: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of all numbers."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict | list):
            yield from _numbers(value, here)
        elif isinstance(value, int | float):
            yield here


NUMBERS = tuple(_numbers(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("absurd", [-1e13, 1e26])
def test_every_number_has_a_range_that_its_message_names(path: str, absurd: float) -> None:
    with pytest.raises(ScenarioError) as refused:
        load_scenario(EXAMPLE, {path: absurd})
    (problem,) = refused.value.problems
    assert problem.field_path.replace("[", ".").replace("]", "") == path
    assert problem.allowed
    assert problem.remedy


def test_every_field_says_what_it_means_or_is_named_for_it() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    bare = {
        field
        for section in sections
        for field, rule in section.get("properties", {}).items()
        if not ({"description", "$ref", "const", "enum"} & rule.keys())
    }
    units = ("_s", "_h", "_deg", "_mib", "_ghz", "_w", "_m", "_wh_per_orbit")
    named_by_unit = {field for field in bare if field.endswith(units)}
    assert bare == named_by_unit


def _plain(text: str) -> Any:
    """YAML as an editor's schema check sees it: times are text."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_json_schema_accepts_what_loads(name: str) -> None:
    text = bundled_scenarios()[name].read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.Draft202012Validator(json_schema()).validate(_plain(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("battery_wh: 40", "batery_wh: 40"),
        ("policy: reschedule", "policy: rescedule"),
        ("initial_fraction: 0.8", "initial_fraction: 80"),
        ("schema: 1", "schema: 2"),
        ("frame_px: [1024, 1024]", "frame_px: [1024, 1000]"),
    ],
)
def test_the_json_schema_refuses_what_does_not_load(old: str, new: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace(old, new)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(_plain(text))


def test_times_without_a_zone_are_utc_and_others_are_converted(mission: Path) -> None:
    for written, hour in (("2024-06-01", 0), ("2024-06-01 06:00:00", 6),
                          ("2024-06-01T06:00:00+02:00", 4)):  # fmt: skip
        scenario = load_scenario(mission / "scenario.yaml", {"epoch": written})
        assert scenario.epoch == datetime(2024, 6, 1, hour, tzinfo=UTC)


def test_a_catalogue_name_stands_for_its_station(mission: Path) -> None:
    stations = ["svalsat", {"name": "mine", "latitude_deg": 1, "longitude_deg": 2, "antennas": 2}]
    scenario = load_scenario(mission / "scenario.yaml", {"ground.stations": stations})
    svalsat, mine = scenario.ground.stations
    assert (svalsat.latitude_deg, svalsat.longitude_deg) == (78.2298, 15.4078)
    assert (mine.altitude_m, mine.antennas) == (0, 2)


def test_every_station_of_the_catalogue_is_a_station() -> None:
    for name, station in catalogue().items():
        assert station.source
        GroundStation(
            name=name,
            latitude_deg=station.latitude_deg,
            longitude_deg=station.longitude_deg,
            altitude_m=station.altitude_m,
        )


def test_a_refusal_survives_the_way_from_a_worker_process(mission: Path) -> None:
    with pytest.raises(ScenarioError) as refused:
        load_scenario(mission / "scenario.yaml", {"seed": -1})
    again = pickle.loads(pickle.dumps(refused.value))
    assert again.problems == refused.value.problems
    assert str(again) == str(refused.value)


def test_a_scenario_is_immutable(mission: Path) -> None:
    scenario = load_scenario(mission / "scenario.yaml")
    with pytest.raises(ValidationError):
        scenario.seed = 4  # type: ignore[misc]


def test_a_link_budget_or_a_table_may_give_the_rate() -> None:
    budget = {"eirp_dbw": 3, "frequency_ghz": 8.2, "bandwidth_mhz": 20, "g_over_t_db_k": 30}
    table = [{"min_elevation_deg": 5, "rate_mbps": 1}, {"min_elevation_deg": 20, "rate_mbps": 4}]
    assert Radio.model_validate({"power_w": 5, "link_budget": budget}).link_budget
    assert Radio.model_validate({"power_w": 5, "modcod": table}).modcod
    with pytest.raises(ValidationError, match="no rate is given"):
        Radio(power_w=5)


def test_a_sound_mission_passes_the_check(mission: Path) -> None:
    check = check_scenario(load_scenario(mission / "scenario.yaml"), pixels=True)
    assert (check.targets, check.scenes, check.notes) == (4, 2, ())


@pytest.mark.parametrize(
    ("override", "note"),
    [
        ({"scenes.collections": ["samples", {"path": "l8", "optional": True}]},
         "l8 does not exist"),
        ({"scenes.collections": ["samples", {"path": "$NO_SUCH_VAR/l8", "optional": True}]},
         "$NO_SUCH_VAR/l8 does not exist"),
        ({"satellites.0.payload.power_limit_w": 0.1}, "over power_limit_w 0.1"),
        ({"satellites.0.payload.memory_limit_mib": 1}, "over memory_limit_mib 1"),
        ({"satellites.0.payload.frame_deadline_s": 1e-6}, "over frame_deadline_s 1e-06"),
        ({"satellites.0.payload.energy_limit_wh_per_orbit": 1e-6},
         "over energy_limit_wh_per_orbit 1e-06: no frame will be processed"),
        ({"satellites.0.power.bus_load_w": 300}, "300 and the panels give"),
        ({"data_handling": {"storage_quotas": [{"max_priority": 1, "fraction": 1e-4}]}},
         "less than one frame: none of them will be imaged"),
        ({"autonomy.target_cloud_fraction": 0}, "of 4 targets have a cloud limit of 0"),
        ({"duration_h": 24,
          "faults": [{"kind": "payload_outage", "from_h": 24, "to_h": 30}]},
         "faults[0]: the payload_outage from 24 h on lies after the mission's end at 24 h"),
        ({"satellites.0.orbit": {"sun_synchronous": {"altitude_km": 900, "ltan_h": 10.5}},
          "satellites.0.look_ahead": {"pitch_deg": 65}}, "65 looks past the Earth's limb"),
        ({"satellites.0.orbit": {"tle": [
            "1 99001U 24001A   24153.00000000  .00000000  00000-0  00000+0 0    03",
            "2 99001  97.4640  47.4710 0000000   0.0000   0.1234 15.17621731    08",
        ]}, "epoch": "2024-09-01"}, "elements are of 2024-06-01, 99 days"),
    ],
)  # fmt: skip
def test_what_may_surprise_is_noted(mission: Path, override: dict[str, object], note: str) -> None:
    check = check_scenario(load_scenario(mission / "scenario.yaml", override))
    assert len(check.notes) == 1
    assert note in check.notes[0]


@pytest.mark.parametrize("policy", ["bent_pipe", "oracle"])
def test_limits_of_a_payload_that_is_not_used_are_not_noted(mission: Path, policy: str) -> None:
    override = {"satellites.0.payload.memory_limit_mib": 1, "autonomy.policy": policy}
    assert check_scenario(load_scenario(mission / "scenario.yaml", override)).notes == ()


def test_the_least_storage_that_is_named_is_enough(mission: Path) -> None:
    odd = {"satellites.0.imager.bands": 13, "satellites.0.imager.bit_depth": 6}
    with pytest.raises(ScenarioError) as refused:
        load_scenario(mission / "scenario.yaml", odd | {"satellites.0.storage_gib": 1e-4})
    (problem,) = refused.value.problems
    least_gib = float(problem.allowed.removeprefix("at least "))
    load_scenario(mission / "scenario.yaml", odd | {"satellites.0.storage_gib": least_gib})


def test_who_has_no_scenes_is_told_where_those_are_that_ship(mission: Path) -> None:
    override = {"scenes.collections": ["no_such_folder"]}
    with pytest.raises(ScenarioError) as refused:
        check_scenario(load_scenario(mission / "scenario.yaml", override))
    (problem,) = refused.value.problems
    shipped = Path(problem.remedy.rsplit(": ", 1)[1])
    assert read_collection(shipped).name == "samples"


def test_a_model_that_cannot_be_opened_is_not_asked_to_be_measured(
    mission: Path, tmp_path: Path
) -> None:
    card = yaml.safe_load(load_card("unet-distilled-8k").path.read_text())
    del card["peak_memory_mib"]
    (tmp_path / "away.yaml").write_text(yaml.safe_dump(card | {"name": "away", "onnx": "no.onnx"}))
    override = {"satellites.0.payload.model": str(tmp_path / "away.yaml")}
    with pytest.raises(ScenarioError) as refused:
        check_scenario(load_scenario(mission / "scenario.yaml", override))
    (problem,) = refused.value.problems
    assert "does not exist" in problem.reason


@pytest.mark.parametrize(
    "link",
    [
        "replay:.",
        "tcp://127.0.0.1:5555",
        "tcp://127.0.0.1:5555?frame_s=300",
        "serial:///dev/ttyUSB0",
    ],
)
def test_a_payload_that_has_the_model_itself_needs_the_card_alone_here(
    mission: Path, link: str
) -> None:
    card = load_card("threshold")
    shutil.copy(card.folder / "threshold.yaml", mission)
    here = {"satellites.*.payload.model": "threshold.yaml"}
    with pytest.raises(ScenarioError, match="does not exist"):
        check_scenario(load_scenario(mission / "scenario.yaml", here))
    check_scenario(
        load_scenario(mission / "scenario.yaml", here | {"satellites.*.payload.link": link})
    )


def test_a_scenario_made_in_memory_starts_paths_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert Scenario.model_validate(values).folder == tmp_path


def test_every_value_says_what_it_means_to_an_editor() -> None:
    """Sections are named by their class; kinds of faults are what they say."""
    schema = json_schema()
    bare = [
        f"{owner}.{name}"
        for owner, section in [("Scenario", schema), *schema["$defs"].items()]
        for name, field in section.get("properties", {}).items()
        if "description" not in field and "$ref" not in field and name != "kind"
    ]
    assert bare == []
