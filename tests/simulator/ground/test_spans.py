"""Spans of time, those that touch or overlap taken as one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from simulator.ground.link_rates import merged

spans = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda s: (float(s[0]), float(sum(s)))),
    max_size=8,
)


@given(spans)
def test_merged_spans_cover_the_same_time_once(spans_s):
    found = merged(spans_s)
    inside = [any(a <= n + 0.5 < b for a, b in spans_s) for n in range(75)]
    assert [sum(a <= n + 0.5 < b for a, b in found) for n in range(75)] == inside
    assert all(one[1] < following[0] for one, following in pairwise(found))
