"""The order of the downlink queue: what is sent next has the highest rank of all that wait then.

A product's row gives its rank when it was queued. Products of the ranking policies become urgent
towards the end of their task's time and lose what set them apart at their target's deadline, so
that their rank at the time of each transfer is worked out anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.telemetry.audit.findings import Finding, RunLog, at, by_satellite, is_pixels
from simulator.telemetry.events import Downlink, Product

RANKING_POLICIES = ("prioritise", "reschedule", "oracle")
RANK_TOLERANCE = 1e-9
PREVIEWS_FIRST = 1e9
"""Previews go before all pixels, the oldest of them first."""

SATISFYING_FIRST = 1000.0
"""Rank of what satisfies its target, above the rest: no priority and urgency make up for it."""

URGENT_WITHIN_S = 48 * 3600.0
DAY_S = 86_400.0


def check_order(log: RunLog) -> Iterator[Finding]:
    """Hold each transfer against what else was in the queue."""
    products = by_satellite(log.products)
    for name, rows in by_satellite(log.downlinks).items():
        yield from _order(rows, products.get(name, []), log)
    ranking = log.scenario["autonomy"]["policy"] in RANKING_POLICIES
    for product in log.products:
        capture = log.capture_by_name.get(product.capture)
        if capture is None or (ranking and is_pixels(product)):
            continue
        expected = -capture.t_s if is_pixels(product) else PREVIEWS_FIRST - capture.t_s
        if product.rank_key != expected:
            yield Finding(at(product), f"rank_key is {product.rank_key}; the oldest is to go first")


def _order(rows: Sequence[Downlink], products: Sequence[Product], log: RunLog) -> Iterator[Finding]:
    gone_s = {row.product: row.end_s for row in rows if row.complete}
    for movement in log.storages:
        if movement.change in ("dropped_overflow", "dropped_fault") and movement.product:
            gone_s[movement.product] = movement.t_s
    place = {product.product: index for index, product in enumerate(products)}
    queued_s = np.array([product.t_s for product in products])
    left_s = np.array([gone_s.get(product.product, math.inf) for product in products])
    ranks = _Ranks(products, log)
    for row in rows:
        if row.product not in place:
            continue
        rank = ranks.at(row.start_s)
        sent = rank[place[row.product]]
        waits = (queued_s < row.start_s) & (row.start_s < left_s)
        better = np.flatnonzero(waits & (rank > sent + RANK_TOLERANCE))
        if better.size:
            other = products[better[0]].product
            yield Finding(at(row), f"{other} was in the queue with a higher rank")


class _Ranks:
    """Ranks of some products, as time goes by."""

    def __init__(self, products: Sequence[Product], log: RunLog) -> None:
        times_s = [_times_s(product, log) for product in products]
        self._due_s = np.array([due_s for due_s, _ in times_s])
        self._deadline_s = np.array([deadline_s for _, deadline_s in times_s])
        key = np.array([product.rank_key for product in products])
        queued_s = np.array([product.t_s for product in products])
        self._satisfying = (key >= SATISFYING_FIRST) & (key < PREVIEWS_FIRST / 2)
        set_apart = np.where(self._satisfying, SATISFYING_FIRST, 0.0)
        over = queued_s >= self._deadline_s
        self._worth = np.where(over, key, (key - set_apart) / self._urgency(queued_s))

    def at(self, t_s: float) -> NDArray[np.float64]:
        """The rank of each product at a time."""
        set_apart = np.where(self._satisfying, SATISFYING_FIRST, 0.0)
        in_time = self._worth * self._urgency(t_s) + set_apart
        return np.where(t_s >= self._deadline_s, self._worth, in_time)

    def _urgency(self, t_s: float | NDArray[np.float64]) -> NDArray[np.float64]:
        left_s = np.maximum(self._due_s - t_s, 0.0)
        return 1.0 + np.maximum(1.0 - left_s / URGENT_WITHIN_S, 0.0)


def _times_s(product: Product, log: RunLog) -> tuple[float, float]:
    """End of the task's time, and the target's deadline; infinite where ranks do not change."""
    capture = log.capture_by_name.get(product.capture)
    ranking = log.scenario["autonomy"]["policy"] in RANKING_POLICIES
    if capture is None or not ranking or not is_pixels(product):
        return math.inf, math.inf
    properties = log.targets.get(product.target, {})
    deadline_h, days = properties.get("deadline_h"), properties.get("repeat_days")
    deadline_s = math.inf if deadline_h is None else deadline_h * 3600.0
    period_s = math.inf if days is None else (capture.period + 1) * days * DAY_S
    return min(period_s, deadline_s), deadline_s
