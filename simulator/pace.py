"""How simulated time passes: as fast as events allow, or in step with the wall clock.

Under `virtual` pace simulated time waits for the payload: a frame that takes a board three seconds
takes the simulation three seconds of wall time and whatever latency the board reports of simulated
time. Under `realtime` pace simulated time goes on while the board works: the link is asked in a
worker thread, and its answer becomes an event at the moment it arrives. SimPy stays in one thread;
only finished answers cross the boundary, through a queue.

Each event is stepped at its moment of wall time or as soon after as the machine manages; how late
is kept and reported (`Lateness`).
"""

from __future__ import annotations

import contextlib
import math
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy


@dataclass(frozen=True)
class Lateness:
    """How late events were stepped, wall seconds.

    Attributes
    ----------
    events : int
    p50_s, p99_s, max_s : float
    factor : float
        Simulated seconds per wall second.
    """

    events: int
    p50_s: float
    p99_s: float
    max_s: float
    factor: float


class RealtimeEnvironment(simpy.Environment):  # type: ignore[misc]  # SimPy is untyped here
    """A SimPy environment whose time keeps step with the wall clock.

    SimPy's own real-time environment sleeps until the next event and cannot be woken by a worker;
    this one waits for whichever comes first.

    Parameters
    ----------
    factor : float
        Simulated seconds per wall second.
    clock : callable
        Monotonic wall seconds.
    """

    def __init__(self, factor: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.factor = factor
        self._clock = clock
        self._started_s: float | None = None
        self._finished: queue.SimpleQueue[tuple[float, simpy.Event, Any]] = queue.SimpleQueue()
        self._working = 0
        self._workers = ThreadPoolExecutor(thread_name_prefix="payload")
        self._late_s: list[float] = []

    def in_background(self, work: Callable[[], Any]) -> simpy.Event:
        """An event that happens, with the value of `work`, when a worker thread has done it.

        What `work` raises is raised where the event is waited for.
        """
        event = self.event()
        self._working += 1
        future = self._workers.submit(work)
        future.add_done_callback(lambda done: self._finished.put((self._clock(), event, done)))
        return event

    def step(self) -> None:
        """Wait for the next event's moment, or for a worker, and process what is due."""
        if self._started_s is None:
            self._started_s = self._clock()
        self._take_finished()
        while True:
            due_s = self._wall_s(self.peek())
            if math.isinf(due_s) and not self._working:
                break
            finished = self._wait(due_s)
            if finished is None:
                break
            self._take(*finished)
        late_s = self._clock() - due_s
        super().step()
        self._late_s.append(max(late_s, 0.0))

    def lateness(self) -> Lateness:
        """How late events were stepped so far."""
        late_s = np.asarray(self._late_s or [0.0])
        p50_s, p99_s = np.percentile(late_s, [50, 99])
        return Lateness(
            len(self._late_s), float(p50_s), float(p99_s), float(late_s.max()), self.factor
        )

    def close(self, patience_s: float) -> None:
        """Wait for the workers, at the longest `patience_s` of wall time, and end them.

        One that is still at work then goes on, and what it comes to is not heard any more.
        """
        deadline_s = time.monotonic() + patience_s
        with contextlib.suppress(queue.Empty):
            while self._working:
                self._finished.get(timeout=max(deadline_s - time.monotonic(), 0.0))
                self._working -= 1
        self._workers.shutdown(wait=not self._working, cancel_futures=True)

    def _wall_s(self, simulated_s: float) -> float:
        return (self._started_s or 0.0) + simulated_s / self.factor

    def _wait(self, due_s: float) -> tuple[float, simpy.Event, Any] | None:
        """What a worker finished before `due_s`; None once that moment has come."""
        while True:
            left_s = due_s - self._clock()
            if left_s <= 0:
                return None
            if not self._working:
                time.sleep(min(left_s, MAX_SLEEP_S))
                continue
            try:
                return self._finished.get(timeout=min(left_s, MAX_SLEEP_S))
            except queue.Empty:
                continue

    def _take_finished(self) -> None:
        """Take what is finished already.

        A calendar that is late does not wait, and its overdue events would overtake the answer.
        """
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(*self._finished.get_nowait())

    def _take(self, wall_s: float, event: simpy.Event, done: Any) -> None:
        """Put a finished event into the calendar at the moment its work ended."""
        self._working -= 1
        error = done.exception()
        event._ok = error is None
        event._value = done.result() if error is None else error
        at_s = (wall_s - (self._started_s or 0.0)) * self.factor
        self.schedule(event, delay=max(at_s - self.now, 0.0))


MAX_SLEEP_S = 1.0
"""Longest wait at once, so that Ctrl-C is heard between events that lie far apart."""


def make_environment(pace: str, factor: float) -> simpy.Environment:
    """The environment for a pace: ``virtual`` or ``realtime``."""
    return RealtimeEnvironment(factor) if pace == "realtime" else simpy.Environment()
