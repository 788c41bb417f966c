"""The payload's end of the line: what each telecommand does.

One `Session` lives as long as a connection; what outlives it is the `Board`'s. A request that is
asked for again (its first answer was lost) is answered from the last result and never processed
twice.

Everything a peer can make a session hold is bounded: one incoming message of at most
`Limits.max_message_bytes`, one outgoing result, one unfinished line frame. A peer that sends too
much that is damaged or refused, or too many functions a second, is disconnected.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import secrets
import time
from collections.abc import Callable

from payload.link.board import Answered, Board
from payload.link.channel import Channel
from payload.link.line import Line
from payload.link.messages import decode_frame, encode_result
from payload.link.packets import (
    NONCE_BYTES,
    PROTOCOL_VERSION,
    SCHEMA_SHA256,
    Connect,
    Failure,
    Function,
    FunctionSubtype,
    Housekeeping,
    HousekeepingSubtype,
    Kind,
    LargeDataSubtype,
    Missing,
    Part,
    pack_answer,
    pack_transaction,
    unpack_inject,
    unpack_part,
    unpack_perform,
    unpack_process,
    unpack_transaction,
)
from payload.link.security import Security, Spi, TokenBucket
from payload.link.transfer import IncomingMessage, OutgoingMessage
from payload.link.wire import (
    Packet,
    Service,
    Verification,
    WireError,
    encode_report,
)

log = logging.getLogger(__name__)


class PeerRefusedError(Exception):
    """The peer broke a bound; its connection is to be closed."""


class Session:
    """One connection to a board.

    Parameters
    ----------
    board : Board
    channel : Channel
    security : Security
    clock : callable
        Monotonic seconds, for the rate bounds.
    """

    def __init__(
        self,
        board: Board,
        channel: Channel,
        security: Security,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.line = Line(channel, security, payload_side=True)
        self._greeted = False
        self._board = board
        self._clock = clock
        self._incoming: IncomingMessage | None = None
        self._spare: bytearray | None = None
        self._refused_transaction: int | None = None
        limits = board.limits
        self._functions = TokenBucket(limits.functions_per_s, limits.functions_burst)
        self._bad_frames = TokenBucket(limits.bad_frames_per_s, limits.bad_frames_burst)
        self._bad_seen = 0
        self._hello_nonce = b""
        self._nonce = b""

    @property
    def connected(self) -> bool:
        """Whether the peer shook hands and, on a line with a key, has proved that it holds it.

        Anyone can play back a recorded handshake; only a frame under the session's key is proof.
        """
        return self._greeted and self.line.security.sending is not Spi.HANDSHAKE

    def listen(self, timeout_s: float) -> None:
        """Act on what arrives within `timeout_s`.

        Raises
        ------
        PeerRefusedError
            If the peer broke a bound.
        LinkDownError
            If the line is gone, or an answer could not be sent.
        """
        self._act_on(self.line.receive(timeout_s))

    def feed(self, data: bytes | memoryview) -> None:
        """Act on octets from elsewhere; empty means the line has been silent."""
        self._act_on(self.line.take(data) if len(data) else self.line.give_up())

    def _act_on(self, packets: list[Packet]) -> None:
        self._bound_bad_frames()
        for packet in packets:
            try:
                self._act(packet)
            except WireError as error:
                self.line.counts.packets_malformed += 1
                log.info("malformed packet of service %d: %s", packet.service, error)
        self._bound_bad_frames()

    def _bound_bad_frames(self) -> None:
        frames, line = self.line.frame_counts, self.line.counts
        bad = frames.damaged + frames.refused + line.packets_malformed
        if bad == self._bad_seen:
            return
        log.info(
            "so far %d frames refused, %d damaged, %d packets malformed",
            frames.refused,
            frames.damaged,
            line.packets_malformed,
        )
        for _ in range(bad - self._bad_seen):
            if not self._bad_frames.take(self._clock()):
                raise PeerRefusedError(f"{bad} bad frames: more than noise explains")
        self._bad_seen = bad
        if frames.refused and not self.connected:
            raise PeerRefusedError("a frame without valid authentication before the handshake")

    def _act(self, packet: Packet) -> None:
        if packet.service == Service.FUNCTION and packet.subtype == FunctionSubtype.PERFORM:
            self._perform(packet)
        elif not self.connected:
            self._report(packet, Verification.NOT_ACCEPTED, Failure.NOT_CONNECTED, "connect first")
        elif packet.service == Service.LARGE_DATA:
            self._large_data(packet)
        elif packet.service == Service.HOUSEKEEPING:
            if packet.subtype != HousekeepingSubtype.REQUEST:
                raise WireError(f"housekeeping subtype {packet.subtype} is unknown")
            data = self.housekeeping().pack()
            self.line.send(Service.HOUSEKEEPING, HousekeepingSubtype.REPORT, data)
        else:
            text = f"service {packet.service} subtype {packet.subtype} is unknown"
            self._report(packet, Verification.NOT_ACCEPTED, Failure.UNKNOWN, text)

    # Functions -----------------------------------------------------------------------------

    def _perform(self, packet: Packet) -> None:
        if not self._functions.take(self._clock()):
            raise PeerRefusedError("more functions a second than the bound allows")
        function, request, arguments = unpack_perform(bytes(packet.data))
        if function == Function.CONNECT:
            self._connect(packet, request, Connect.unpack(arguments))
        elif not self.connected:
            self._report(packet, Verification.NOT_ACCEPTED, Failure.NOT_CONNECTED, "connect first")
        elif function == Function.PROCESS:
            self._process(packet, request, *unpack_process(arguments))
        elif function == Function.RESET:
            self._reset(packet, request)
        elif function == Function.INJECT:
            self._inject(packet, request, *unpack_inject(arguments))
        else:
            text = f"function {function} is unknown"
            self._report(packet, Verification.NOT_ACCEPTED, Failure.UNKNOWN, text)

    def _connect(self, packet: Packet, request: int, hello: Connect) -> None:
        capabilities = self._board.payload.describe()
        if hello.protocol != PROTOCOL_VERSION or hello.schema_sha256 != SCHEMA_SHA256:
            text = (
                f"payload speaks protocol {PROTOCOL_VERSION}, schema {SCHEMA_SHA256[:16]}; "
                f"asked was protocol {hello.protocol}, schema {hello.schema_sha256[:16]}; "
                "install the same version on both sides"
            )
            self._report(packet, Verification.NOT_ACCEPTED, Failure.VERSION, text)
            return
        if hello.model_sha256 and hello.model_sha256 != capabilities.model_sha256:
            text = (
                f"payload has model {capabilities.model}, sha256 "
                f"{capabilities.model_sha256[:16]}; asked was {hello.model_sha256[:16]}; "
                "serve the scenario's model or name the served one in the scenario"
            )
            self._report(packet, Verification.NOT_ACCEPTED, Failure.MODEL, text)
            return
        # A handshake asked for twice is answered with the same nonce: the first answer may have
        # been late, not lost, and the peer may already use the keys that follow from it.
        repeated = self._hello_nonce == hello.nonce
        if not repeated:
            self._hello_nonce, self._nonce = hello.nonce, secrets.token_bytes(NONCE_BYTES)
        answer = {
            "boot": self._board.boot,
            "capabilities": dataclasses.asdict(capabilities),
            "max_message_bytes": self._board.limits.max_message_bytes,
            "nonce": self._nonce.hex(),
            "peer_nonce": hello.nonce.hex(),
            "pid": os.getpid(),
            "power_limit_w": self._board.power_limit_w,
            "protocol": PROTOCOL_VERSION,
            "schema_sha256": SCHEMA_SHA256,
            "timing": self._board.timing,
        }
        text_bytes = json.dumps(answer, sort_keys=True, separators=(",", ":")).encode()
        self._greeted = True
        spi = Spi.CLEAR if self.line.security.sending is Spi.CLEAR else Spi.HANDSHAKE
        data = pack_answer(Function.CONNECT, request, text_bytes)
        self.line.send(Service.FUNCTION, FunctionSubtype.ANSWER, data, spi=spi)
        if not repeated:
            self.line.security.start_session(hello.nonce, self._nonce, at_once=False)

    def _process(self, packet: Packet, request: int, transaction: int, timeout_ms: int) -> None:
        answered = self._board.answered
        if answered is not None and answered.request == request:
            # One part is enough: it tells the peer how many there are, and it asks for the rest.
            self._report(packet, Verification.ACCEPTED)
            self.line.repeat_parts(answered.message, ((1, 1),))
            self._report(packet, Verification.COMPLETED)
            return
        incoming = self._incoming
        if incoming is None or incoming.transaction != transaction or not incoming.complete:
            text = f"transaction {transaction} has not arrived whole"
            self._report(packet, Verification.NOT_STARTED, Failure.INCOMPLETE, text)
            return
        try:
            if incoming.kind != Kind.FRAME:
                raise WireError(f"transaction {transaction} does not hold a frame")
            frame = decode_frame(incoming.data, self._board.limits.max_message_bytes)
        except WireError as error:
            self._report(packet, Verification.NOT_STARTED, Failure.MALFORMED, str(error))
            return
        finally:
            self._incoming = None
            self._spare = incoming.data
        self._report(packet, Verification.ACCEPTED)
        self._report(packet, Verification.STARTED)
        started_s = time.monotonic()
        result = self._board.payload.process(frame)
        log.info("frame %s: %s in %.3f s", frame.frame_id, result.status, _since(started_s))
        if _since(started_s) * 1000 > timeout_ms:
            log.warning("frame %s took longer than its sender waits", frame.frame_id)
        message = OutgoingMessage(
            request & 0xFFFF,
            Kind.RESULT,
            encode_result(result, self._board.compact),
            self._board.part_bytes,
            uplink=False,
        )
        self._board.answered = Answered(request, message)
        self.line.send_parts(message)
        self._report(packet, Verification.COMPLETED)

    def _reset(self, packet: Packet, request: int) -> None:
        # Loading a model may take longer than the peer waits before it asks again: loading it once
        # more for each of those questions would keep the payload away for minutes.
        if self._board.reset_by != request:
            self._board.payload.reset()
            self._board.answered = None
            self._board.reset_by = request
        self._report(packet, Verification.COMPLETED)

    def _inject(self, packet: Packet, request: int, fault: int, amount: float, seed: int) -> None:
        if not self._board.allow_faults:
            text = "fault injection is off; start the server with --allow-faults"
            self._report(packet, Verification.NOT_ACCEPTED, Failure.FORBIDDEN, text)
            return
        # Asked twice because the answer was late: the same bits flipped again would be whole.
        if self._board.injected != request:
            try:
                self._board.payload.inject(fault, amount, seed)
            except ValueError as error:
                self._report(packet, Verification.NOT_ACCEPTED, Failure.UNKNOWN, str(error))
                return
            self._board.injected = request
        self._report(packet, Verification.COMPLETED)

    # Large data ----------------------------------------------------------------------------

    def _large_data(self, packet: Packet) -> None:
        kinds = LargeDataSubtype
        if packet.subtype in (kinds.UP_FIRST, kinds.UP_NEXT, kinds.UP_LAST):
            part, body = unpack_part(packet.data)
            self._take_part(part, body)
        elif packet.subtype == kinds.ASK_RECEIVED:
            self._say_what_arrived(unpack_transaction(bytes(packet.data)))
        elif packet.subtype == kinds.REPEAT_DOWN:
            wanted = Missing.unpack(bytes(packet.data))
            answered = self._board.answered
            if answered is not None and answered.message.transaction == wanted.transaction:
                self.line.repeat_parts(answered.message, wanted.ranges)
        else:
            raise WireError(f"large data subtype {packet.subtype} is unknown")

    def _say_what_arrived(self, transaction: int) -> None:
        if transaction == self._refused_transaction:
            # Said before; but who asks has not heard it.
            self._send_aborted(transaction)
            return
        missing = Missing(transaction, False, ())
        if self._incoming is not None and self._incoming.transaction == transaction:
            missing = self._incoming.missing()
        self.line.send(Service.LARGE_DATA, LargeDataSubtype.RECEIVED, missing.pack())

    def _take_part(self, part: Part, body: bytes | memoryview) -> None:
        if self._incoming is None or not self._incoming.belongs(part):
            try:
                self._incoming = IncomingMessage(
                    part, self._board.limits.max_message_bytes, self._spare
                )
            except WireError as error:
                self._abort_uplink(part.transaction, str(error))
                return
            # Transaction numbers come round again: a refusal holds until another frame comes.
            self._refused_transaction = None
        self._incoming.add(part, body)

    def _abort_uplink(self, transaction: int, reason: str) -> None:
        if self._refused_transaction != transaction:
            self._refused_transaction = transaction
            self.line.counts.packets_malformed += 1  # A flood of these ends the session.
            log.warning("transaction %d refused: %s", transaction, reason)
            self._send_aborted(transaction)

    def _send_aborted(self, transaction: int) -> None:
        data = pack_transaction(transaction)
        self.line.send(Service.LARGE_DATA, LargeDataSubtype.UP_ABORTED, data)

    # Telemetry -----------------------------------------------------------------------------

    def housekeeping(self) -> Housekeeping:
        """The health of the board and of this end of the line."""
        health = self._board.payload.health()
        frames, counts = self.line.frame_counts, self.line.counts
        return Housekeeping(
            pid=os.getpid(),
            boot=self._board.boot,
            rss_mib=health.rss_mib,
            frames=health.frames_processed,
            restarts=health.restarts,
            packets_in=counts.packets_in,
            packets_lost=counts.packets_lost,
            packets_refused=frames.refused + frames.damaged + counts.packets_malformed,
            parts_repeated=counts.parts_repeated,
            uptime_ms=int(1000 * _since(self._board.started_s)),
        )

    def _report(self, packet: Packet, subtype: int, code: int = 0, detail: str = "") -> None:
        if code:
            log.info("request refused: %s", detail)
        data = encode_report(packet.request, code, detail)
        self.line.send(Service.VERIFICATION, subtype, data)


def _since(start_s: float) -> float:
    return time.monotonic() - start_s
