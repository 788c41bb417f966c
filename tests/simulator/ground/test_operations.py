"""The ground learns at the end of a pass, thinks for its delay, and asks at the next contact."""

from __future__ import annotations

import pytest

from simulator.autonomy.policies import POLICIES
from simulator.ground.operations import GroundOperations, Report

DELAY_S = 3600.0


def ground(policy: str, log: list) -> GroundOperations:
    return GroundOperations(POLICIES[policy], DELAY_S, 3, log.append)


def report(source: str, cover: float, attempt: int = 1) -> Report:
    return Report("sat", f"sat-{attempt}", "lake", attempt, source, cover, 0.2)


@pytest.mark.parametrize("source", ["downlink", "overflow"])
def test_a_cloudy_target_is_asked_for_after_the_delay(source):
    log: list = []
    operations = ground("bent_pipe", log)
    operations.report(report(source, 0.5))
    assert operations.contact("sat", "matera", 100.0) == ()
    operations.pass_ends("sat", 100.0)
    assert operations.contact("sat", "matera", 100.0 + DELAY_S - 1.0) == ()
    (asked,) = operations.contact("sat", "matera", 100.0 + DELAY_S)
    assert (asked.target, asked.attempt) == ("lake", 1)
    assert operations.contact("sat", "matera", 1e9) == ()
    assert [event.kind_of_event for event in log] == ["ground", "uplink"]


def test_telemetry_speaks_only_for_policies_with_a_detector():
    for policy, expected in (("bent_pipe", 0), ("prune", 1)):
        log: list = []
        operations = ground(policy, log)
        operations.report(report("telemetry", 0.9))
        operations.pass_ends("sat", 0.0)
        assert len(log) == expected


def test_a_clear_product_satisfies_and_withdraws_what_was_asked():
    log: list = []
    operations = ground("prune", log)
    operations.report(report("telemetry", 0.9, attempt=1))
    operations.pass_ends("sat", 0.0)
    operations.report(report("downlink", 0.1, attempt=2))
    operations.pass_ends("sat", 10.0)
    assert operations.satisfied == {("lake", 0)}
    assert operations.contact("sat", "matera", 1e9) == ()


def test_attempts_run_out_and_news_twice_asks_once():
    log: list = []
    operations = ground("prune", log)
    operations.report(report("telemetry", 0.9))
    operations.report(report("downlink", 0.8))
    operations.pass_ends("sat", 0.0)
    assert len(operations.contact("sat", "matera", 1e9)) == 1
    operations.report(report("downlink", 0.8, attempt=3))
    operations.pass_ends("sat", 2e9)
    assert operations.contact("sat", "matera", 3e9) == ()
    assert "attempts are used up" in log[-1].reason
