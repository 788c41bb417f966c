"""What can be asked over one connection, and how each question survives a bad line.

A question that gets no answer is asked again; every function carries a request number, so that
asking twice never does a thing twice. Parts that did not arrive are named by the receiver and
repeated. A `Conversation` ends with its connection.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from payload.frame import FrameResult
from payload.link.channel import LinkDownError
from payload.link.line import Line
from payload.link.messages import MAX_BODY_BYTES, decode_result
from payload.link.packets import (
    Connect,
    Failure,
    Function,
    FunctionSubtype,
    Housekeeping,
    HousekeepingSubtype,
    Kind,
    LargeDataSubtype,
    Missing,
    pack_perform,
    pack_process,
    pack_structure,
    pack_transaction,
    unpack_answer,
    unpack_part,
    unpack_transaction,
)
from payload.link.settings import LinkError
from payload.link.transfer import IncomingMessage, OutgoingMessage
from payload.link.wire import Packet, Report, Service, WireError, decode_report

POLL_S = 0.3


@dataclass(frozen=True)
class Timeouts:
    """How long the simulator's end waits.

    Attributes
    ----------
    answer_s : float
        For an answer to a short request, before it is asked again.
    frame_s : float
        For the result of a frame, from the moment it is on board.
    reconnect_s : float
        For the payload to be back after the line was cut.
    start_s : float
        For a payload process that was just started to answer at all.
    attempts : int
        How often a short request is asked before the line counts as lost.
    """

    answer_s: float = 2.0
    frame_s: float = 60.0
    reconnect_s: float = 5.0
    start_s: float = 60.0
    attempts: int = 5


FRAME_OPTION = "frame_s"
"""Option of every live link: `Timeouts.frame_s`."""


def frame_timeouts(options: Mapping[str, str], timeouts: Timeouts | None = None) -> Timeouts:
    """Timeouts with the wait for a frame that the options of a link ask for, s.

    Declared time leaves the host no deadline: one that is slower than `Timeouts.frame_s` would turn
    its frames into timeouts, which the payload it stands for does not have.

    Parameters
    ----------
    options : mapping of str to str
        Options of the link by name; without ``frame_s`` nothing changes.
    timeouts : Timeouts, optional

    Raises
    ------
    LinkError
        If ``frame_s`` is not a positive, finite number; why, as the end of a sentence.
    """
    timeouts = timeouts or Timeouts()
    text = options.get(FRAME_OPTION)
    if text is None:
        return timeouts
    try:
        frame_s = float(text)
    except ValueError:
        frame_s = math.nan
    if not 0 < frame_s < math.inf:
        raise LinkError(
            f"{FRAME_OPTION} is {text!r}; expected seconds over 0, such as {FRAME_OPTION}=300, "
            f"or leave it out for {timeouts.frame_s:g}"
        )
    return replace(timeouts, frame_s=frame_s)


class RequestRefusedError(Exception):
    """The payload refused a request."""


class NoAnswerError(Exception):
    """The payload did not answer in time."""


@dataclass
class _Inbox:
    """What arrived since the last question."""

    reports: dict[bytes, list[Report]] = field(default_factory=dict)
    completed: set[bytes] = field(default_factory=set)
    answers: list[tuple[int, int, bytes]] = field(default_factory=list)
    received: list[Missing] = field(default_factory=list)
    housekeeping: list[Housekeeping] = field(default_factory=list)
    aborted: set[int] = field(default_factory=set)


class Conversation:
    """Questions and answers over one connection.

    Every method raises `LinkDownError` when the connection is gone or the payload no longer
    knows it, `NoAnswerError` when nothing comes, `RequestRefusedError` when the payload says no.

    Parameters
    ----------
    line : Line
    timeouts : Timeouts
    """

    def __init__(self, line: Line, timeouts: Timeouts) -> None:
        self.line = line
        self._timeouts = timeouts
        self._inbox = _Inbox()
        self._result: IncomingMessage | None = None
        self._result_transaction = -1

    def connect(self, hello: Connect, request: int, starting: bool = False) -> dict[str, Any]:
        """The payload's answer to the handshake, which repeats our nonce.

        A payload that was just started loads its model first, and gets `start_s` for it.
        """
        attempts = self._attempts(starting)
        for name, deadline_s in self._ask(Function.CONNECT, request, hello.pack(), attempts):
            while self._pump(deadline_s):
                self._raise_refusal(name)
                for function, answered, text in self._inbox.answers:
                    if (function, answered) == (Function.CONNECT, request):
                        answer = _read_answer(text)
                        if answer.get("peer_nonce") == hello.nonce.hex():
                            return answer
        raise NoAnswerError("no valid answer to the handshake")

    def perform(
        self, function: Function, request: int, arguments: bytes = b"", starting: bool = False
    ) -> None:
        """Have a function done; with `starting` it gets `start_s`, to load a model meanwhile."""
        attempts = self._attempts(starting)
        for name, deadline_s in self._ask(function, request, arguments, attempts):
            while self._pump(deadline_s):
                self._raise_refusal(name)
                if name in self._inbox.completed:
                    return
        raise NoAnswerError(f"no answer to {function.name.lower()}")

    def housekeeping(self) -> Housekeeping:
        """The payload's health."""
        for _ in range(self._timeouts.attempts):
            self._inbox = _Inbox()
            data = pack_structure()
            self.line.send(Service.HOUSEKEEPING, HousekeepingSubtype.REQUEST, data)
            deadline_s = time.monotonic() + self._timeouts.answer_s
            while self._pump(deadline_s):
                if self._inbox.housekeeping:
                    return self._inbox.housekeeping[-1]
        raise NoAnswerError("no housekeeping report")

    def process(self, message: OutgoingMessage, request: int) -> FrameResult:
        """Send a frame up and have its result."""
        self._inbox = _Inbox()
        self._result = None
        self._result_transaction = request & 0xFFFF
        self.line.send_parts(message)
        self._complete_uplink(message)
        return self._await_result(message, request)

    # Up ------------------------------------------------------------------------------------

    def _complete_uplink(self, message: OutgoingMessage) -> None:
        """Ask what arrived and repeat what did not, until all of it has.

        A line may carry questions and answers and still no part, which are longer: repeating
        in vain counts as the line being gone, just as silence does.
        """
        attempts = self._timeouts.attempts
        silent, in_vain, most_arrived = 0, 0, -1
        while silent < attempts:
            self._inbox.received.clear()
            question = pack_transaction(message.transaction)
            self.line.send(Service.LARGE_DATA, LargeDataSubtype.ASK_RECEIVED, question)
            missing = self._await_received(message.transaction)
            if missing is None:
                silent += 1
                continue
            silent = 0
            if missing.known and not missing.ranges:
                return
            arrived = missing.arrived(message.parts)
            in_vain = 0 if arrived > most_arrived else in_vain + 1
            most_arrived = max(most_arrived, arrived)
            if in_vain >= attempts:
                raise LinkDownError(
                    f"of {message.parts} parts {most_arrived} arrived, and not one more when the "
                    f"others were sent {in_vain} times again"
                )
            self.line.repeat_parts(message, missing.ranges or ((1, message.parts),))
        raise LinkDownError(f"no word on what arrived, asked {silent} times")

    def _await_received(self, transaction: int) -> Missing | None:
        deadline_s = time.monotonic() + self._timeouts.answer_s
        while self._pump(deadline_s):
            if transaction in self._inbox.aborted:
                raise RequestRefusedError("the frame is larger than the payload accepts")
            self._raise_refusals()
            for missing in self._inbox.received:
                if missing.transaction == transaction:
                    return missing
        return None

    # Down ----------------------------------------------------------------------------------

    def _await_result(self, message: OutgoingMessage, request: int) -> FrameResult:
        timeout_s = self._timeouts.frame_s
        deadline_s = time.monotonic() + timeout_s
        arguments = pack_process(message.transaction, int(min(timeout_s * 1000, 2**32 - 1)))
        data = pack_perform(Function.PROCESS, request, arguments)
        while time.monotonic() < deadline_s:
            name = self.line.send(Service.FUNCTION, FunctionSubtype.PERFORM, data)
            whole = self._collect(name, deadline_s)
            if whole is not None:
                return _read_result(whole)
        raise NoAnswerError(f"no result within {timeout_s:g} s")

    def _collect(self, name: bytes, deadline_s: float) -> IncomingMessage | None:
        """The result; None when it is time to ask for it again."""
        heard_s = time.monotonic()
        packets_in = self.line.counts.packets_in
        while self._pump(deadline_s):
            self._raise_refusal(name)
            now_s = time.monotonic()
            if self.line.counts.packets_in != packets_in:
                packets_in, heard_s = self.line.counts.packets_in, now_s
            result, inbox = self._result, self._inbox
            if result is not None and result.complete:
                return result
            quiet_s = now_s - heard_s
            if result is not None and (quiet_s >= POLL_S or name in inbox.completed):
                data = result.missing().pack()
                self.line.send(Service.LARGE_DATA, LargeDataSubtype.REPEAT_DOWN, data)
                inbox.completed.discard(name)
                heard_s = now_s
            # A payload that said it is at work is left in peace for longer.
            at_work = 2 if name in inbox.reports else 1
            if quiet_s >= at_work * self._timeouts.answer_s:
                return None
        return None

    # Both ----------------------------------------------------------------------------------

    def _attempts(self, starting: bool) -> int:
        """How often to ask: for `start_s` where the payload loads its model meanwhile."""
        timeouts = self._timeouts
        return math.ceil(timeouts.start_s / timeouts.answer_s) if starting else timeouts.attempts

    def _ask(
        self, function: Function, request: int, arguments: bytes, attempts: int
    ) -> Iterator[tuple[bytes, float]]:
        """Send a function as often as may be; yields its name and when to give up on it."""
        for _ in range(attempts):
            self._inbox = _Inbox()
            data = pack_perform(function, request, arguments)
            name = self.line.send(Service.FUNCTION, FunctionSubtype.PERFORM, data)
            yield name, time.monotonic() + self._timeouts.answer_s

    def _pump(self, deadline_s: float) -> bool:
        """Sort what arrives in a moment into the inbox; False once the deadline has passed."""
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        for packet in self.line.receive(min(POLL_S, left_s)):
            try:
                self._sort(packet)
            except WireError:
                self.line.counts.packets_malformed += 1
        return True

    def _sort(self, packet: Packet) -> None:
        inbox = self._inbox
        if packet.service == Service.VERIFICATION:
            report = decode_report(packet)
            inbox.reports.setdefault(report.request, []).append(report)
            if report.code == 0 and packet.subtype >= 7:
                inbox.completed.add(report.request)
        elif packet.service == Service.FUNCTION:
            inbox.answers.append(unpack_answer(bytes(packet.data)))
        elif packet.service == Service.HOUSEKEEPING:
            inbox.housekeeping.append(Housekeeping.unpack(bytes(packet.data)))
        elif packet.subtype == LargeDataSubtype.RECEIVED:
            inbox.received.append(Missing.unpack(bytes(packet.data)))
        elif packet.subtype == LargeDataSubtype.UP_ABORTED:
            inbox.aborted.add(unpack_transaction(bytes(packet.data)))
        else:
            part, body = unpack_part(packet.data)
            if part.transaction != self._result_transaction:
                return
            if self._result is None or not self._result.belongs(part):
                self._result = IncomingMessage(part, MAX_BODY_BYTES)
            self._result.add(part, body)

    def _raise_refusals(self) -> None:
        for name in list(self._inbox.reports):
            self._raise_refusal(name)

    def _raise_refusal(self, name: bytes) -> None:
        for report in self._inbox.reports.get(name, ()):
            if report.code in (Failure.NOT_CONNECTED, Failure.INCOMPLETE):
                raise LinkDownError(f"the payload lost the connection's state: {report.detail}")
            if report.code:
                raise RequestRefusedError(report.detail)


def _read_answer(text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"the answer to the handshake is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise NoAnswerError("the answer to the handshake is not a JSON object")
    return answer


def _read_result(message: IncomingMessage) -> FrameResult:
    try:
        if message.kind != Kind.RESULT:
            raise WireError("what came down is not a result")
        return decode_result(message.data)
    except WireError as error:
        raise LinkDownError(f"the result cannot be read: {error}") from error
