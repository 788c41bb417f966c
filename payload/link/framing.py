"""Line frames: how packets are found again in a stream of octets that may be damaged.

The same framing runs over TCP, pipes and serial lines::

    sync marker 1ACFFC1D | SPI | [sequence, 8] | space packet | [MAC, 16] | CRC-32
                          `---------------- CRC-32 covers ---------------'

The bracketed fields exist unless the SPI is 0 (clear). The marker is the attached sync marker
of CCSDS 131.0-B. A frame's length is that of its space packet, so no octet is stuffed and a
large frame costs no rewriting. After damage the receiver looks for the next marker *inside* what
it took for a frame: a wrong length field never swallows the good frames behind it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from payload.link.security import MAC_BYTES, SEQUENCE_BYTES, Security, Spi
from payload.link.wire import MAX_PACKET_BYTES, PRIMARY_HEADER_BYTES, packet_bytes

SYNC_MARKER = bytes.fromhex("1acffc1d")
CRC_BYTES = 4
MAX_LINE_FRAME_BYTES = (
    len(SYNC_MARKER) + 1 + SEQUENCE_BYTES + MAX_PACKET_BYTES + MAC_BYTES + CRC_BYTES
)
_KNOWN_SPI = frozenset(int(spi) for spi in Spi)


def frame_pieces(
    security: Security, *packet: bytes | memoryview, spi: Spi | None = None
) -> list[bytes | memoryview]:
    """The pieces of a line frame around a packet given in pieces, to be sent back to back."""
    header, trailer = security.seal(packet, spi)
    crc = zlib.crc32(header)
    for piece in packet:
        crc = zlib.crc32(piece, crc)
    crc = zlib.crc32(trailer, crc)
    return [SYNC_MARKER + header, *packet, trailer + crc.to_bytes(CRC_BYTES, "big")]


@dataclass
class FrameCounts:
    """What a receiver made of the octets it was given."""

    accepted: int = 0
    damaged: int = 0
    refused: int = 0
    skipped_bytes: int = 0


class Deframer:
    """Finds authentic packets in a stream.

    `counts.damaged` are markers behind which no intact frame lay; `counts.refused` are intact
    frames that `Security` did not accept. Octets wait in a buffer of fixed size, which holds the
    largest frame and then some.
    """

    def __init__(self, security: Security) -> None:
        self.security = security
        self.counts = FrameCounts()
        self._buffer = bytearray(4 * MAX_LINE_FRAME_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    @property
    def waiting_bytes(self) -> int:
        """Octets kept of a frame that is not complete."""
        return self._end - self._start

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The packets that `data` completes, in order."""
        packets: list[bytes] = []
        rest = memoryview(data)
        while True:
            room = self._make_room()
            piece, rest = rest[:room], rest[room:]
            self._view[self._end : self._end + len(piece)] = piece
            self._end += len(piece)
            self._scan(packets)
            if not rest:
                return packets

    def give_up(self) -> list[bytes]:
        """The line fell silent within a frame: take its marker for a false one and look on."""
        if self.waiting_bytes < len(SYNC_MARKER):
            return []
        self._start = self._damaged(self._start)
        return self.feed(b"")

    def _make_room(self) -> int:
        """Free octets behind what waits, after moving it to the front if they are few."""
        if len(self._buffer) - self._end < MAX_LINE_FRAME_BYTES:
            waiting = self.waiting_bytes
            self._view[:waiting] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, waiting
        return len(self._buffer) - self._end

    def _scan(self, packets: list[bytes]) -> None:
        """Take out every complete frame; stop at one that is not."""
        while self._start < self._end:
            found = self._buffer.find(SYNC_MARKER, self._start, self._end)
            if found < 0:
                # A marker may be cut in two by the end of the data.
                found = max(self._start, self._end - len(SYNC_MARKER) + 1)
                self.counts.skipped_bytes += found - self._start
                self._start = found
                return
            self.counts.skipped_bytes += found - self._start
            self._start = found
            after = self._take(found, packets)
            if after is None:
                return
            self._start = after
        self._start = self._end = 0

    def _take(self, start: int, packets: list[bytes]) -> int | None:
        """Where to look on after the frame at `start`; None if it is not complete."""
        body = start + len(SYNC_MARKER)
        if self._end <= body:
            return None
        spi = self._buffer[body]
        if spi not in _KNOWN_SPI:
            return self._damaged(start)
        packet_start = body + (1 if spi == Spi.CLEAR else 1 + SEQUENCE_BYTES)
        if self._end < packet_start + PRIMARY_HEADER_BYTES:
            return None
        head = self._buffer[packet_start : packet_start + PRIMARY_HEADER_BYTES]
        packet_end = packet_start + packet_bytes(head)
        crc_start = packet_end + (0 if spi == Spi.CLEAR else MAC_BYTES)
        end = crc_start + CRC_BYTES
        if self._end < end:
            return None
        crc = int.from_bytes(self._view[crc_start:end], "big")
        if zlib.crc32(self._view[body:crc_start]) != crc:
            return self._damaged(start)
        packet = bytes(self._view[packet_start:packet_end])
        header, trailer = bytes(self._view[body:packet_start]), self._view[packet_end:crc_start]
        if self.security.accepts(header, packet, bytes(trailer)):
            self.counts.accepted += 1
            packets.append(packet)
        else:
            self.counts.refused += 1
        return end

    def _damaged(self, start: int) -> int:
        self.counts.damaged += 1
        self.counts.skipped_bytes += len(SYNC_MARKER)
        return start + len(SYNC_MARKER)
