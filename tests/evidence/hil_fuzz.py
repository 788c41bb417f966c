"""A million hostile packets: no crash, no unbounded memory, nothing accepted that should not be.

Run from the repository's root::

    python tests/evidence/hil_fuzz.py [--packets 1000000] [--seed 0]

Octets go straight into the board's session and into the simulator's conversation, in memory:
noise, intact line frames around noise, true packets with bytes changed and every checksum
refitted, every function with wild arguments, handshakes under the wrong key, and in between true
frames, which must still be answered. Three boards are under fire: one in clear, one that is
authenticated and shot at by a stranger, and one shot at by a peer that has the key.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import struct
import time
import zlib
from collections import Counter

from hil_rig import report
from spacepackets.ecss.tc import generate_crc

from payload.link.bench import BenchPayload, bench_frame
from payload.link.board import Board, Limits
from payload.link.channel import LinkDownError, Pieces
from payload.link.conversation import Conversation, NoAnswerError, RequestRefusedError, Timeouts
from payload.link.framing import frame_pieces
from payload.link.line import Line
from payload.link.messages import encode_frame
from payload.link.packets import (
    PROTOCOL_VERSION,
    SCHEMA_SHA256,
    Connect,
    Function,
    Kind,
    Missing,
    Part,
    pack_perform,
    pack_process,
    pack_transaction,
)
from payload.link.security import Security
from payload.link.session import PeerRefusedError, Session
from payload.link.transfer import OutgoingMessage
from payload.link.wire import MAX_BULK_DATA_BYTES, PacketWriter

KEY = bytes(range(32))
STRANGER_KEY = bytes(32)
MAX_MESSAGE_BYTES = 4 << 20
HELLO = Connect(PROTOCOL_VERSION, SCHEMA_SHA256, "", b"n" * 16)


class Sink:
    """A channel that takes everything and from which a script is read."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.script: list[bytes] = []

    def send(self, *frames: Pieces) -> None:
        self.taken += [b"".join(frame) for frame in frames]

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        assert timeout_s >= 0
        if not self.script:
            raise LinkDownError("end of script")
        octets = self.script.pop()
        room[: len(octets)] = octets
        return len(octets)

    def close(self) -> None:
        self.script.clear()


class Attacker:
    """Makes hostile octets; `security` is what its frames are sealed with."""

    def __init__(self, generator: random.Random, telecommand: bool, security: Security) -> None:
        self.random = generator
        self.security = security
        self.writer = PacketWriter(telecommand)
        self.other_writer = PacketWriter(not telecommand)
        self.telecommand = telecommand

    def shot(self) -> tuple[str, bytes]:
        """Kind and octets of one attack."""
        kinds = (
            self.noise, self.framed_noise, self.changed, self.function, self.part, self.ranges,
            self.answer, self.other_direction, self.cut,
        )  # fmt: skip
        kind = self.random.choice(kinds)
        return kind.__name__, kind()

    def noise(self) -> bytes:
        marker = bytes.fromhex("1acffc1d") if self.random.random() < 0.5 else b""
        return marker + self.random.randbytes(self.random.randrange(80))

    def framed_noise(self) -> bytes:
        size = self.random.randrange(1, 60)
        head = struct.pack(">HHH", self.random.getrandbits(16), 0xC000, size - 1)
        return self._frame(head + self.random.randbytes(size))

    def changed(self) -> bytes:
        packet = bytearray(self._true_packet())
        for _ in range(self.random.randrange(1, 4)):
            packet[self.random.randrange(len(packet))] = self.random.randrange(256)
        body = packet[:-2]
        body[4:6] = struct.pack(">H", len(packet) - 7)
        return self._frame(bytes(generate_crc(body)))

    def function(self) -> bytes:
        arguments = self.random.choice(
            (
                HELLO.pack(),
                pack_process(self.random.getrandbits(16), self.random.getrandbits(32)),
                self.random.randbytes(self.random.randrange(100)),
                b"",
            )
        )
        number = self.random.choice((*Function, self.random.randrange(256)))
        data = struct.pack(">BI", number, self.random.getrandbits(32)) + arguments
        return self._frame(self.writer.control(8, self.random.choice((1, 1, 129, 7)), data))

    def part(self) -> bytes:
        size = self.random.choice((0, 1, 16, 500, self.random.randrange(3000)))
        total = self.random.choice((size, size * 3, 0, 1 << 21, 1 << 30, 2**32 - 1))
        head = Part(
            self.random.randrange(4),
            self.random.randrange(6),
            total,
            self.random.choice((size, size, 0, 65535)),
            self.random.choice((1, 2, self.random.randrange(256))),
        )
        subtype = self.random.choice((1, 2, 3, 9, 10, 11, self.random.randrange(256)))
        body = head.pack() + self.random.randbytes(size)
        return self._frame(self.writer.bulk_header(subtype, len(body)) + body)

    def ranges(self) -> bytes:
        pairs = tuple(
            (self.random.getrandbits(16), self.random.getrandbits(16))
            for _ in range(self.random.randrange(5))
        )
        data = Missing(self.random.randrange(4), True, pairs).pack()
        return self._frame(self.writer.control(13, self.random.choice((129, 130, 131)), data))

    def answer(self) -> bytes:
        text = self.random.choice((b"{}", b"[" * 5000, b'{"boot":1}', b"\xff\xfe", b"nan"))
        data = struct.pack(">BI", 1, self.random.getrandbits(32)) + text
        return self._frame(self.writer.control(8, 129, data))

    def other_direction(self) -> bytes:
        return self._frame(self.other_writer.control(1, self.random.randrange(10), b"12345"))

    def cut(self) -> bytes:
        frame = self._frame(self._true_packet())
        return frame[: self.random.randrange(len(frame))]

    def _true_packet(self) -> bytes:
        data = self.random.choice((pack_transaction(1), HELLO.pack(), b""))
        return self.writer.control(
            self.random.choice((1, 3, 8, 13, 17)), self.random.randrange(140), data
        )

    def _frame(self, packet: bytes) -> bytes:
        return b"".join(frame_pieces(self.security, packet))


class Target:
    """A board under fire, whose session is opened anew when it hangs up."""

    def __init__(self, key: bytes | None, generator: random.Random) -> None:
        self.payload = BenchPayload()
        limits = Limits(max_message_bytes=MAX_MESSAGE_BYTES, bad_frames_burst=200)
        self.board = Board(self.payload, part_bytes=4000, limits=limits)
        self.key = key
        self.random = generator
        self.now_s = 0.0
        self.hang_ups = 0
        self.open()

    def open(self) -> None:
        self.sink = Sink()
        security = Security(self.key, True)
        self.session = Session(self.board, self.sink, security, clock=lambda: self.now_s)

    def fire(self, octets: bytes) -> bool:
        """Feed octets; False if the session hung up."""
        self.now_s += 0.004
        try:
            self.session.feed(octets)
            if self.random.random() < 0.05:
                self.session.feed(b"")
        except PeerRefusedError:
            self.hang_ups += 1
            self.open()
            return False
        self.sink.taken.clear()
        return True


def greet(target: Target, attacker: Attacker) -> None:
    """Let an attacker that holds the key shake hands, so that what is behind it is shot at too."""
    hello = pack_perform(Function.CONNECT, 1, HELLO.pack())
    if target.fire(attacker._frame(attacker.writer.control(8, 1, hello))):
        nonce = target.session._nonce
        attacker.security.start_session(HELLO.nonce, nonce, at_once=True)


def friend(target: Target) -> bool:
    """A true peer connects anew and has one frame processed; whether it was answered."""
    target.open()
    target.now_s += 60.0
    processed = target.payload.frames
    security = Security(target.key, False)
    line = Line(target.sink, security, payload_side=False)
    line.send(8, 1, pack_perform(Function.CONNECT, 1, HELLO.pack()))
    target.session.feed(target.sink.taken.pop(0))
    conversation = Conversation(line, Timeouts(answer_s=0.01, attempts=1))
    answer = b"".join(target.sink.taken)
    text = answer[answer.index(b"{") :].decode("latin-1")
    nonce = json.JSONDecoder().raw_decode(text)[0]["nonce"]
    conversation.line.take(answer)
    security.start_session(HELLO.nonce, bytes.fromhex(nonce), at_once=True)
    target.sink.taken.clear()
    pieces = encode_frame(bench_frame(height=40, width=40), False)
    line.send_parts(OutgoingMessage(7, Kind.FRAME, pieces, 4000, uplink=True))
    request = target.random.getrandbits(32)
    line.send(8, 1, pack_perform(Function.PROCESS, request, pack_process(7, 1000)))
    sent, target.sink.taken = target.sink.taken, []
    for octets in sent:
        target.session.feed(octets)
    target.open()
    return target.payload.frames == processed + 1


def fuzz_boards(packets: int, seed: int) -> dict[str, object]:
    """Shoot at three boards; figures of what happened."""
    generator = random.Random(seed)
    clear = Target(None, generator)
    strange = Target(KEY, generator)
    trusted = Target(KEY, generator)
    sealed = Security(KEY, False)
    attackers = (
        (clear, Attacker(generator, True, Security(None, False))),
        (strange, Attacker(generator, True, Security(STRANGER_KEY, False))),
        (trusted, Attacker(generator, True, sealed)),
    )
    kinds: Counter[str] = Counter()
    friends = answered = strange_frames = 0
    for number in range(packets):
        target, attacker = attackers[number % 3]
        kind, octets = attacker.shot()
        kinds[kind] += 1
        if not target.fire(octets):
            attacker.security.end_session()
        if number % 3 != 1 and not target.session.connected and number % 50 < 3:
            greet(target, attacker)
        if number % 5000 < 3:
            friends += 1
            answered += friend(target)
            strange_frames += target is strange
    return {
        "kinds": dict(sorted(kinds.items())),
        "hang_ups": clear.hang_ups + strange.hang_ups + trusted.hang_ups,
        "friends": friends,
        "friends_answered": answered,
        "frames_a_stranger_got_processed": strange.payload.frames - strange_frames,
    }


def fuzz_conversation(packets: int, seed: int) -> int:
    """Answer the simulator's side with hostile octets; how many questions ended in order."""
    generator = random.Random(seed + 1)
    attacker = Attacker(generator, False, Security(None, True))
    ended = 0
    message = OutgoingMessage(
        7, Kind.FRAME, encode_frame(bench_frame(height=16, width=16), False), 4000, uplink=True
    )
    for _ in range(packets // 50):
        sink = Sink()
        sink.script = [attacker.shot()[1] for _ in range(50)]
        line = Line(sink, Security(None, False), payload_side=False)
        conversation = Conversation(line, Timeouts(answer_s=5.0, frame_s=5.0, attempts=2))
        question = generator.choice(("connect", "process", "housekeeping", "reset"))
        try:
            if question == "connect":
                conversation.connect(HELLO, 1)
            elif question == "process":
                conversation.process(message, 7)
            elif question == "housekeeping":
                conversation.housekeeping()
            else:
                conversation.perform(Function.RESET, 3)
        except (LinkDownError, NoAnswerError, RequestRefusedError):
            pass
        ended += 1
    return ended


def peak_mib() -> float:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(packets: int, seed: int) -> dict[str, object]:
    """Everything; raises whatever the code under fire should not have raised."""
    fuzz_boards(200, seed)
    fuzz_conversation(200, seed)
    before_mib, started_s = peak_mib(), time.monotonic()
    to_boards = packets * 3 // 4
    figures = fuzz_boards(to_boards, seed)
    conversations = fuzz_conversation(packets - to_boards, seed)
    return {
        "packets": packets,
        "seed": seed,
        "conversations": conversations,
        **figures,
        "peak_growth_mib": round(peak_mib() - before_mib, 1),
        "seconds": round(time.monotonic() - started_s, 1),
        "largest_packet_bytes": MAX_BULK_DATA_BYTES,
        "crc32_of_schema": f"{zlib.crc32(SCHEMA_SHA256.encode()):08x}",
    }


def main() -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # A line per refusal would be a hundred megabytes.
    report(fuzz(options.packets, options.seed))


if __name__ == "__main__":
    main()
