"""The simulator's end of the line: a payload on a wire, spoken to as if it were at hand.

`WireLink` is the `PayloadLink` of every body that is not in-process. It never raises for what
can go wrong on board or on the way; each frame ends in exactly one `FrameResult`:

=================  ==============================================================================
``ok``             the result arrived whole
``out_of_memory``  the payload died and its cage says that memory was why
``crashed``        the payload died, or came back with another boot number than before
``timeout``        no result in time; the payload was reset
``link_lost``      the line was cut and could not be had again in time, or was cut
                   `CUTS_PER_FRAME` times under one frame
``refused``        the payload said no, and why; the frame does not fit the line; or the result does
                   not fit the frame
=================  ==============================================================================

A frame whose line was cut while the payload lived on is sent again under the same request
number, so that it is processed once however often it is asked for.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from payload.frame import Capabilities, Frame, FrameResult, Health, Status
from payload.link.answers import contradiction, read_capabilities
from payload.link.channel import Channel, LinkDownError
from payload.link.conversation import (
    Conversation,
    NoAnswerError,
    RequestRefusedError,
    Timeouts,
)
from payload.link.line import Line
from payload.link.messages import encode_frame
from payload.link.packets import (
    NONCE_BYTES,
    PROTOCOL_VERSION,
    SCHEMA_SHA256,
    Connect,
    Function,
    Kind,
    pack_inject,
)
from payload.link.security import Security
from payload.link.settings import LinkError
from payload.link.transfer import OutgoingMessage

CUTS_PER_FRAME = 3
"""How often the line may be cut under one frame, which is then sent anew, before it is given up.

Counted, not timed: on a slow line the way up alone may take longer than any result is awaited.
"""


CLOSED = "the link was closed"
"""What becomes of a frame whose link is closed under it."""


@dataclass(frozen=True)
class FailureCost:
    """What a frame without result costs in simulated time and energy.

    Attributes
    ----------
    latency_s, energy_wh : float
        Charged when timing is declared: deterministic, from the device profile.
    mean_power_w : float
        Under the power limit; charged times wall-clock time when timing is measured.
    measured : bool
        Which of the two.
    """

    latency_s: float = 0.0
    energy_wh: float = 0.0
    mean_power_w: float = 0.0
    measured: bool = False


@dataclass(frozen=True)
class Death:
    """Why a payload process died, as its keeper knows it."""

    status: Status
    detail: str


class Keeper(Protocol):
    """Who can say why the payload died, and start it again (a watchdog)."""

    incident: str

    @property
    def pid(self) -> int:
        """Process number of the running payload."""

    def death(self) -> Death | None:
        """Why the payload is not running; None while it runs or if nobody can know."""

    def restart(self) -> None:
        """Start the payload anew, whatever state it is in."""


NO_LIMIT = "none"


def _limit(power_limit_w: float | None) -> str:
    return NO_LIMIT if power_limit_w is None else f"{power_limit_w:g}"


class PayloadAwayError(LinkError):
    """The payload cannot be reached, so that nothing can be arranged with it."""


class WireLink:
    """A payload behind a channel.

    Parameters
    ----------
    name : str
        Kind of link, for `describe`.
    connect : callable
        Opens a fresh channel, or raises `LinkDownError`.
    key : bytes or None
        Key of the line, if it is authenticated.
    model_sha256, device, timing : str
        Model, device profile and timing the payload must have; empty for any.
    power_limit_w : float or None
        Under which a payload of that device must pause; None where nothing limits it.
    part_bytes : int
        Data per part of a frame.
    compact : bool
        Spend time to save octets (slow lines).
    timeouts : Timeouts
    cost : FailureCost
    keeper : Keeper or None
        Watchdog of a payload process this side started.
    expected : Capabilities or None
        What to say of a payload that dies of memory before it can say anything itself.

    Raises
    ------
    LinkError
        If no payload answers, or one that speaks another version or has another model.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Channel],
        *,
        key: bytes | None = None,
        model_sha256: str = "",
        device: str = "",
        timing: str = "",
        power_limit_w: float | None = None,
        part_bytes: int,
        compact: bool = False,
        timeouts: Timeouts | None = None,
        cost: FailureCost | None = None,
        keeper: Keeper | None = None,
        expected: Capabilities | None = None,
    ) -> None:
        self._name = name
        self._open_channel = connect
        self._key = key
        self._model_sha256 = model_sha256
        self._device = device
        self._timing = timing
        self._power_limit_w = power_limit_w
        self._part_bytes = part_bytes
        self._compact = compact
        self._timeouts = timeouts or Timeouts()
        self._cost = cost or FailureCost()
        self._keeper = keeper
        self._conversation: Conversation | None = None
        self._next_request = secrets.randbits(32)
        self._boot: int | None = None
        self._pid = 0
        self._restarts = 0
        self._frames = 0
        self._incident = ""
        self._just_restarted = False
        self._closed = False
        self._capabilities = self._first_connect(expected)

    # The protocol --------------------------------------------------------------------------

    def describe(self) -> Capabilities:
        """What the payload said of itself in the handshake."""
        return self._capabilities

    def process(self, frame: Frame) -> FrameResult:
        """Detect cloud in `frame` on board."""
        started_s = time.monotonic()
        request = self._take_request()
        cuts = 0
        while True:
            try:
                result = self._exchange(frame, request)
            except (LinkError, RequestRefusedError) as refusal:
                return self._failure(frame, "refused", str(refusal), started_s)
            except NoAnswerError as error:
                self._just_restarted = False
                self.reset()
                return self._failure(frame, "timeout", str(error), started_s)
            except LinkDownError as error:
                cuts += 1
                death = self._recover(str(error))
                if death is None and cuts < CUTS_PER_FRAME:
                    continue
                death = death or Death(
                    "link_lost",
                    f"sent {cuts} times, and each time the line was cut or carried no more of it",
                )
                return self._failure(frame, death.status, death.detail, started_s)
            self._frames += 1
            self._just_restarted = False
            return result

    def health(self) -> Health:
        """Housekeeping of the payload; `alive` is False when it cannot be asked."""
        try:
            report = self._talk().housekeeping()
        except (LinkDownError, LinkError, NoAnswerError) as error:
            detail = f"{error}{self._last_incident()}"
            return Health(False, 0.0, self._frames, self._restarts, detail)
        detail = (
            f"pid {report.pid}, boot {report.boot:#x}, up {report.uptime_ms / 1000:.1f} s, "
            f"packets {report.packets_in} in, {report.packets_lost} lost, "
            f"{report.packets_refused} refused, parts repeated {self.parts_repeated}"
            f"{self._last_incident()}"
        )
        restarts = self._restarts + report.restarts
        return Health(True, report.rss_mib, report.frames, restarts, detail)

    def reset(self) -> None:
        """Restart the payload: by its keeper, or by asking it to; not if it just was."""
        if self._just_restarted or self._closed:
            return
        self._restarts += 1
        if self._keeper is not None:
            self._drop_line()
            self._keeper.restart()
            self._boot = None
            self._just_restarted = True
            return
        try:
            self._talk().perform(Function.RESET, self._take_request())
        except (LinkDownError, LinkError, NoAnswerError, RequestRefusedError):
            # It hangs or is gone: the next frame connects anew and finds out which.
            self._drop_line()

    def close(self) -> None:
        """Close the line for good: a worker still on it starts and reaches no payload any more."""
        self._closed = True
        self._drop_line()

    # What else can be asked ----------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Process number of the payload, as it said in the last handshake."""
        return self._pid

    @property
    def parts_repeated(self) -> int:
        """Parts of frames sent again on this connection."""
        return self._conversation.line.counts.parts_repeated if self._conversation else 0

    def start_afresh(self) -> None:
        """Have a payload that outlives missions load its model anew, before the first frame.

        Weights flipped in an earlier mission would silently fly on in this one.

        Raises
        ------
        LinkError
            If the payload does not say that it is done.
        """
        try:
            self._talk().perform(Function.RESET, self._take_request(), starting=True)
        except (LinkDownError, NoAnswerError, RequestRefusedError) as error:
            self._drop_line()
            raise LinkError(
                f"payload link {self._name!r}: the payload did not load its model afresh for this "
                f"mission: {error}; restart the server, and look into what it logs"
            ) from error

    def inject(self, fault: int, amount: float, seed: int) -> None:
        """Make the payload fail on the next frame (`payload.link.faults`).

        Raises
        ------
        LinkError
            If the payload does not allow it.
        PayloadAwayError
            If the line is down, or nobody answers.
        """
        try:
            arguments = pack_inject(fault, amount, seed)
            self._talk().perform(Function.INJECT, self._take_request(), arguments)
        except (LinkDownError, NoAnswerError) as error:
            raise PayloadAwayError(f"payload link {self._name!r}: {error}") from error
        except RequestRefusedError as error:
            raise LinkError(f"payload link {self._name!r}: {error}") from error

    # Connection ----------------------------------------------------------------------------

    def _talk(self) -> Conversation:
        """The running conversation, or a new one."""
        if self._conversation is None:
            self._capabilities = self._connect()
        if self._conversation is None:
            raise LinkDownError("not connected")
        return self._conversation

    def _first_connect(self, expected: Capabilities | None) -> Capabilities:
        try:
            return self._connect()
        except LinkDownError as error:
            death = self._keeper.death() if self._keeper is not None else None
            if death is not None and death.status == "out_of_memory" and expected is not None:
                # Frames will find out again, one by one: that is what the mission accounts for.
                return expected
            if death is not None and self._keeper is not None:
                raise LinkError(
                    f"payload link {self._name!r}: the payload process did not start: "
                    f"{self._keeper.incident}; mend what it complains of"
                ) from error
            raise LinkError(
                f"payload link {self._name!r}: {error}; check that the payload is serving "
                "there, and that both sides have the same key file (or none)"
            ) from error

    def _connect(self) -> Capabilities:
        if self._closed:
            raise LinkDownError(CLOSED)
        patience_s = self._timeouts.reconnect_s
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                channel = self._open_channel()
                line = Line(channel, Security(self._key, False), payload_side=False)
                self._conversation = Conversation(line, self._timeouts)
                return self._handshake(self._conversation)
            except (LinkDownError, NoAnswerError) as error:
                self._drop_line()
                # The line to a process of our own does not come back by waiting.
                if self._keeper is not None or time.monotonic() >= deadline_s:
                    raise LinkDownError(str(error)) from error
                time.sleep(min(0.05, patience_s / 10))

    def _handshake(self, conversation: Conversation) -> Capabilities:
        nonce = secrets.token_bytes(NONCE_BYTES)
        hello = Connect(PROTOCOL_VERSION, SCHEMA_SHA256, self._model_sha256, nonce)
        try:
            starting = self._keeper is not None
            answer = conversation.connect(hello, self._take_request(), starting)
        except RequestRefusedError as refusal:
            self._drop_line()
            raise LinkError(f"payload link {self._name!r}: {refusal}") from refusal
        payload_nonce, boot, pid, capabilities = read_capabilities(answer, self._name)
        self._check("device", self._device, capabilities.device)
        self._check("timing", self._timing, str(answer.get("timing")))
        if self._device:
            limit_w = answer.get("power_limit_w")
            self._check("power-limit-w", _limit(self._power_limit_w), _limit(limit_w))
        conversation.line.security.start_session(nonce, payload_nonce, at_once=True)
        if self._boot is not None and boot != self._boot:
            self._restarts += 1
        self._boot = boot
        self._pid = pid
        if self._key is not None:
            # The first frame under the session's key; the payload does not wait for it for long.
            conversation.housekeeping()
        return capabilities

    def _check(self, name: str, asked: str, found: str) -> None:
        if asked and asked != found:
            self._drop_line()
            served = f"without --{name}" if asked == NO_LIMIT else f"with --{name} {asked}"
            raise LinkError(
                f"payload link {self._name!r}: the payload has {name} {found!r}, the scenario asks "
                f"for {asked!r}; start the server {served}, or change the scenario"
            )

    def _recover(self, reason: str) -> Death | None:
        """After the line was cut: why the payload died; None if it lives and is reached.

        What differs between two runs of one mission (process numbers, wording of the system's
        errors) goes to `health`, not into the reason.
        """
        self._drop_line()
        self._incident = reason
        if self._closed:
            return Death("link_lost", CLOSED)
        boot = self._boot
        death = self._keeper.death() if self._keeper is not None else None
        if self._keeper is not None and death is not None:
            self._restarts += 1
            self._keeper.restart()
            self._just_restarted = True
            self._incident = f"{self._keeper.incident}; restarted as pid {self._keeper.pid}"
            self._boot = None
            return death
        try:
            self._capabilities = self._connect()
        except (LinkDownError, LinkError) as error:
            self._incident = f"{reason}; not reached again: {error}"
            return Death("link_lost", "the line was cut and the payload not reached again in time")
        if boot is not None and self._boot != boot:
            self._incident = f"{reason}; back as pid {self._pid}"
            return Death("crashed", "the payload restarted while it had the frame")
        return None

    def _last_incident(self) -> str:
        return f"; last incident: {self._incident}" if self._incident else ""

    def _drop_line(self) -> None:
        if self._conversation is not None:
            self._conversation.line.channel.close()
            self._conversation = None

    def _exchange(self, frame: Frame, request: int) -> FrameResult:
        """One frame up, its result down."""
        try:
            message = OutgoingMessage(
                request & 0xFFFF,
                Kind.FRAME,
                encode_frame(frame, self._compact),
                self._part_bytes,
                uplink=True,
            )
        except ValueError as error:
            raise RequestRefusedError(str(error)) from error
        result = self._talk().process(message, request)
        if problem := contradiction(frame, result):
            raise RequestRefusedError(f"the result does not fit the frame: {problem}")
        return result

    def _take_request(self) -> int:
        self._next_request = (self._next_request + 1) & 0xFFFFFFFF
        return self._next_request

    def _failure(self, frame: Frame, status: Status, detail: str, started_s: float) -> FrameResult:
        wall_s = time.monotonic() - started_s
        cost = self._cost
        latency_s = wall_s if cost.measured else cost.latency_s
        energy_wh = cost.mean_power_w * wall_s / 3600 if cost.measured else cost.energy_wh
        return FrameResult.without_mask(
            frame.frame_id,
            status,
            detail,
            model=self._capabilities.model,
            model_sha256=self._capabilities.model_sha256,
            device=self._capabilities.device,
            latency_s=latency_s,
            energy_wh=energy_wh,
            provenance="measured" if cost.measured else "modelled",
            memory_provenance="measured",
            host_latency_s=wall_s,
        )
