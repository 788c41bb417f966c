"""What is kept and waits: in the downlink queue, or on board until the ground asks for it.

The outbox makes products of what the policy keeps, holds pixels back behind a preview, carries out
the ground's answers, and makes room by dropping what is missed least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import simpy

from simulator.autonomy.policies import Rank, not_shown_clear, rank, total
from simulator.scenario import StorageQuota
from simulator.spacecraft.handling import Preview
from simulator.spacecraft.radio import DownlinkQueue, QueuedProduct
from simulator.spacecraft.storage import Storage
from simulator.spacecraft.taken import FramePolicy, Taken, TargetDesk
from simulator.telemetry.events import Event, Product

PREVIEWS_FIRST = 1e9
"""Rank of a preview taken at the epoch: above every product, the oldest first."""


@dataclass
class _Kept:
    """Pixels on board: queued, or held until the ground asks."""

    taken: Taken
    kept_blocks: tuple[int, ...]
    product: QueuedProduct
    queued: bool = False


class Outbox:
    """Products of one satellite between decision and delivery.

    Parameters
    ----------
    env : simpy.Environment
    satellite : str
    policy : FramePolicy
    quotas : sequence of StorageQuota
    storage : Storage
    queue : DownlinkQueue
    desk : TargetDesk
    to_radio, log : callable
        Take a product for the next pass, and an event.
    """

    def __init__(
        self,
        env: simpy.Environment,
        satellite: str,
        policy: FramePolicy,
        quotas: Sequence[StorageQuota],
        storage: Storage,
        queue: DownlinkQueue,
        *,
        desk: TargetDesk,
        to_radio: Callable[[QueuedProduct], None],
        log: Callable[[Event], None],
    ) -> None:
        self._env, self._satellite, self._policy = env, satellite, policy
        self._quotas, self._storage, self._queue = quotas, storage, queue
        self._desk, self._to_radio, self._log = desk, to_radio, log
        self._kept: dict[str, _Kept] = {}
        self._previews: dict[str, tuple[Taken, Preview]] = {}

    # Room ------------------------------------------------------------------------------------

    def make_room(self, taken: Taken, size_bytes: int) -> str:
        """Why a new frame cannot be held; empty where it can.

        Ranking policies drop what is missed least to let it in, if that makes room enough.
        """
        if self._policy.traits.ranks_downlink:
            for kept in self._dispensable(taken, size_bytes):
                self._push_out(kept)
        return self._lack(taken.target.priority, size_bytes)

    def _dispensable(self, taken: Taken, size_bytes: int) -> list[_Kept]:
        """What has to go for a new frame, all of it ranked below; nothing if it cannot suffice."""
        priority, now_s = taken.target.priority, self._env.now
        hoped = self._rank(taken, None).at(now_s)
        gone: list[_Kept] = []
        while self._lack(priority, size_bytes, gone):
            least = self._least(self._lacking_quota(priority, size_bytes, gone), gone)
            if least is None or least.product.rank.at(now_s) >= hoped:
                return []
            gone.append(least)
        return gone

    def _lack(self, priority: float, size_bytes: int, gone: Sequence[_Kept] = ()) -> str:
        """What a frame lacks were `gone` dropped; empty where nothing."""
        quota = self._lacking_quota(priority, size_bytes, gone)
        if quota is not None:
            return f"the quota of priority {quota.max_priority:g} and below is full"
        free_bytes = self._storage.free_bytes + sum(k.product.remaining_bytes for k in gone)
        return "" if free_bytes >= size_bytes else "storage is full"

    def _lacking_quota(
        self, priority: float, size_bytes: int, gone: Sequence[_Kept]
    ) -> StorageQuota | None:
        for quota in self._quotas:
            if quota.holds_for(priority):
                free_bytes = self._storage.free_within(quota) + sum(
                    kept.product.remaining_bytes
                    for kept in gone
                    if quota.holds_for(kept.taken.target.priority)
                )
                if free_bytes < size_bytes:
                    return quota
        return None

    def _least(self, quota: StorageQuota | None, gone: Sequence[_Kept]) -> _Kept | None:
        """What is missed least of what counts against a quota, or of everything."""
        candidates = [
            kept
            for kept in self._kept.values()
            if not kept.product.on_air
            and not any(kept is other for other in gone)
            and (quota is None or quota.holds_for(kept.taken.target.priority))
        ]
        now_s = self._env.now
        return max(
            candidates,
            key=lambda kept: (-kept.product.rank.at(now_s), kept.product.product),
            default=None,
        )

    def _push_out(self, kept: _Kept) -> None:
        capture = kept.taken.capture
        if kept.queued:
            self._queue.remove(kept.product.product)
        self._storage.drop(capture, kept.product.remaining_bytes, "overflow")
        del self._kept[capture]
        self._desk.lost(kept.taken)

    # Products --------------------------------------------------------------------------------

    def keep(
        self,
        taken: Taken,
        kept_blocks: tuple[int, ...],
        size_bytes: int,
        not_clear: float | None,
        preview: Preview | None,
    ) -> None:
        """Take over what the policy keeps: pixels for the queue, or behind their preview."""
        product = QueuedProduct(
            f"{taken.capture}-p",
            taken.capture,
            taken.target.name,
            self._rank(taken, not_clear),
            size_bytes,
        )
        self._kept[taken.capture] = _Kept(taken, kept_blocks, product)
        if preview is None or self._lack(taken.target.priority, preview.size_bytes):
            self._enqueue(self._kept[taken.capture])
        else:
            self._send_ahead(taken, preview)

    def _send_ahead(self, taken: Taken, preview: Preview) -> None:
        product = QueuedProduct(
            f"{taken.capture}-{preview.kind[0]}",
            taken.capture,
            taken.target.name,
            Rank(PREVIEWS_FIRST - taken.captured_s),
            preview.size_bytes,
            preview.kind,
        )
        self._previews[product.product] = (taken, preview)
        self._storage.derive(product.item, taken.capture, preview.size_bytes, taken.target.priority)
        self._put(product, taken, ())

    def _enqueue(self, kept: _Kept) -> None:
        kept.queued = True
        self._put(kept.product, kept.taken, kept.kept_blocks)

    def _put(self, product: QueuedProduct, taken: Taken, blocks: tuple[int, ...]) -> None:
        shown = total(taken.counts, blocks)
        self._storage.enqueue(product.item, product.product)
        self._log(
            Product(
                t_s=self._env.now,
                satellite=self._satellite,
                product=product.product,
                kind=product.kind,
                capture=taken.capture,
                target=taken.target.name,
                bytes=product.remaining_bytes,
                blocks=len(blocks),
                clear_px=shown.clear_px,
                cloud_px=shown.cloud_px,
                priority=taken.target.priority,
                rank_key=product.rank.at(self._env.now),
            )
        )
        self._to_radio(product)

    def answer(self, requested: Sequence[str], released: Sequence[str]) -> None:
        """The ground asks for pixels, or lets them go; what is no longer held is past asking."""
        for capture in requested:
            kept = self._kept.get(capture)
            if kept is not None and not kept.queued:
                self._enqueue(kept)
        for capture in released:
            kept = self._kept.get(capture)
            if kept is not None and not kept.queued:
                self._storage.drop(capture, kept.product.remaining_bytes, "released")
                del self._kept[capture]

    def delivered(self, product: QueuedProduct) -> None:
        """A product is complete on the ground."""
        if product.kind != "pixels":
            taken, preview = self._previews.pop(product.product)
            self._desk.previewed(taken, preview.kind, preview.not_clear)
            return
        kept = self._kept.pop(product.capture)
        self._desk.delivered(kept.taken, seen_by_ground(kept.taken, kept.kept_blocks))

    def _rank(self, taken: Taken, not_clear: float | None) -> Rank:
        limits, own = self._policy.limits, taken.target.max_cloud_fraction
        deadline_h = taken.target.deadline_h
        return rank(
            self._policy.traits,
            captured_s=taken.captured_s,
            not_clear=not_clear,
            limit=limits.target_cloud_fraction if own is None else own,
            priority=taken.target.priority,
            due_s=taken.deadline_s,
            deadline_s=None if deadline_h is None else deadline_h * 3600.0,
        )


def seen_by_ground(taken: Taken, kept_blocks: tuple[int, ...]) -> float:
    """Part of the region that the ground does not see clear in these blocks."""
    if taken.screened is not None:
        return not_shown_clear(kept_blocks, taken.screened.detection, taken.region)
    region_px = taken.region_px
    return 1.0 - total(taken.counts, kept_blocks).clear_px / region_px if region_px else 1.0
