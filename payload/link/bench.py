"""A payload for the bench: answers by arithmetic, so that a line can be tried without a model."""

from __future__ import annotations

import dataclasses

import numpy as np

from payload.frame import Capabilities, Frame, FrameResult, Health, block_cover, frame_cover

BENCH_MODEL_SHA256 = "ab" * 32


@dataclasses.dataclass
class BenchPayload:
    """Calls cloud what is brighter than 0.5 in the first band."""

    frames: int = 0
    resets: int = 0
    injected: list[tuple[int, float, int]] = dataclasses.field(default_factory=list)

    def describe(self) -> Capabilities:
        """Say who you are."""
        return Capabilities("arithmetic", BENCH_MODEL_SHA256, "bench", "bench", 2.0, 1.0, 10.0)

    def process(self, frame: Frame) -> FrameResult:
        """Threshold the first band."""
        self.frames += 1
        mask = (frame.reflectance[0] > 0.5).astype(np.uint8)
        mask[~frame.valid] = 255
        return FrameResult(
            frame_id=frame.frame_id,
            status="ok",
            mask=mask,
            cover=frame_cover(mask),
            block_cover=block_cover(mask),
            tile_sha256=("0" * 64,),
            model="arithmetic",
            model_sha256=BENCH_MODEL_SHA256,
            device="bench",
            latency_s=0.1 + 1 / 3,
            energy_wh=1e-5 / 3,
            provenance="declared",
            energy_provenance="modelled",
            peak_memory_mib=12.5,
            memory_provenance="measured",
            model_calls=self.frames,
        )

    def health(self) -> Health:
        """Counts."""
        return Health(True, 12.5, self.frames, self.resets)

    def reset(self) -> None:
        """Count the reset."""
        self.resets += 1

    def inject(self, fault: int, amount: float, seed: int) -> None:
        """Note the fault."""
        self.injected.append((fault, amount, seed))


def bench_frame(name: str = "frame", height: int = 300, width: int = 200, seed: int = 0) -> Frame:
    """A frame of exact 16-bit counts with a corner without data."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 12000, (4, height, width), dtype=np.uint16)
    counts[:, :10, :10] = 0
    return Frame(name, counts.astype(np.float32) / np.float32(10000))


def identical(one: FrameResult, other: FrameResult) -> bool:
    """Whether two results are equal to the last bit."""
    for field in dataclasses.fields(FrameResult):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
            if not np.array_equal(left, right) or left.dtype != right.dtype:
                return False
        elif left != right and not (left != left and right != right):
            return False
    return True
