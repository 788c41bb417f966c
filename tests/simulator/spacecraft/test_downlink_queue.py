"""The downlink queue gives the best product of the moment, however many wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.autonomy.policies import Rank
from simulator.spacecraft.radio import DownlinkQueue, QueuedProduct

HOUR_S = 3600.0

times_s = st.floats(0.0, 100.0 * HOUR_S)
ranks = st.builds(
    Rank,
    worth=st.sampled_from([0.5, 1.0, 1.5]),
    satisfying=st.booleans(),
    due_s=st.one_of(st.none(), times_s),
    deadline_s=st.one_of(st.none(), times_s),
)


def product(name: str, rank: Rank) -> QueuedProduct:
    return QueuedProduct(name, name, "somewhere", rank, 1)


def test_what_has_become_urgent_overtakes_what_was_better_when_it_came() -> None:
    queue = DownlinkQueue()
    queue.add(product("urgent-later", Rank(1.0, due_s=72 * HOUR_S, deadline_s=72 * HOUR_S)))
    queue.add(product("better", Rank(1.2)))
    sent = [queue.first(t_h * HOUR_S).product for t_h in (0.0, 24.0, 48.0, 71.0, 72.0)]
    assert sent == ["better", "better", "urgent-later", "urgent-later", "better"]


@given(st.lists(ranks, max_size=12), st.data())
def test_the_first_is_the_best_of_all_that_wait(waiting: list[Rank], data: st.DataObject) -> None:
    queue, left = DownlinkQueue(), {}
    for number, rank in enumerate(waiting):
        left[f"p{number:02d}"] = product(f"p{number:02d}", rank)
        queue.add(left[f"p{number:02d}"])
    while left:
        now_s = data.draw(times_s)
        best = min(left.values(), key=lambda p: (-p.rank.at(now_s), p.product))
        assert queue.first(now_s) is best
        gone = data.draw(st.sampled_from(sorted(left)))
        queue.remove(gone)
        del left[gone]
    assert queue.first(0.0) is None
