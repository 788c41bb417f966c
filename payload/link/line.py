"""One end of the line: packets out, packets in, with sequence counts kept and gaps counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payload.link.channel import Channel, Pieces
from payload.link.framing import Deframer, FrameCounts, frame_pieces
from payload.link.security import Security, Spi
from payload.link.transfer import OutgoingMessage
from payload.link.wire import SEQUENCE_MODULUS, Packet, PacketWriter, WireError, parse

SILENCE_S = 0.25
"""A frame is given up when the line is silent for so long within it."""

PARTS_AT_ONCE = 2
"""Parts of a large message handed to the channel together: fewer calls, and while the kernel
carries these the next ones are made."""


@dataclass
class LineCounts:
    """What one end saw of the line."""

    packets_in: int = 0
    packets_lost: int = 0
    packets_malformed: int = 0
    parts_repeated: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Line:
    """Speaks packets over a channel.

    Parameters
    ----------
    channel : Channel
    security : Security
    payload_side : bool
        True on board: sends telemetry and takes telecommands.
    """

    def __init__(self, channel: Channel, security: Security, payload_side: bool) -> None:
        self.channel = channel
        self.security = security
        self.counts = LineCounts()
        self._payload_side = payload_side
        self._writer = PacketWriter(telecommand=not payload_side)
        self._deframer = Deframer(security)
        self._expected: dict[int, int] = {}

    @property
    def frame_counts(self) -> FrameCounts:
        """What the deframer counted."""
        return self._deframer.counts

    def send(self, service: int, subtype: int, data: bytes = b"", spi: Spi | None = None) -> bytes:
        """Send a control packet; returns its first four octets, the name of the request."""
        packet = self._writer.control(service, subtype, data)
        self._put([frame_pieces(self.security, packet, spi=spi)])
        return packet[:4]

    def send_parts(self, message: OutgoingMessage) -> None:
        """Send a whole large message."""
        self._send_range(message, 1, message.parts)

    def repeat_parts(self, message: OutgoingMessage, ranges: tuple[tuple[int, int], ...]) -> None:
        """Send the named parts of a large message again."""
        for first, last in ranges:
            self.counts.parts_repeated += self._send_range(message, first, last)

    def receive(self, timeout_s: float) -> list[Packet]:
        """Packets that arrived, after at most `timeout_s`; their data is good until the next call.

        Raises
        ------
        LinkDownError
            If the channel is gone.
        """
        size = self.channel.receive_into(self._deframer.room(), timeout_s)
        if size:
            self.counts.bytes_in += size
            return self._parse(self._deframer.arrived(size))
        if timeout_s >= SILENCE_S and self._deframer.waiting_bytes:
            return self._parse(self._deframer.give_up())
        return []

    def take(self, data: bytes | memoryview) -> list[Packet]:
        """Packets that octets read elsewhere complete."""
        self.counts.bytes_in += len(data)
        return self._parse(self._deframer.feed(data))

    def give_up(self) -> list[Packet]:
        """The line is silent: stop waiting for the rest of a frame."""
        return self._parse(self._deframer.give_up())

    def _send_range(self, message: OutgoingMessage, first: int, last: int) -> int:
        """Send parts `first` to `last`, as far as there are any; how many those are."""
        after = min(last, message.parts) + 1
        for start in range(first, after, PARTS_AT_ONCE):
            numbers = range(start, min(start + PARTS_AT_ONCE, after))
            self._put([self._part_frame(message, number) for number in numbers])
        return max(after - first, 0)

    def _part_frame(self, message: OutgoingMessage, number: int) -> Pieces:
        part = message.part(number)
        header = self._writer.bulk_header(part.subtype, part.size)
        return frame_pieces(self.security, header + part.head, *part.data)

    def _put(self, frames: Sequence[Pieces]) -> None:
        self.channel.send(*frames)
        self.counts.bytes_out += sum(len(piece) for frame in frames for piece in frame)

    def _parse(self, raw_packets: Sequence[bytes | memoryview]) -> list[Packet]:
        packets = []
        for raw in raw_packets:
            try:
                packet = parse(raw)
            except WireError:
                self.counts.packets_malformed += 1
                continue
            if packet.telecommand != self._payload_side:
                self.counts.packets_malformed += 1
                continue
            self._count(packet)
            packets.append(packet)
        return packets

    def _count(self, packet: Packet) -> None:
        self.counts.packets_in += 1
        expected = self._expected.get(packet.apid, packet.sequence)
        gap = (packet.sequence - expected) % SEQUENCE_MODULUS
        # A gap of more than half the circle is an old packet, not thousands of lost ones.
        if gap < SEQUENCE_MODULUS // 2:
            self.counts.packets_lost += gap
            self._expected[packet.apid] = (packet.sequence + 1) % SEQUENCE_MODULUS
