"""Students against their peers on one 512 px tile at 2 threads, all taking turns in one run.

Ratios of least times are asserted, not times: whatever else the machine does hits all alike. They
are of processor time, which neighbours do not change; `STUDENTS.md` has those of the wall clock.
"""

from __future__ import annotations

import importlib.util

import pytest

from payload.card import MODELS_DIR
from payload.card_library import load_card
from payload.training.profiling import profile_beside, s2cloudless_work

ROUNDS = 6
LARGEST_MODEL_BYTES = 5_000_000
"""The limit of CloudScout, the first cloud detector flown on an accelerator."""
INT8_PEAK_MIB = 150
FASTER_THAN_UKIS = {"unet-distilled": 10, "unet-distilled-int8": 20}
FASTER_THAN_S2CLOUDLESS = {"unet-distilled": 80, "unet-distilled-int8": 150}

PEERS = ("ukis_csmask", "s2cloudless")


@pytest.mark.skipif(
    any(importlib.util.find_spec(peer) is None for peer in PEERS),
    reason="the extra `peers` is not installed: nothing to compare with",
)
def test_students_outrun_their_peers() -> None:
    names = ["ukis-csmask-l1c", *FASTER_THAN_UKIS]
    profiles, peers = profile_beside(
        [load_card(name) for name in names], {"s2cloudless": s2cloudless_work()}, ROUNDS
    )
    processor_s = {p.model: p.latency[2].processor_s for p in profiles}
    for name, factor in FASTER_THAN_UKIS.items():
        assert processor_s["ukis-csmask-l1c"] / processor_s[name] >= factor, name
    for name, factor in FASTER_THAN_S2CLOUDLESS.items():
        assert peers["s2cloudless"].processor_s / processor_s[name] >= factor, name
    peak_mib = {p.model: p.peak_memory_mib for p in profiles}
    assert peak_mib["unet-distilled-int8"] < INT8_PEAK_MIB


def test_every_committed_model_could_be_uplinked() -> None:
    sizes = {path.name: path.stat().st_size for path in MODELS_DIR.glob("*.onnx")}
    assert sizes
    assert max(sizes.values()) < LARGEST_MODEL_BYTES
