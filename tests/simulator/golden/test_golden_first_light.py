"""first_light as it is shipped: its size, its audit, and the log that guards its behaviour."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from simulator.mission import run_mission
from simulator.scenario import load_scenario
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder

LOG = Path(__file__).with_name("first_light_decisions.py")
TIMES = ("t_s", "delivered_s")
TIME_TOLERANCE_S = 0.15
"""Versions of Skyfield rotate the Earth a little differently; the log has digits of 0.1 s."""
LEAST_CAPTURES = 150
MOST_DISTINCT_TILES = 256


@pytest.fixture(scope="module")
def first_light(tmp_path_factory) -> RunFolder:
    folder = run_mission(load_scenario("first_light"), tmp_path_factory.mktemp("first_light"))
    return RunFolder.open(folder)


def golden_module():
    spec = importlib.util.spec_from_file_location("first_light_decisions", LOG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_decisions_are_the_golden_ones(first_light):
    golden = golden_module()
    found, expected = (
        list(csv.DictReader(text.splitlines()))
        for text in (golden.decision_log(first_light), golden.GOLDEN.read_text(encoding="utf-8"))
    )
    for column in TIMES:
        found_s, expected_s = (
            [float(row.pop(column) or -1) for row in r] for r in (found, expected)
        )
        assert found_s == pytest.approx(expected_s, rel=0, abs=TIME_TOLERANCE_S)
    assert found == expected


def test_the_demo_is_a_whole_mission(first_light):
    metrics = first_light.metrics()
    assert metrics["targets"] == 200
    assert metrics["captures"] >= LEAST_CAPTURES
    assert metrics["frames_processed"] == metrics["captures"]
    assert metrics["model_calls"] == metrics["distinct_tiles"] <= MOST_DISTINCT_TILES


def test_the_demo_passes_its_audit(first_light):
    report = audit(first_light)
    assert report.passed, report.text()
