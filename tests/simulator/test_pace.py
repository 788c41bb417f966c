"""Real-time pace: events keep step with the wall clock, answers arrive when they arrive."""

from __future__ import annotations

import threading
import time

import pytest
import simpy

from simulator.pace import RealtimeEnvironment, make_environment

SLACK_S = 0.5
"""A busy machine may wake us late; never early."""
PATIENCE_S = 10.0
"""Far longer than a worker takes to say that it is done."""


def test_virtual_time_does_not_wait() -> None:
    env = make_environment("virtual", 1.0)
    started_s = time.monotonic()
    env.run(until=1e6)
    assert time.monotonic() - started_s < SLACK_S
    assert not isinstance(env, RealtimeEnvironment)


def test_events_keep_step_with_the_wall_clock() -> None:
    env = make_environment("realtime", 20.0)
    assert isinstance(env, RealtimeEnvironment)
    moments: list[tuple[float, float]] = []

    def tick():
        for _ in range(5):
            yield env.timeout(2.0)
            moments.append((env.now, time.monotonic()))

    env.process(tick())
    started_s = time.monotonic()
    env.run(until=11.0)
    for simulated_s, wall_s in moments:
        assert wall_s - started_s >= simulated_s / 20.0 - 1e-3
        assert wall_s - started_s < simulated_s / 20.0 + SLACK_S
    lateness = env.lateness()
    assert lateness.events >= 6
    assert 0 <= lateness.p50_s <= lateness.p99_s <= lateness.max_s < SLACK_S
    env.close(PATIENCE_S)


def test_time_goes_on_while_a_worker_works() -> None:
    env = RealtimeEnvironment(10.0)
    seen: list[tuple[str, float]] = []

    def ask():
        value = yield env.in_background(lambda: time.sleep(0.3) or "answer")
        seen.append((value, env.now))

    def tick():
        while True:
            yield env.timeout(1.0)
            seen.append(("tick", env.now))

    env.process(ask())
    env.process(tick())
    env.run(until=10.0)
    env.close(PATIENCE_S)
    answered = [moment for name, moment in seen if name == "answer"]
    assert len(answered) == 1
    assert 3.0 - 1e-6 <= answered[0] < 3.0 + 10 * SLACK_S
    assert [moment for name, moment in seen if name == "tick"][:2] == [1.0, 2.0]
    assert [moment for _, moment in seen] == sorted(moment for _, moment in seen)


def test_a_late_calendar_lets_no_event_overtake_an_answer() -> None:
    wall_s = [0.0]
    env = RealtimeEnvironment(10.0, clock=lambda: wall_s[0])
    begun = threading.Event()
    seen: list[tuple[str, float]] = []

    def ask():
        yield env.in_background(begun.wait)
        seen.append(("answer", env.now))

    def fall_behind():
        """Be busy from 0 to 2 s of wall time, while at 0.35 s the worker is done."""
        yield env.timeout(0.0)
        wall_s[0] = 0.35
        begun.set()
        deadline_s = time.monotonic() + PATIENCE_S
        while env._finished.empty() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        wall_s[0] = 2.0
        for _ in range(10):
            yield env.timeout(1.0)
            seen.append(("tick", env.now))

    env.process(ask())
    env.process(fall_behind())
    env.run(until=11.0)
    env.close(PATIENCE_S)
    assert [name for name, _ in seen] == ["tick"] * 3 + ["answer"] + ["tick"] * 7
    assert dict(seen)["answer"] == pytest.approx(3.5)


def test_what_a_worker_raises_is_raised_where_it_is_waited_for() -> None:
    env = RealtimeEnvironment(100.0)
    caught: list[str] = []

    def ask():
        try:
            yield env.in_background(lambda: int("x"))
        except ValueError as error:
            caught.append(str(error))

    env.process(ask())
    env.process(env.timeout(50.0) for _ in range(1))
    env.run(until=60.0)
    env.close(PATIENCE_S)
    assert len(caught) == 1


def test_the_end_waits_for_a_worker_and_not_for_ever() -> None:
    done: list[str] = []
    env = RealtimeEnvironment(1.0)
    env.in_background(lambda: time.sleep(0.3) or done.append("slow"))
    env.close(PATIENCE_S)
    assert done == ["slow"]
    gate = threading.Event()
    env = RealtimeEnvironment(1.0)
    env.in_background(gate.wait)
    started_s = time.monotonic()
    env.close(0.1)
    assert 0.1 <= time.monotonic() - started_s < SLACK_S
    gate.set()


def test_an_interrupt_of_the_simulation_is_simpys() -> None:
    env = RealtimeEnvironment(1000.0)
    with pytest.raises(simpy.core.EmptySchedule):
        env.step()
    env.close(PATIENCE_S)
