"""The auditor works out anew what had to be sent next, and finds a transfer out of turn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simulator.telemetry.audit.order import check_order

HOUR_S = 3600.0
DEADLINE_H = 72.0


def product(name: str, rank_key: float) -> SimpleNamespace:
    return SimpleNamespace(
        kind_of_event="product", product=name, capture=name, target=name, satellite="s1",
        t_s=0.0, kind="pixels", rank_key=rank_key,
    )  # fmt: skip


def log(first: str, start_h: float, policy: str = "reschedule") -> Any:
    """Two products wait from the start; one is sent at a time. One of them has a deadline."""
    sent = SimpleNamespace(
        kind_of_event="downlink", product=first, satellite="s1", t_s=start_h * HOUR_S,
        start_s=start_h * HOUR_S, end_s=start_h * HOUR_S + 60.0, complete=True,
    )  # fmt: skip
    return SimpleNamespace(
        scenario={"autonomy": {"policy": policy}},
        products=(product("urgent-later", 1.0), product("better", 1.2)),
        downlinks=(sent,),
        storages=(),
        capture_by_name={
            name: SimpleNamespace(t_s=0.0, period=0) for name in ("urgent-later", "better")
        },
        targets={"urgent-later": {"deadline_h": DEADLINE_H}, "better": {}},
    )


@pytest.mark.parametrize(
    ("start_h", "due"),
    [(1.0, "better"), (24.0, "better"), (48.0, "urgent-later"), (71.0, "urgent-later"),
     (72.0, "better")],
)  # fmt: skip
def test_what_is_due_at_the_time_has_to_be_sent(start_h: float, due: str) -> None:
    other = {"better": "urgent-later", "urgent-later": "better"}[due]
    assert list(check_order(log(due, start_h))) == []
    (finding,) = check_order(log(other, start_h))
    assert f"{due} was in the queue with a higher rank" in str(finding)


def test_policies_that_do_not_rank_send_the_oldest_first() -> None:
    findings = [str(finding) for finding in check_order(log("better", 1.0, policy="prune"))]
    assert len(findings) == 2
    assert all("the oldest is to go first" in finding for finding in findings)
