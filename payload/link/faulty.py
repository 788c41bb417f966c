"""A payload under faults: what `FaultPlan` ordered is made to happen to any body.

Bits of the frame are flipped before it is sent. Flipped weights, hangs, crashes and slow-downs
happen inside the box where there is one; the in-process payload has its weights really flipped
and the rest modelled. Time and energy of a faulty frame are charged the same way for every body,
so that the event log does not tell bodies apart.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Protocol, runtime_checkable

from payload.card import ModelCard, ModelError
from payload.card_library import load_card
from payload.device import load_device
from payload.frame import Capabilities, Frame, FrameResult, Health, PayloadLink, Status
from payload.link.box import open_flipped_payload
from payload.link.channel import Channel, Pieces
from payload.link.client import PayloadAwayError
from payload.link.faults import (
    BoxFault,
    FaultPlan,
    FaultPlanError,
    FrameFaults,
    flip_frame_bits,
    has_weights_outside,
    keyed_uniform,
    weight_ranges,
)
from payload.link.settings import PayloadSettings
from payload.runtime import Payload


@runtime_checkable
class InjectableLink(Protocol):
    """A link whose payload can really be made to fail."""

    def inject(self, fault: int, amount: float, seed: int) -> None:
        """Arrange a fault for the next frame."""


class FaultyLink:
    """A payload to which faults happen.

    Parameters
    ----------
    link : PayloadLink
        The payload.
    settings : PayloadSettings
        As it was opened with.
    plan : FaultPlan
        For how long hangs last.
    injectable : InjectableLink or None
        The live link behind recorders and the like; None if faults are to be modelled.

    Raises
    ------
    FaultPlanError
        If upsets are ordered for a model file that holds no weights, or not all of them.
    """

    def __init__(
        self,
        link: PayloadLink,
        settings: PayloadSettings,
        plan: FaultPlan,
        injectable: InjectableLink | None = None,
    ) -> None:
        self._link = link
        self._settings = settings
        self._plan = plan
        self._injectable = injectable
        self._card = load_card(settings.model)
        self._device = load_device(settings.device)
        if plan.upsets_per_bit_day > 0:
            _require_weights(self._card, plan)
        self._upsets: list[tuple[int, int]] = []
        self._flipped: Payload | None = None
        self._faults = FrameFaults()

    def suffer(self, faults: FrameFaults) -> None:
        """Order what is to befall the next frame."""
        self._faults = faults

    def describe(self) -> Capabilities:
        """What the payload says of itself."""
        return self._link.describe()

    def process(self, frame: Frame) -> FrameResult:
        """Process a frame under the faults ordered for it."""
        faults, self._faults = self._faults, FrameFaults()
        if faults.link_loss:
            return self._lost(frame, "link_lost", "the line was lost with the frame on it")
        if faults.crash or faults.hang:
            return self._fall(frame, faults)
        if faults.input_bits:
            frame = flip_frame_bits(frame, faults.input_bits, faults.seed)
        try:
            result = self._process(frame, faults)
        except ModelError:
            # In-process, flipped weights that break the model raise where a box would die.
            self.reset()
            return self._crashed(frame)
        return self._crashed(frame) if result.status == "crashed" else result

    def health(self) -> Health:
        """Health of the payload."""
        return self._link.health()

    def reset(self) -> None:
        """Restart the payload: flipped weights are loaded afresh."""
        self._upsets.clear()
        self._flipped = None
        self._link.reset()

    def close(self) -> None:
        """Release the payload."""
        self._link.close()

    def _process(self, frame: Frame, faults: FrameFaults) -> FrameResult:
        """Process a frame with weights flipped and time stretched as ordered."""
        if self._injectable is not None:
            if faults.weight_bits:
                self._arrange(BoxFault.FLIP_WEIGHTS, faults.weight_bits, faults.seed)
            if faults.slow_down > 1.0:
                self._arrange(BoxFault.SLOW_DOWN, faults.slow_down)
            return self._link.process(frame)
        if faults.weight_bits:
            self._upsets.append((faults.weight_bits, faults.seed))
            self._flipped = open_flipped_payload(
                self._card, self._device, self._settings, self._upsets
            )
        result = (
            self._link.process(frame) if self._flipped is None else self._flipped.process(frame)
        )
        return dataclasses.replace(
            result,
            model_sha256=self._card.sha256,
            latency_s=result.latency_s * faults.slow_down,
            energy_wh=result.energy_wh * faults.slow_down,
        )

    def _arrange(self, kind: BoxFault, amount: float, seed: int = 0) -> None:
        """Have the live payload fail on the next frame.

        One that is away has failed already: the frame finds out how, and the mission goes on.
        """
        if self._injectable is not None:
            with contextlib.suppress(PayloadAwayError):
                self._injectable.inject(kind, amount, seed)

    def _fall(self, frame: Frame, faults: FrameFaults) -> FrameResult:
        """Crash or hang, and the watchdog's restart, which also cures flipped weights."""
        if self._injectable is not None:
            kind = BoxFault.CRASH if faults.crash else BoxFault.HANG
            self._arrange(kind, self._plan.hang_s)
            self._link.process(frame)
        else:
            self.reset()
        if faults.crash:
            return self._crashed(frame)
        detail = "the payload hung; its watchdog restarted it"
        return self._lost(frame, "timeout", detail, self._plan.hang_s)

    def _crashed(self, frame: Frame) -> FrameResult:
        return self._lost(frame, "crashed", "the payload crashed and was restarted")

    def _lost(self, frame: Frame, status: Status, detail: str, hung_s: float = 0.0) -> FrameResult:
        """A frame lost in its first tile. The reboot is not its time: the computer sees to it."""
        power_limit_w = self._settings.power_limit_w
        latency_s = self._device.lost_frame_s(self._card, power_limit_w) + hung_s
        return FrameResult.without_mask(
            frame.frame_id,
            status,
            detail,
            model=self._card.name,
            model_sha256=self._card.sha256,
            device=self._device.name,
            latency_s=latency_s,
            energy_wh=self._device.energy_wh(latency_s, power_limit_w),
        )


def _require_weights(card: ModelCard, plan: FaultPlan) -> None:
    """Refuse a file without all of the weights: a flipped copy would not find the rest of them."""
    try:
        model = card.onnx_path.read_bytes()
    except ModelError:  # A board has the file, and this side may do without.
        return
    if has_weights_outside(model):
        lack = "keeps weights in a file beside it, where no bits are flipped"
    elif not any(weight_ranges(model)):
        lack = "holds no weights to flip bits in"
    else:
        return
    raise FaultPlanError(
        f"faults.upsets_per_bit_day is {plan.upsets_per_bit_day:g}, but {card.onnx} of model "
        f"{card.name!r} {lack}; save it with its external data inside and write its new hash and "
        "size into the card, or set the rate to 0"
    )


@dataclasses.dataclass(frozen=True)
class Noise:
    """Damage on a line, per line frame sent.

    Attributes
    ----------
    lost, corrupted, repeated : float
        Probability that a frame vanishes, has one bit flipped, or arrives twice.
    seed : int
    """

    lost: float = 0.0
    corrupted: float = 0.0
    repeated: float = 0.0
    seed: int = 0


class NoisyChannel:
    """A channel that damages what is sent through it; draws are keyed by the frame's number."""

    def __init__(self, channel: Channel, noise: Noise, name: str) -> None:
        self._channel = channel
        self._noise = noise
        self._name = name
        self.sent = self.lost = self.corrupted = self.repeated = 0

    def send(self, *frames: Pieces) -> None:
        """Send line frames, or not quite."""
        for frame in frames:
            self._send(frame)

    def _send(self, pieces: Pieces) -> None:
        noise, number = self._noise, self.sent
        self.sent += 1
        if self._draw("lost", number) < noise.lost:
            self.lost += 1
            return
        data = bytearray(b"".join(pieces))
        if self._draw("corrupted", number) < noise.corrupted:
            self.corrupted += 1
            bit = int(self._draw("bit", number) * len(data) * 8)
            data[bit // 8] ^= 1 << (bit % 8)
        self._channel.send([bytes(data)])
        if self._draw("repeated", number) < noise.repeated:
            self.repeated += 1
            self._channel.send([bytes(data)])

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        """What has arrived, undamaged on this side."""
        return self._channel.receive_into(room, timeout_s)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _draw(self, purpose: str, number: int) -> float:
        return keyed_uniform(purpose, self._noise.seed, self._name, number)
