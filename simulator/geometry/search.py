"""Where a signal of time is not negative: every interval, however short.

Passes, shadows and accesses are all "the intervals in which some smooth signal is >= 0". The
signal is sampled on a grid fine enough that two neighbouring steps hold at most one extremum.
Wherever the samples leave room for an unseen crossing (a local maximum below zero, a local
minimum above it) the extremum itself is searched for; then every change of sign is bisected. An
interval shorter than the grid step is therefore found, and so is one cut by the window's edge.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.geometry.ellipsoid import Floats

Indices = NDArray[np.intp]
Signal = Callable[[Floats, Indices], Floats]
"""Value of the signal at times `t_s`, each belonging to the window of the given index."""

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class Intervals:
    """Intervals in which a signal is >= 0, sorted by window, then time.

    Attributes
    ----------
    start_s, end_s : ndarray, shape (n,)
        Ends. The signal is >= 0 at both of them, unless the interval's end is found at less than
        the search's tolerance from it.
    window : ndarray of int, shape (n,)
        Index of the search window each interval lies in.
    """

    start_s: Floats
    end_s: Floats
    window: Indices


def find_intervals(
    signal: Signal, start_s: Floats, end_s: Floats, *, step_s: float, tolerance_s: float
) -> Intervals:
    """All intervals in which `signal` is >= 0, inside each of several windows of time.

    Parameters
    ----------
    signal : callable
        Vectorised, continuous signal with at most one extremum within any two grid steps.
    start_s, end_s : ndarray, shape (w,)
        Windows to search.
    step_s : float
        Largest grid step.
    tolerance_s : float
        Largest error of the ends.
    """
    t, window = _grid(start_s, end_s, step_s)
    value = signal(t, window)
    t, window, value = _with_hidden_extrema(signal, t, window, value, tolerance_s)
    inside = value >= 0.0
    same = window[1:] == window[:-1]
    rise = np.flatnonzero(same & ~inside[:-1] & inside[1:])
    fall = np.flatnonzero(same & inside[:-1] & ~inside[1:])
    opens = np.flatnonzero(inside & np.append(True, ~same))
    closes = np.flatnonzero(inside & np.append(~same, True))
    start = np.append(_bisect(signal, window[rise], t[rise + 1], t[rise], tolerance_s), t[opens])
    end = np.append(_bisect(signal, window[fall], t[fall], t[fall + 1], tolerance_s), t[closes])
    start_window = np.append(window[rise], window[opens])
    end_window = np.append(window[fall], window[closes])
    by_start, by_end = np.lexsort((start, start_window)), np.lexsort((end, end_window))
    start, end, start_window = start[by_start], end[by_end], start_window[by_start]
    real = end > start
    return Intervals(start[real], end[real], start_window[real])


def maximise(
    signal: Signal, window: Indices, low_s: Floats, high_s: Floats, tolerance_s: float
) -> tuple[Floats, Floats]:
    """Time and value of the largest signal in brackets that hold one maximum each.

    Golden-section search, all brackets at once (Kiefer 1953).
    """
    if not len(low_s):
        return low_s.copy(), low_s.copy()
    low, high = low_s.copy(), high_s.copy()
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = signal(left, window), signal(right, window)
    width = float(np.max(high - low))
    for _ in range(_steps(width, tolerance_s, 1.0 / _GOLDEN)):
        keep_left = at_left >= at_right
        high, low = np.where(keep_left, right, high), np.where(keep_left, low, left)
        probe = np.where(keep_left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        at_probe = signal(probe, window)
        left, right = np.where(keep_left, probe, right), np.where(keep_left, left, probe)
        at_left, at_right = (
            np.where(keep_left, at_probe, at_right),
            np.where(keep_left, at_left, at_probe),
        )
    best = at_left >= at_right
    return np.where(best, left, right), np.where(best, at_left, at_right)


def sample_intervals(
    found: Intervals, *, step_s: float, least_spans: int
) -> tuple[Floats, Indices]:
    """Evenly spaced times inside intervals, both ends of each included.

    Returns
    -------
    t_s : ndarray, shape (m,)
        Samples of the first interval, then of the second, and so on.
    first : ndarray of int, shape (n + 1,)
        Where the samples of each interval begin, and `m`.
    """
    spans = np.ceil((found.end_s - found.start_s) / step_s).astype(np.intp)
    return _even_times(found.start_s, found.end_s, np.maximum(least_spans, spans))


def sample_slices(first: Indices) -> list[slice]:
    """Slice of each interval's samples, from the second result of `sample_intervals`."""
    return [slice(a, b) for a, b in itertools.pairwise(first.tolist())]


def largest_in_intervals(
    signal: Signal, t_s: Floats, value: Floats, first: Indices, tolerance_s: float
) -> tuple[Floats, Floats]:
    """Time and value of the largest signal in each sampled interval.

    `t_s` and `first` are as `sample_intervals` gives them, `value` is the signal at `t_s`; as a
    window index the signal is given that of the interval.
    """
    owner = np.repeat(np.arange(len(first) - 1), np.diff(first))
    best = np.flatnonzero(value == np.maximum.reduceat(value, first[:-1])[owner])
    at = best[np.unique(owner[best], return_index=True)[1]]
    found_t, found = maximise(
        signal,
        np.arange(len(at)),
        t_s[np.maximum(at - 1, first[:-1])],
        t_s[np.minimum(at + 1, first[1:] - 1)],
        tolerance_s,
    )
    # The largest value at an interval's end is only approached by the search inside it.
    inside = found > value[at]
    return np.where(inside, found_t, t_s[at]), np.where(inside, found, value[at])


def _steps(width: float, tolerance: float, shrink: float) -> int:
    """Steps after which `width`, divided by `shrink` in each, is below `tolerance`."""
    return max(0, math.ceil(math.log(max(width / tolerance, 1.0), shrink)))


def _grid(start_s: Floats, end_s: Floats, step_s: float) -> tuple[Floats, Indices]:
    """Sample times of all windows, at least three in each, and the window of each sample."""
    spans = np.maximum(2, np.ceil((end_s - start_s) / step_s).astype(np.intp))
    t_s, first = _even_times(start_s, end_s, spans)
    return t_s, np.repeat(np.arange(len(spans)), np.diff(first))


def _even_times(start_s: Floats, end_s: Floats, spans: Indices) -> tuple[Floats, Indices]:
    """Ends of `spans` equal parts of each window, and where each window's times begin."""
    first = np.append(0, np.cumsum(spans + 1))
    window = np.repeat(np.arange(len(spans)), spans + 1)
    share = (np.arange(len(window)) - first[window]) / spans[window]
    t_s = start_s[window] + (end_s - start_s)[window] * share
    t_s[first[1:] - 1] = end_s
    return t_s, first


def _with_hidden_extrema(
    signal: Signal, t: Floats, window: Indices, value: Floats, tolerance_s: float
) -> tuple[Floats, Indices, Floats]:
    """Add the extrema between samples that lie on the other side of zero."""
    if not len(t):
        return t, window, value
    index = np.arange(len(t))
    before = np.where(np.append(False, window[1:] == window[:-1]), index - 1, index)
    after = np.where(np.append(window[1:] == window[:-1], False), index + 1, index)
    peak = (value < 0) & (value >= value[before]) & (value >= value[after])
    dip = (value >= 0) & (value <= value[before]) & (value <= value[after])
    at = np.flatnonzero(peak | dip)
    sign = np.where(peak[at], 1.0, -1.0)

    def towards_zero(times: Floats, which: Indices) -> Floats:
        return sign[which] * signal(times, window[at[which]])

    found_t, found = maximise(
        towards_zero, np.arange(len(at)), t[before[at]], t[after[at]], tolerance_s
    )
    found = sign * found
    crosses = (found >= 0) == peak[at]
    t = np.append(t, found_t[crosses])
    window = np.append(window, window[at[crosses]])
    value = np.append(value, found[crosses])
    order = np.lexsort((t, window))
    return t[order], window[order], value[order]


def _bisect(
    signal: Signal, window: Indices, inside_s: Floats, outside_s: Floats, tolerance_s: float
) -> Floats:
    """Times within `tolerance_s` of each crossing, on the side where the signal is >= 0."""
    if not len(inside_s):
        return inside_s.copy()
    inside, outside = inside_s.copy(), outside_s.copy()
    for _ in range(_steps(float(np.max(np.abs(outside - inside))), tolerance_s, 2.0)):
        middle = 0.5 * (inside + outside)
        is_inside = signal(middle, window) >= 0.0
        inside, outside = np.where(is_inside, middle, inside), np.where(is_inside, outside, middle)
    return inside
