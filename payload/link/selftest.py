"""Checking a board before flight: is the model whole, does it see, how fast, with how much memory?

The known tile is made by arithmetic, so a board needs no scene: dark ground and bright cloud in
blocks, on which any cloud detector agrees. What is checked is that the model runs, gives the same
mask twice, and calls cloud cloud; what it takes is measured, not judged.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics

import numpy as np

from payload.card_library import load_card
from payload.frame import TILE_PX, Frame, content_sha256
from payload.link.box import Box, UpsetCrashError
from payload.link.packets import PROTOCOL_VERSION, SCHEMA_SHA256
from payload.link.settings import PayloadSettings
from payload.model import file_sha256

REPETITIONS = 5
GROUND = (0.06, 0.08, 0.07, 0.30)
CLOUD = (0.75, 0.74, 0.73, 0.78)
"""Reflectance of vegetated ground and of thick cloud, blue green red nir: round figures within
what the project's scenes show."""


class SelftestError(ValueError):
    """A board cannot be tested: its payload says nothing of the known tile."""


@dataclasses.dataclass(frozen=True)
class SelftestReport:
    """What a self-test found.

    Attributes
    ----------
    model, model_sha256, machine : str
    hash_matches, mask_repeats : bool
        The model file is the card's; the known tile gives the same mask every time.
    mask_sha256 : str
        To be held against that of another board, or of the development machine.
    cover_of_cloud, cover_of_ground : float
        Share called cloud of the tile's cloud and of its ground.
    latency_s : float
        Median wall-clock time for the tile.
    peak_memory_mib : float
    energy_provenance : str
        Whether this board has an energy meter that can be read.
    """

    model: str
    model_sha256: str
    machine: str
    protocol: int
    schema_sha256: str
    hash_matches: bool
    mask_repeats: bool
    mask_sha256: str
    cover_of_cloud: float
    cover_of_ground: float
    latency_s: float
    peak_memory_mib: float
    energy_provenance: str

    @property
    def passed(self) -> bool:
        """Whether the board may fly."""
        return (
            self.hash_matches
            and self.mask_repeats
            and self.cover_of_cloud > 0.5
            and self.cover_of_ground < 0.5
        )

    def as_json(self) -> str:
        """The report as JSON."""
        return json.dumps({**dataclasses.asdict(self), "passed": self.passed}, indent=2)

    def as_text(self) -> str:
        """The report, one line per figure."""
        rows = [f"{name:18} {value}" for name, value in dataclasses.asdict(self).items()]
        return "\n".join([*rows, f"{'passed':18} {self.passed}"])


def known_tile(shade: float = 1.0) -> Frame:
    """A 512 px tile: cloud in its right half, ground in its left; `shade` scales the ground."""
    pixels = np.empty((4, TILE_PX, TILE_PX), dtype=np.float32)
    half = TILE_PX // 2
    # A ripple of a tenth keeps the tile from being constant, which no real scene is.
    ripple = 1 + 0.1 * np.sin(np.arange(TILE_PX, dtype=np.float32) / 7)
    for band, (ground, cloud) in enumerate(zip(GROUND, CLOUD, strict=True)):
        pixels[band, :, :half] = ground * shade * ripple[:, None]
        pixels[band, :, half:] = cloud * ripple[:, None]
    return Frame("selftest", pixels)


def run_selftest(settings: PayloadSettings) -> SelftestReport:
    """Check this machine with a model.

    Raises
    ------
    ModelError
        If the model cannot be opened at all.
    SelftestError
        If the known tile gives no mask.
    """
    card = load_card(settings.model)
    timing = dataclasses.replace(settings, timing="measured")
    box = Box(timing)
    masks, latencies_s = [], []
    for _ in range(REPETITIONS):
        box.reset()
        try:
            result = box.process(known_tile())
        except UpsetCrashError as error:
            raise SelftestError(f"the known tile was not processed: {error}") from error
        if result.mask is None:
            raise SelftestError(f"the known tile was not processed: {result.detail}")
        masks.append(result.mask)
        latencies_s.append(result.host_latency_s)
    half = TILE_PX // 2
    return SelftestReport(
        model=card.name,
        model_sha256=card.sha256,
        machine=f"{platform.machine()} {platform.system()} {platform.release()}",
        protocol=PROTOCOL_VERSION,
        schema_sha256=SCHEMA_SHA256,
        hash_matches=file_sha256(card.onnx_path) == card.sha256,
        mask_repeats=all(np.array_equal(mask, masks[0]) for mask in masks),
        mask_sha256=content_sha256(masks[0]),
        cover_of_cloud=float((masks[0][:, half:] == 1).mean()),
        cover_of_ground=float((masks[0][:, :half] == 1).mean()),
        latency_s=statistics.median(latencies_s),
        peak_memory_mib=result.peak_memory_mib,
        energy_provenance=result.energy_provenance,
    )
