"""The payload in the simulator's own process: no wire, no cage, everything modelled."""

from __future__ import annotations

import psutil

from payload.card import ModelError
from payload.card_library import load_card
from payload.device import load_device
from payload.frame import Capabilities, Frame, FrameResult, Health
from payload.link.settings import PayloadSettings
from payload.runtime import BYTES_PER_MIB, Payload


class InProcessLink:
    """A `PayloadLink` whose payload is a plain object.

    With measured timing the clock is this machine's, so its seconds are scaled to the device's
    by the ratio of the speeds that the profiles `host` and the device's give for the model.

    Parameters
    ----------
    settings : PayloadSettings
        Model, device and limits.

    Raises
    ------
    ModelError, DeviceError, PayloadError
        The payload cannot be set up as asked.
    """

    def __init__(self, settings: PayloadSettings) -> None:
        card = load_card(settings.model)
        device = load_device(settings.device)
        self._settings, self._card, self._device = settings, card, device
        measured = settings.timing == "measured"
        self._payload = Payload(
            card,
            device,
            memory_limit_mib=settings.memory_limit_mib,
            power_limit_w=settings.power_limit_w,
            timing=settings.timing,
            threads=settings.threads,
            time_scale=(settings.time_scale or device.host_time_scale(card)) if measured else 1.0,
        )
        self._restarts = 0

    def describe(self) -> Capabilities:
        """Say who you are."""
        return self._payload.capabilities("inprocess")

    def process(self, frame: Frame) -> FrameResult:
        """Detect cloud in `frame`; where a payload in a box would die of its model, say so."""
        try:
            return self._payload.process(frame)
        except ModelError as error:
            limit_w = self._settings.power_limit_w
            latency_s = self._device.lost_frame_s(self._card, limit_w)
            return FrameResult.without_mask(
                frame.frame_id,
                "crashed",
                f"the payload crashed and was restarted: {error}",
                model=self._card.name,
                model_sha256=self._card.sha256,
                device=self._device.name,
                latency_s=latency_s,
                energy_wh=self._device.energy_wh(latency_s, limit_w),
            )

    def health(self) -> Health:
        """Resident memory of the process this payload shares, and counts."""
        return Health(
            alive=True,
            rss_mib=psutil.Process().memory_info().rss / BYTES_PER_MIB,
            frames_processed=self._payload.frames_processed,
            restarts=self._restarts,
        )

    def reset(self) -> None:
        """Forget the tiles seen, as a restart would."""
        self._payload.forget()
        self._restarts += 1

    def close(self) -> None:
        """Nothing to release but what Python releases itself."""
        self._payload.forget()
