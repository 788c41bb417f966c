"""Whatever a line lets through, each frame ends in one result, and in time."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

import pytest

from payload.frame import FrameResult
from payload.link.bench import BenchPayload, bench_frame
from payload.link.board import Limits
from payload.link.channel import LinkDownError, Pieces, SocketChannel
from payload.link.client import CUTS_PER_FRAME, WireLink
from payload.link.conversation import Timeouts
from payload.link.faults import BoxFault
from payload.link.packets import LargeDataSubtype
from payload.link.settings import LinkError
from payload.link.wire import Packet, Service, Verification, parse

OpenBench = Callable[..., tuple[WireLink, BenchPayload]]
PART_BYTES = 4096
QUICK = Timeouts(answer_s=0.3, frame_s=1.0, reconnect_s=0.3, attempts=3)
PATIENCE_S = 20.0
"""Far more than any frame may take under `QUICK`; who takes longer hangs."""
CLEAR_HEAD_BYTES = 5
CRC_BYTES = 4


def packet_of(frame: Pieces) -> Packet:
    """The packet in a line frame sent in clear."""
    return parse(b"".join(frame)[CLEAR_HEAD_BYTES:-CRC_BYTES])


class Sieve(SocketChannel):
    """A channel that loses the line frames that `loses` picks."""

    loses: Callable[[Pieces], bool]

    def send(self, *frames: Pieces) -> None:
        """Send the frames that are not lost."""
        super().send(*[frame for frame in frames if not self.loses(frame)])


def sieve(loses: Callable[[Pieces], bool]) -> type[Sieve]:
    return type("LossyChannel", (Sieve,), {"loses": staticmethod(loses)})


def process_in_time(link: WireLink) -> FrameResult:
    """The result of a frame; a test that would wait for ever fails instead."""
    results: list[FrameResult] = []
    work = threading.Thread(target=lambda: results.append(link.process(bench_frame())))
    work.daemon = True
    work.start()
    work.join(PATIENCE_S)
    if not results:
        pytest.fail(f"the frame had no result after {PATIENCE_S:g} s")
    return results[0]


def test_a_line_that_carries_no_parts_is_lost(open_bench: OpenBench) -> None:
    """Questions and answers are short and pass; parts are long and never do."""
    up = sieve(lambda frame: sum(map(len, frame)) > PART_BYTES)
    link, payload = open_bench(part_bytes=PART_BYTES, timeouts=QUICK, up=up)
    result = process_in_time(link)
    assert result.status == "link_lost"
    assert payload.frames == 0


def test_a_line_that_loses_most_parts_is_borne_with(open_bench: OpenBench) -> None:
    """One part passes at every second round: slow, but the frame gets there."""
    rounds = [0]

    def loses(frame: Pieces) -> bool:
        packet = packet_of(frame)
        if packet.subtype == LargeDataSubtype.ASK_RECEIVED:
            rounds[0] += 1
        if sum(map(len, frame)) <= PART_BYTES:
            return False
        passes = rounds[0] % 2 == 0
        rounds[0] += passes
        return not passes

    link, payload = open_bench(part_bytes=PART_BYTES, timeouts=QUICK, up=sieve(loses))
    assert process_in_time(link).status == "ok"
    assert payload.frames == 1


def losing_the_first(
    service: Service, subtype: int, lost: list[Packet]
) -> Callable[[Pieces], bool]:
    """Of a kind of packet the line loses one, which is put into `lost`."""

    def loses(frame: Pieces) -> bool:
        packet = packet_of(frame)
        is_lost = (packet.service, packet.subtype) == (service, subtype) and not lost
        if is_lost:
            lost.append(packet)
        return is_lost

    return loses


def test_a_refusal_that_was_lost_is_said_again(open_bench: OpenBench) -> None:
    lost: list[Packet] = []
    loses = losing_the_first(Service.LARGE_DATA, LargeDataSubtype.UP_ABORTED, lost)
    limits = Limits(max_message_bytes=10_000)
    link, _ = open_bench(limits=limits, timeouts=QUICK, down=sieve(loses))
    result = process_in_time(link)
    assert (result.status, len(lost)) == ("refused", 1)
    assert "larger" in result.detail


def test_a_fault_asked_for_twice_is_injected_once(open_bench: OpenBench) -> None:
    """Bits flipped twice over are as they were."""
    lost: list[Packet] = []
    loses = losing_the_first(Service.VERIFICATION, Verification.COMPLETED, lost)
    link, payload = open_bench(allow_faults=True, timeouts=QUICK, down=sieve(loses))
    link.inject(BoxFault.FLIP_WEIGHTS, 3.0, 7)
    assert len(lost) == 1
    assert payload.injected == [(BoxFault.FLIP_WEIGHTS, 3.0, 7)]
    link.inject(BoxFault.FLIP_WEIGHTS, 3.0, 7)
    assert len(payload.injected) == 2


def test_a_model_that_loads_slowly_is_loaded_once(open_bench: OpenBench) -> None:
    link, payload = open_bench(timeouts=dataclasses.replace(QUICK, answer_s=0.1))

    def load_slowly() -> None:
        payload.resets += 1
        time.sleep(1.0)  # longer than a short question is asked for

    payload.reset = load_slowly  # type: ignore[method-assign]
    link.start_afresh()
    assert link.process(bench_frame()).status == "ok"
    assert payload.resets == 1


def test_a_payload_that_loads_no_model_is_refused_before_flight(open_bench: OpenBench) -> None:
    link, payload = open_bench(timeouts=dataclasses.replace(QUICK, answer_s=0.1, start_s=0.3))
    payload.reset = lambda: time.sleep(1.0)  # type: ignore[method-assign]
    with pytest.raises(LinkError, match=r"did not load its model afresh .* restart the server"):
        link.start_afresh()


def test_one_cut_of_a_slow_line_costs_no_frame(open_bench: OpenBench) -> None:
    """The way up takes longer than any result is awaited, and the cut comes late in it."""
    impatient = Timeouts(answer_s=0.5, frame_s=0.3, reconnect_s=0.1)
    cut_after_s = 2 * (impatient.frame_s + 2 * impatient.reconnect_s)
    cuts: list[float] = []

    def crawls(frame: Pieces) -> bool:
        if sum(map(len, frame)) > PART_BYTES and not cuts:
            time.sleep(cut_after_s)
            cuts.append(cut_after_s)
            raise LinkDownError("cut")
        return False

    link, payload = open_bench(part_bytes=PART_BYTES, timeouts=impatient, up=sieve(crawls))
    assert process_in_time(link).status == "ok"
    assert (payload.frames, len(cuts)) == (1, 1)


def test_a_line_cut_under_every_part_is_given_up(open_bench: OpenBench) -> None:
    cuts: list[Pieces] = []

    def cut(frame: Pieces) -> bool:
        if sum(map(len, frame)) > PART_BYTES:
            cuts.append(frame)
            raise LinkDownError("cut")
        return False

    link, _ = open_bench(part_bytes=PART_BYTES, timeouts=QUICK, up=sieve(cut))
    result = process_in_time(link)
    assert (result.status, len(cuts)) == ("link_lost", CUTS_PER_FRAME)
    assert f"sent {CUTS_PER_FRAME} times" in result.detail
