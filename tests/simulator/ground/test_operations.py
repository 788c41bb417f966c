"""The ground learns at the end of a pass, thinks for its delay, and asks at the next contact."""

from __future__ import annotations

import pytest

from simulator.autonomy.policies import POLICIES
from simulator.ground.operations import GroundOperations, PreviewRules, Report

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
    assert operations.contact("sat", "matera", 100.0).tasking == ()
    operations.contact_ends("sat", 100.0)
    assert operations.contact("sat", "matera", 100.0 + DELAY_S - 1.0).tasking == ()
    (asked,) = operations.contact("sat", "matera", 100.0 + DELAY_S).tasking
    assert (asked.target, asked.attempt) == ("lake", 1)
    assert operations.contact("sat", "matera", 1e9).tasking == ()
    assert [event.kind_of_event for event in log] == ["ground", "uplink"]


def test_telemetry_speaks_only_for_policies_with_a_detector():
    for policy, expected in (("bent_pipe", 0), ("prune", 1)):
        log: list = []
        operations = ground(policy, log)
        operations.report(report("telemetry", 0.9))
        operations.contact_ends("sat", 0.0)
        assert len(log) == expected


def test_a_clear_product_satisfies_and_withdraws_what_was_asked():
    log: list = []
    operations = ground("prune", log)
    operations.report(report("telemetry", 0.9, attempt=1))
    operations.contact_ends("sat", 0.0)
    operations.report(report("downlink", 0.1, attempt=2))
    operations.contact_ends("sat", 10.0)
    assert operations.satisfied == {("lake", 0)}
    assert operations.contact("sat", "matera", 1e9).tasking == ()


def test_attempts_run_out_and_news_twice_asks_once():
    log: list = []
    operations = ground("prune", log)
    operations.report(report("telemetry", 0.9))
    operations.report(report("downlink", 0.8))
    operations.contact_ends("sat", 0.0)
    assert len(operations.contact("sat", "matera", 1e9).tasking) == 1
    operations.report(report("downlink", 0.8, attempt=3))
    operations.contact_ends("sat", 2e9)
    assert operations.contact("sat", "matera", 3e9).tasking == ()
    assert "attempts are used up" in log[-1].reason


def test_previews_are_answered_in_a_later_contact():
    log: list = []
    operations = GroundOperations(
        POLICIES["prune"], DELAY_S, 3, log.append, previews=PreviewRules(0.5, 600.0)
    )
    for capture, target, cover in (("a", "lake", 0.1), ("b", "wood", 0.5), ("c", "hill", 0.51)):
        operations.report(Report("sat", capture, target, 1, "mask", cover, 0.2))
    operations.contact_ends("sat", 0.0)
    assert [row.answer for row in log] == ["request", "request", "release"]
    assert operations.contact("sat", "matera", 599.0).requested == ()
    message = operations.contact("sat", "matera", 600.0)
    assert (message.requested, message.released) == (("a", "b"), ("c",))
    assert operations.contact("sat", "matera", 1e9).requested == ()


def test_pixels_of_a_target_that_is_satisfied_meanwhile_may_go():
    operations = GroundOperations(
        POLICIES["prune"], DELAY_S, 3, lambda _: None, previews=PreviewRules(0.5, 600.0)
    )
    operations.report(report("thumbnail", 0.3, attempt=1))
    operations.contact_ends("sat", 0.0)
    operations.report(report("downlink", 0.1, attempt=2))
    operations.contact_ends("sat", 10.0)
    message = operations.contact("sat", "matera", 600.0)
    assert (message.requested, message.released) == ((), ("sat-1",))
