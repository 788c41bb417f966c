"""Broken scenarios: each names its field, its line and the way out, on one screen, exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from typer.testing import CliRunner

from payload.card import MODELS_DIR
from payload.model import file_sha256
from simulator.cli import app
from simulator.scenario import Problem

TLE_1 = "1 99001U 24001A   24153.00000000  .00000000  00000-0  00000+0 0    03"
TLE_2 = "2 99001  97.4640  47.4710 0000000   0.0000   0.1234 15.17621731    08"

ProblemsOf = Callable[[Path], tuple[Problem, ...]]
OneScreen = Callable[[Path], str]

SSO = "sun_synchronous: {altitude_km: 510, ltan_h: 10.5}"

INLINE_STATION = (
    "stations: [{name: matera, latitude_deg: 40.65, longitude_deg: 16.70, altitude_m: 500}]"
)


@dataclass(frozen=True)
class Broken:
    """One way to break the example: `old` becomes `new`; the problem is at the line of `mark`."""

    old: str
    new: str
    field: str
    remedy: str
    mark: str = ""
    reason: str = ""


BROKEN = {
    "typo in a key": Broken(
        "battery_wh: 40", "batery_wh: 40",
        "satellites[0].power.batery_wh", "did you mean battery_wh?",
    ),
    "typo in a section": Broken(
        "agility: {", "agillity: {", "satellites[0].agillity", "did you mean agility?"
    ),
    "key that nothing is like": Broken(
        "seed: 7", "seed: 7\nxyzzy: 1", "xyzzy", "remove it or rename it", mark="xyzzy"
    ),
    "wrong unit in the key": Broken(
        "altitude_km: 510,", "altitude_m: 510000,",
        "satellites[0].orbit.sun_synchronous.altitude_m", "write altitude_km: 510",
    ),
    "wrong unit in the value": Broken(
        "altitude_km: 510,", "altitude_km: 510000,",
        "satellites[0].orbit.sun_synchronous.altitude_km", "if 510000 is in m, write 510",
    ),
    "seconds for hours": Broken(
        "duration_h: 168", "duration_h: 604800", "duration_h",
        "if 604800 is in seconds, write 168",
    ),
    "hours of more than a year": Broken(
        "duration_h: 168", "duration_h: 9000", "duration_h", "give a number above 0 and at most"
    ),
    "midnight as the end of the day": Broken(
        "ltan_h: 10.5", "ltan_h: 24", "satellites[0].orbit.sun_synchronous.ltan_h", "write 0: 24 h"
    ),
    "per cent for a fraction": Broken(
        "initial_fraction: 0.8", "initial_fraction: 80",
        "satellites[0].power.initial_fraction", "if 80 is in per cent, write 0.8",
    ),
    "unit behind the number": Broken(
        "battery_wh: 40", "battery_wh: 40 Wh",
        "satellites[0].power.battery_wh", "write the number alone: 40",
    ),
    "clock time for hours": Broken(
        "ltan_h: 10.5", "ltan_h: 10:30",
        "satellites[0].orbit.sun_synchronous.ltan_h", "10:30 is 10.5",
    ),
    "negative watt": Broken(
        "power_w: 10\n", "power_w: -10\n", "satellites[0].imager.power_w", "at least 0"
    ),
    "truth value for a number": Broken(
        "bands: 4\n", "bands: yes\n", "satellites[0].imager.bands", "write a number"
    ),
    "empty value": Broken(
        "storage_gib: 2", "storage_gib:", "satellites[0].storage_gib", "write a value"
    ),
    "empty text": Broken(
        "device: myriad2", "device: ''", "satellites[0].payload.device", "write a value",
        reason="it is empty",
    ),
    "empty word": Broken(
        "policy: reschedule", "policy: ''", "autonomy.policy", "leave it out",
        reason="it is empty",
    ),
    "number that is not finite": Broken(
        "storage_gib: 2", "storage_gib: .inf", "satellites[0].storage_gib", "at most"
    ),
    "missing field": Broken(
        "    storage_gib: 2\n", "",
        "satellites[0].storage_gib", "add storage_gib (Mass memory", mark="- name: neph-1",
    ),
    "frame of one number": Broken(
        "frame_px: [1024, 1024]", "frame_px: [1024]",
        "satellites[0].imager.frame_px", "a list of 2",
    ),
    "frame that cuts blocks": Broken(
        "frame_px: [1024, 1024]", "frame_px: [1000, 1024]",
        "satellites[0].imager.frame_px[0]", "write 768 or 1024", reason="whole blocks of 256",
    ),
    "frame under a block": Broken(
        "frame_px: [1024, 1024]", "frame_px: [1024, 128]",
        "satellites[0].imager.frame_px[1]", "a multiple of 256 at least 256",
    ),
    "unknown policy": Broken(
        "policy: reschedule", "policy: rescedule", "autonomy.policy", "did you mean reschedule?"
    ),
    "unknown station": Broken(
        INLINE_STATION, "stations: [mattera]", "ground.stations[0]", "did you mean matera?"
    ),
    "station twice": Broken(
        INLINE_STATION, "stations: [matera, matera]",
        "ground.stations[1].name", "give each its own name",
    ),
    "latitude out of range": Broken(
        "latitude_deg: 40.65", "latitude_deg: 140.65",
        "ground.stations[0].latitude_deg", "at most 90",
    ),
    "mean cover in per cent": Broken(
        "mean_cover: climatology", "mean_cover: 67", "weather.mean_cover", "climatology or a number"
    ),
    "unknown fault": Broken(
        "faults: []", "faults: [{kind: station_outge, station: matera, from_h: 3, to_h: 4}]",
        "faults[0].kind", "did you mean station_outage?",
    ),
    "payload faults ordered twice": Broken(
        "faults: []",
        "faults: [{kind: payload_faults}, {kind: payload_faults, satellite: neph-1}]",
        "faults[1].kind", "one section", reason="faults[0] orders payload_faults for neph-1",
    ),
    "fault at a station that is not there": Broken(
        "faults: []", "faults: [{kind: station_outage, station: matra, from_h: 3, to_h: 4}]",
        "faults[0].station", "did you mean matera?",
    ),
    "fault that ends before it starts": Broken(
        "faults: []", "faults: [{kind: station_outage, station: matera, from_h: 9, to_h: 4}]",
        "faults[0].to_h", "swap from_h and to_h",
    ),
    "no hysteresis": Broken(
        "recover_fraction: 0.5", "recover_fraction: 0.2",
        "satellites[0].power.recover_fraction", "raise recover_fraction",
    ),
    "storage under one frame": Broken(
        "storage_gib: 2", "storage_gib: 0.001", "satellites[0].storage_gib", "raise storage_gib"
    ),
    "two orbits": Broken(
        f"      {SSO}", f"      omm: x.json\n      {SSO}", "satellites[0].orbit",
        "keep one of them", mark="omm: x.json", reason="omm and sun_synchronous",
    ),
    "no orbit": Broken(SSO, "", "satellites[0].orbit", "write a value", mark="orbit:"),
    "two rates": Broken(
        "rate_mbps: 1}", "rate_mbps: 1, modcod: [{min_elevation_deg: 5, rate_mbps: 1}]}",
        "satellites[0].radio", "keep one of them",
    ),
    "rates out of order": Broken(
        "rate_mbps: 1}",
        "modcod: [{min_elevation_deg: 20, rate_mbps: 2}, {min_elevation_deg: 5, rate_mbps: 1}]}",
        "satellites[0].radio.modcod", "sort the rows",
    ),
    "perigee in the ground": Broken(
        SSO,
        "keplerian: {semi_major_axis_km: 6600, eccentricity: 0.1, inclination_deg: 97, "
        "raan_deg: 0, arg_perigee_deg: 0, mean_anomaly_deg: 0}",
        "satellites[0].orbit.keplerian.semi_major_axis_km", "lower eccentricity",
    ),
    "link that is none": Broken(
        "link: inprocess", "link: tcp:/board:5000", "satellites[0].payload.link", "tcp://host:port"
    ),
    "epoch that is no time": Broken(
        "2024-06-01T00:00:00Z", "tomorrow", "epoch", "ISO 8601 in UTC", mark="epoch:"
    ),
    "epoch beyond the ephemeris": Broken(
        "2024-06-01T00:00:00Z", "2091-06-01T00:00:00Z", "epoch", "choose an epoch", mark="epoch:"
    ),
    "epoch in a leap second": Broken(
        "2024-06-01T00:00:00Z", "2016-12-31T23:59:60Z", "epoch", "correct the value",
        mark="epoch:", reason="second must be in 0..59",
    ),
    "epoch that is called a time and is none": Broken(
        "2024-06-01T00:00:00Z", "!!timestamp tomorrow", "epoch", "correct the value",
        mark="epoch:", reason="cannot be read as timestamp",
    ),
    "epoch before the first year in UTC": Broken(
        "2024-06-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "epoch", "write it as 2024-06-01T",
        mark="epoch:", reason="outside the years 1 to 9999",
    ),
    "schema of the future": Broken("schema: 1", "schema: 2", "schema", "write schema: 1"),
    "key given twice": Broken(
        "seed: 7", "seed: 7\nseed: 8", "seed", "remove one of them", mark="seed: 8"
    ),
    "tab": Broken("  imager:\n", "  imager:\n\t", "", "indent with spaces", mark="\t"),
    "bracket left open": Broken(
        "frame_px: [1024, 1024]", "frame_px: [1024, 1024", "", "check brackets",
        mark="      bands: 4", reason="no YAML",
    ),
    "TLE with a bad checksum": Broken(
        SSO, f'tle: ["{TLE_1}", "{TLE_2[:-1]}7"]',
        "satellites[0].orbit.tle[1]", "copy the line again", reason="checksum '7', expected 8",
    ),
    "TLE block with a bad checksum": Broken(
        SSO, f"tle: |\n        {TLE_1}\n        {TLE_2[:-1]}7", "satellites[0].orbit.tle[1]",
        "copy the line again", reason="checksum '7', expected 8",
    ),
    "TLE block of two satellites": Broken(
        SSO, f"tle: |\n        {TLE_1}\n        {TLE_2}\n        {TLE_1}\n        {TLE_2}",
        "satellites[0].orbit.tle", "give the two element lines", reason="4 lines found",
    ),
    "TLE file missing": Broken(
        SSO, "tle: orbits/none.tle", "satellites[0].orbit.tle", "correct the path",
        reason="orbits/none.tle: no such file",
    ),
    "OMM file missing": Broken(
        SSO, "omm: orbits/none.json", "satellites[0].orbit.omm", "correct the path"
    ),
    "unknown model": Broken(
        "model: threshold", "model: treshold",
        "satellites[0].payload.model", "did you mean 'threshold'?",
    ),
    "model card missing": Broken(
        "model: threshold", "model: cards/mine.yaml",
        "satellites[0].payload.model", "a model flies by its card",
    ),
    "unknown device": Broken(
        "device: myriad2", "device: myriad",
        "satellites[0].payload.device", "did you mean 'myriad2'?",
    ),
    "recording missing": Broken(
        "link: inprocess", "link: replay:none.trace",
        "satellites[0].payload.link", "correct the path",
    ),
    "targets file missing": Broken(
        "world_200.geojson", "world_20.geojson", "targets", "did you mean world_200.geojson?"
    ),
    "environment variable not set": Broken(
        "collections: [samples]", "collections: [$NEPHOSCOPE_NOT_SET/l8biome]",
        "scenes.collections[0]", "set NEPHOSCOPE_NOT_SET",
    ),
    "scene collection missing": Broken(
        "collections: [samples]", "collections: [simples]",
        "scenes.collections[0]", "name a scene collection's folder",
    ),
    "no scene left": Broken(
        "collections: [samples]", "collections: [{path: simples, optional: true}]",
        "scenes.collections", "list one that exists",
    ),
    "weather series missing": Broken(
        "model: stochastic", "model: series\n  series: cover.csv",
        "weather.series", "correct the path", mark="series: cover.csv",
    ),
    "series that nobody reads": Broken(
        "model: stochastic", "model: stochastic\n  series: cover.csv",
        "weather.series", "set weather.model: series", mark="series: cover.csv",
    ),
    "scenes that do not serve": Broken(
        "strategy: library", "strategy: sequence", "scenes.strategy", "",
        reason="no scene serves strategy 'sequence'",
    ),
    "scenes of no target's ground": Broken(
        "strategy: library", "strategy: stac", "scenes.strategy", "nephoscope scenes fetch",
        reason="no scene serves strategy 'stac'",
    ),
    "series without a file": Broken(
        "model: stochastic", "model: series", "weather.series", "add weather.series",
        mark="weather:",
    ),
}  # fmt: skip


def edited(mission: Path, old: str, new: str) -> str:
    path = mission / "scenario.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return text


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_scenario_names_field_line_and_remedy(
    mission: Path, broken: Broken, problems_of: ProblemsOf, assert_one_screen: OneScreen
) -> None:
    text = edited(mission, broken.old, broken.new)
    mark = broken.mark or broken.new.splitlines()[0]
    line = next(n for n, row in enumerate(text.splitlines(), start=1) if mark in row)
    (problem,) = problems_of(mission / "scenario.yaml")
    assert problem.field_path == broken.field
    assert problem.line == line
    assert problem.column is not None
    assert broken.remedy in problem.remedy
    assert broken.reason in problem.reason
    said = assert_one_screen(mission / "scenario.yaml")
    assert f"scenario.yaml:{line}:{problem.column}" in said
    assert broken.field in said


def test_only_what_has_a_default_may_be_left_out(mission: Path, problems_of: ProblemsOf) -> None:
    edited(mission, "device: myriad2", "device: ''")
    edited(mission, "policy: reschedule", "policy: ''")
    told = {p.field_path: p.remedy for p in problems_of(mission / "scenario.yaml")}
    assert told == {
        "satellites[0].payload.device": "write a value",
        "autonomy.policy": "write a value, or leave it out to get the default",
    }


def _cut_geotiff(mission: Path) -> None:
    image = mission / "samples" / "cloudy.tif"
    image.write_bytes(image.read_bytes()[:2000])


def _no_geotiff(mission: Path) -> None:
    (mission / "samples" / "clear.tif").write_text("not an image", encoding="utf-8")


def _onnx_of_three_bands(mission: Path) -> None:
    """A model of three bands beside a card that promises four."""
    node = helper.make_node(
        "ReduceMean", ["reflectance"], ["cloud_probability"], axes=[1], keepdims=1
    )
    _fly_onnx(mission, node, bands=3)


def _onnx_without_numbers(mission: Path) -> None:
    """A model that opens and answers NaN: the logarithm of what is below 0."""
    mean = helper.make_node("ReduceMean", ["reflectance"], ["mean"], axes=[1], keepdims=1)
    below = helper.make_node("Neg", ["mean"], ["below"])
    _fly_onnx(mission, mean, below, helper.make_node("Log", ["below"], ["cloud_probability"]))


def _fly_onnx(mission: Path, *nodes: onnx.NodeProto, bands: int = 4) -> None:
    """Write a graph beside a card of four bands, and have the mission fly it."""
    image, cloud = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, "h", "w"])
        for name, channels in (("reflectance", bands), ("cloud_probability", 1))
    )
    graph = helper.make_graph(nodes, "foreign", [image], [cloud])
    opset = [helper.make_opsetid("", 13)]
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=8), str(mission / "foreign.onnx")
    )
    card = yaml.safe_load((MODELS_DIR / "threshold.yaml").read_text(encoding="utf-8"))
    card |= {"name": "foreign", "onnx": "foreign.onnx"}
    card |= {"sha256": file_sha256(mission / "foreign.onnx")}
    card |= {"bytes": (mission / "foreign.onnx").stat().st_size}
    (mission / "foreign.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    edited(mission, "model: threshold", "model: foreign.yaml")


@pytest.mark.parametrize(
    ("break_it", "field", "reason", "remedy"),
    [
        (_cut_geotiff, "scenes.collections[0]", "cloudy.tif", "restore"),
        (_no_geotiff, "scenes.collections[0]", "clear.tif", "restore"),
        (_onnx_of_three_bands, "satellites[0].payload.model", "'reflectance' is float", ""),
        (_onnx_without_numbers, "satellites[0].payload.model", "is not a number", "broken"),
    ],
    ids=["GeoTIFF cut short", "GeoTIFF that is none", "ONNX with wrong shape", "ONNX giving NaN"],
)
def test_a_broken_file_is_told_at_the_line_that_names_it(
    mission: Path,
    break_it: Callable[[Path], None],
    field: str,
    reason: str,
    remedy: str,
    problems_of: ProblemsOf,
    assert_one_screen: OneScreen,
) -> None:
    break_it(mission)
    (problem,) = problems_of(mission / "scenario.yaml")
    text = (mission / "scenario.yaml").read_text(encoding="utf-8").splitlines()
    assert problem.field_path == field
    assert problem.line is not None
    assert problem.value in text[problem.line - 1]
    assert reason in problem.reason
    assert remedy in problem.remedy
    assert_one_screen(mission / "scenario.yaml")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("alps,0,0.4", "no record of 3 of 4 targets, the first is 'nile'"),
        ("alps,0,40", "line 2: cover is 40"),
        ("alps,noon,0.4", "not a number"),
        ("", "there is no record"),
    ],
)
def test_a_broken_weather_series_is_told_with_what_it_lacks(
    mission: Path, rows: str, reason: str, problems_of: ProblemsOf, assert_one_screen: OneScreen
) -> None:
    (mission / "cover.csv").write_text(f"target,t_h,cover\n{rows}\n", encoding="utf-8")
    edited(mission, "model: stochastic", "model: series\n  series: cover.csv")
    (problem,) = problems_of(mission / "scenario.yaml")
    assert problem.field_path == "weather.series"
    assert reason in f"{problem.reason}; {problem.remedy}"
    assert_one_screen(mission / "scenario.yaml")


def test_a_weather_series_beside_a_sequence_of_scenes_is_refused(
    mission: Path, problems_of: ProblemsOf, assert_one_screen: OneScreen
) -> None:
    edited(mission, "model: stochastic", "model: series\n  series: cover.csv")
    edited(mission, "strategy: library", "strategy: sequence")
    (problem,) = problems_of(mission / "scenario.yaml")
    assert (problem.field_path, problem.value) == ("weather.series", "cover.csv")
    assert "scenes.strategy is sequence" in problem.reason
    assert "scenes.strategy: library" in problem.remedy
    assert_one_screen(mission / "scenario.yaml")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00x", "UTF-8"),
        (b"just words", "mapping"),
        (b"a: &x [*x]", "itself"),
    ],
)
def test_a_file_that_is_no_scenario(
    tmp_path: Path,
    content: bytes,
    reason: str,
    problems_of: ProblemsOf,
    assert_one_screen: OneScreen,
) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert reason in problem.reason
    assert_one_screen(path)


def test_a_missing_file_says_where_it_was_looked_for(
    mission: Path, problems_of: ProblemsOf, assert_one_screen: OneScreen
) -> None:
    (problem,) = problems_of(mission / "scenaro.yaml")
    assert str(mission / "scenaro.yaml") in problem.reason
    assert problem.remedy == "did you mean scenario.yaml?"
    assert_one_screen(mission / "scenaro.yaml")


def test_a_bare_name_gets_the_nearest_bundled_scenario(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(Path("first_ligth"))
    assert problem.remedy == "did you mean first_light?"


def test_many_problems_still_fit_one_screen(
    mission: Path, problems_of: ProblemsOf, assert_one_screen: OneScreen
) -> None:
    for old in ("battery_wh: 40", "storage_gib: 2", "gsd_m: 10", "bus_load_w: 6", "settle_s: 5",
                "correlation_h: 18", "max_attempts: 6"):  # fmt: skip
        key = old.partition(":")[0]
        edited(mission, old, f"{key}: -1")
    assert len(problems_of(mission / "scenario.yaml")) == 7
    assert "and 3 more" in assert_one_screen(mission / "scenario.yaml")


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [("--policy", "prun", "prune"), ("--seed", "-1", "at least 0"), ("--device", "hots", "host")],
)
def test_a_bad_option_is_told_as_an_option(
    mission: Path, option: str, value: str, remedy: str
) -> None:
    arguments = ["run", str(mission / "scenario.yaml"), option, value, "--out", str(mission)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})
    assert result.exit_code == 2
    assert f"option {option}" in result.stderr
    assert remedy in result.stderr
    assert "Traceback" not in result.stderr
