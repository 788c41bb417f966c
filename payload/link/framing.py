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

from dataclasses import dataclass

from payload.link.security import MAC_BYTES, SEQUENCE_BYTES, Security, Spi
from payload.link.wire import MAX_PACKET_BYTES, PRIMARY_HEADER_BYTES, packet_bytes

try:
    # The same CRC-32 ten times faster than zlib's, by carry-less multiplication. Without it the
    # line is slower and nothing else.
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

SYNC_MARKER = bytes.fromhex("1acffc1d")
CRC_BYTES = 4
MAX_LINE_FRAME_BYTES = (
    len(SYNC_MARKER) + 1 + SEQUENCE_BYTES + MAX_PACKET_BYTES + MAC_BYTES + CRC_BYTES
)
BUFFER_BYTES = 8 * MAX_LINE_FRAME_BYTES
"""Memory of a receiver: the largest frame and then some, yet small enough for a second-level
cache, in which octets just received are still found when their checksums are computed."""

_KNOWN_SPI = frozenset(int(spi) for spi in Spi)


def frame_pieces(
    security: Security, *packet: bytes | memoryview, spi: Spi | None = None
) -> list[bytes | memoryview]:
    """The pieces of a line frame around a packet given in pieces, to be sent back to back."""
    header, trailer = security.seal(packet, spi)
    crc = crc32(header)
    for piece in packet:
        crc = crc32(piece, crc)
    crc = crc32(trailer, crc)
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
    frames that `Security` did not accept. Octets wait in a buffer of fixed size, into which the
    channel writes them; packets are views of it, good until the next `room`.
    """

    def __init__(self, security: Security) -> None:
        self.security = security
        self.counts = FrameCounts()
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    @property
    def waiting_bytes(self) -> int:
        """Octets kept of a frame that is not complete."""
        return self._end - self._start

    def room(self) -> memoryview:
        """Where the next octets go, at least as many as the largest frame has.

        What waits is moved to the front if little is free behind it.
        """
        if BUFFER_BYTES - self._end < MAX_LINE_FRAME_BYTES:
            waiting = self.waiting_bytes
            self._view[:waiting] = self._view[self._start : self._end]
            self._start, self._end = 0, waiting
        return self._view[self._end :]

    def arrived(self, size: int) -> list[memoryview]:
        """The packets that the next `size` octets, now in `room`, complete, in order."""
        self._end += size
        return self._scan()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The packets that octets from elsewhere complete, copied."""
        packets: list[bytes] = []
        rest = memoryview(data)
        while len(rest):
            room = self.room()
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            packets += map(bytes, self.arrived(size))
            rest = rest[size:]
        return packets

    def give_up(self) -> list[memoryview]:
        """The line fell silent within a frame: take its marker for a false one and look on."""
        if self.waiting_bytes < len(SYNC_MARKER):
            return []
        self._start = self._damaged(self._start)
        return self._scan()

    def _scan(self) -> list[memoryview]:
        """Take out every complete frame; stop at one that is not."""
        packets: list[memoryview] = []
        while self._start < self._end:
            found = self._buffer.find(SYNC_MARKER, self._start, self._end)
            if found < 0:
                # A marker may be cut in two by the end of the data.
                found = max(self._start, self._end - len(SYNC_MARKER) + 1)
                self.counts.skipped_bytes += found - self._start
                self._start = found
                return packets
            self.counts.skipped_bytes += found - self._start
            self._start = found
            after = self._take(found, packets)
            if after is None:
                return packets
            self._start = after
        self._start = self._end = 0
        return packets

    def _take(self, start: int, packets: list[memoryview]) -> int | None:
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
        if crc32(self._view[body:crc_start]) != crc:
            return self._damaged(start)
        packet = self._view[packet_start:packet_end]
        header, trailer = self._buffer[body:packet_start], self._buffer[packet_end:crc_start]
        if self.security.accepts(header, packet, trailer):
            self.counts.accepted += 1
            packets.append(packet)
        else:
            self.counts.refused += 1
        return end

    def _damaged(self, start: int) -> int:
        self.counts.damaged += 1
        self.counts.skipped_bytes += len(SYNC_MARKER)
        return start + len(SYNC_MARKER)
