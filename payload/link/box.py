"""The payload as a box: the same `Payload`, but what it takes is measured, and it can fail.

In a cage or on a board nothing is modelled that can be measured: peak memory is the process's
own, time under measured timing is this machine's clock, and energy comes from the board's meter
where there is one. Faults are real too: a hang sleeps, a crash is a SIGKILL to oneself, a bit
flip changes the bytes of the model or of the frame (`payload.link.faults`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import tempfile
import time
from pathlib import Path

import psutil

from payload.card import ModelCard, ModelError
from payload.card_library import load_card
from payload.device import DeviceProfile, load_device
from payload.frame import Capabilities, Frame, FrameResult, Health
from payload.link.faults import BoxFault, flip_frame_bits, flip_weight_bits
from payload.link.meter import EnergyMeter, find_meter
from payload.link.settings import PayloadSettings
from payload.runtime import BYTES_PER_MIB, Payload, own_peak_memory_mib


class UpsetCrashError(RuntimeError):
    """Flipped bits broke the model: nothing can be computed any more, the process dies."""


@dataclasses.dataclass(frozen=True)
class _Fault:
    """A fault that waits for the next frame."""

    kind: BoxFault
    amount: float
    seed: int


class Box:
    """A payload that runs where it is: a caged process, or a board.

    Parameters
    ----------
    settings : PayloadSettings
        `memory_limit_mib` must be None: the cage or the board is the limit.
    meter : EnergyMeter or None
        Found by itself if not given; not used where this machine stands in for the device.
    """

    def __init__(self, settings: PayloadSettings, meter: EnergyMeter | None = None) -> None:
        self._settings = settings
        self._card = load_card(settings.model)
        self._device = load_device(settings.device)
        self._meter = meter or find_meter()
        self._payload = open_payload(self._card, self._device, settings)
        self._faults: list[_Fault] = []
        self._upsets: list[tuple[int, int]] = []
        self._resets = 0
        self._frames = 0

    def describe(self) -> Capabilities:
        """Say who you are: with the model of the card, even while bits of it are flipped.

        An upset is a fault on board. A peer that were told of another model would refuse this
        payload before it could reset it, which is the cure.
        """
        capabilities = self._payload.capabilities("box")
        return dataclasses.replace(capabilities, model_sha256=self._card.sha256)

    def process(self, frame: Frame) -> FrameResult:
        """Detect cloud in `frame`, measuring what it takes."""
        slow_down = 1.0
        faults, self._faults = self._faults, []
        for fault in faults:
            if fault.kind is BoxFault.SLOW_DOWN:
                slow_down = fault.amount
            frame = self._suffer(fault, frame)
        before_wh = self._meter.read_wh() if self._meter is not None else None
        started_s = time.perf_counter()
        result = self._compute(frame)
        elapsed_s = time.perf_counter() - started_s
        if slow_down > 1.0:
            time.sleep(elapsed_s * (slow_down - 1.0))
            result = dataclasses.replace(
                result,
                latency_s=result.latency_s * slow_down,
                energy_wh=result.energy_wh * slow_down,
            )
        self._frames += result.status == "ok"
        result = dataclasses.replace(
            result,
            model_sha256=self._card.sha256,
            peak_memory_mib=own_peak_memory_mib(),
            memory_provenance="measured",
        )
        metered = self._settings.timing == "measured" and self._payload.time_scale == 1.0
        if metered and self._meter is not None:
            after_wh = self._meter.read_wh()
            if before_wh is not None and after_wh is not None and result.model_calls:
                energy_wh = self._meter.difference_wh(before_wh, after_wh)
                return dataclasses.replace(
                    result, energy_wh=energy_wh, energy_provenance="measured"
                )
        return result

    def health(self) -> Health:
        """Resident memory of this process, and counts."""
        rss_mib = psutil.Process().memory_info().rss / BYTES_PER_MIB
        return Health(True, rss_mib, self._frames, self._resets)

    def reset(self) -> None:
        """Load the model afresh: flipped weights are gone, and so are the tiles seen."""
        self._payload = open_payload(self._card, self._device, self._settings)
        self._faults, self._upsets = [], []
        self._resets += 1

    def inject(self, fault: int, amount: float, seed: int) -> None:
        """Arrange a fault for the next frame.

        Raises
        ------
        ValueError
            If there is no such fault.
        """
        self._faults.append(_Fault(BoxFault(fault), amount, seed))

    def _compute(self, frame: Frame) -> FrameResult:
        try:
            return self._payload.process(frame)
        except ModelError as error:
            raise UpsetCrashError(f"the model no longer runs: {error}") from error

    def _suffer(self, fault: _Fault, frame: Frame) -> Frame:
        if fault.kind is BoxFault.HANG:
            time.sleep(fault.amount)
        elif fault.kind is BoxFault.CRASH:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.kind is BoxFault.FLIP_INPUT:
            return flip_frame_bits(frame, int(fault.amount), fault.seed)
        elif fault.kind is BoxFault.FLIP_WEIGHTS:
            self._upsets.append((int(fault.amount), fault.seed))
            try:
                self._payload = open_flipped_payload(
                    self._card, self._device, self._settings, self._upsets
                )
            except ModelError as error:
                raise UpsetCrashError(f"the model no longer opens: {error}") from error
        return frame


def open_payload(card: ModelCard, device: DeviceProfile, settings: PayloadSettings) -> Payload:
    """A payload in a box, which has no memory limit but its cage's."""
    return Payload(
        card,
        device,
        memory_limit_mib=settings.memory_limit_mib,
        power_limit_w=settings.power_limit_w,
        timing=settings.timing,
        threads=settings.threads,
        time_scale=settings.time_scale or 1.0,
    )


def open_flipped_payload(
    card: ModelCard,
    device: DeviceProfile,
    settings: PayloadSettings,
    upsets: list[tuple[int, int]],
) -> Payload:
    """A payload whose model has suffered upsets: (bits, seed) of each, in order."""
    model = card.onnx_path.read_bytes()
    for bits, seed in upsets:
        model = flip_weight_bits(model, bits, seed)
    with tempfile.TemporaryDirectory(prefix="nephoscope-upset-") as folder:
        path = Path(folder) / "upset.onnx"
        path.write_bytes(model)
        flipped = dataclasses.replace(
            card,
            onnx=path.name,
            package="",
            sha256=hashlib.sha256(model).hexdigest(),
            folder=Path(folder),
        )
        return open_payload(flipped, device, settings)
