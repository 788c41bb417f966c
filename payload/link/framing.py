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
    frames that `Security` did not accept. At most one frame's worth of octets is kept.
    """

    def __init__(self, security: Security) -> None:
        self.security = security
        self.counts = FrameCounts()
        self._buffer = bytearray()

    @property
    def waiting_bytes(self) -> int:
        """Octets kept of a frame that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The packets that `data` completes, in order."""
        self._buffer += data
        packets: list[bytes] = []
        position = 0
        while True:
            start = self._buffer.find(SYNC_MARKER, position)
            if start < 0:
                # A marker may be cut in two by the end of the data.
                kept = min(len(SYNC_MARKER) - 1, len(self._buffer) - position)
                self._skip(len(self._buffer) - kept - position)
                position = len(self._buffer) - kept
                break
            self._skip(start - position)
            end = self._take(start, packets)
            if end is None:
                position = start
                break
            position = end
        del self._buffer[:position]
        return packets

    def give_up(self) -> list[bytes]:
        """The line fell silent within a frame: take its marker for a false one and look on."""
        if len(self._buffer) < len(SYNC_MARKER):
            return []
        self.counts.damaged += 1
        del self._buffer[: len(SYNC_MARKER)]
        return self.feed(b"")

    def _take(self, start: int, packets: list[bytes]) -> int | None:
        """Where to look on after the frame at `start`; None if it is not complete."""
        buffer = self._buffer
        body = start + len(SYNC_MARKER)
        if len(buffer) <= body:
            return None
        spi = buffer[body]
        if spi not in _KNOWN_SPI:
            return self._damaged(start)
        header_bytes = 1 if spi == Spi.CLEAR else 1 + SEQUENCE_BYTES
        packet_start = body + header_bytes
        if len(buffer) < packet_start + PRIMARY_HEADER_BYTES:
            return None
        packet_end = packet_start + packet_bytes(
            buffer[packet_start : packet_start + PRIMARY_HEADER_BYTES]
        )
        crc_start = packet_end + (0 if spi == Spi.CLEAR else MAC_BYTES)
        end = crc_start + CRC_BYTES
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view, view[body:crc_start] as covered:
            intact = zlib.crc32(covered) == int.from_bytes(buffer[crc_start:end], "big")
            if intact:
                with view[packet_start:packet_end] as inner:
                    packet = bytes(inner)
        if not intact:
            return self._damaged(start)
        header = bytes(buffer[body:packet_start])
        trailer = bytes(buffer[packet_end:crc_start])
        if self.security.accepts(header, packet, trailer):
            self.counts.accepted += 1
            packets.append(packet)
        else:
            self.counts.refused += 1
        return end

    def _damaged(self, start: int) -> int:
        self.counts.damaged += 1
        self._skip(len(SYNC_MARKER))
        return start + len(SYNC_MARKER)

    def _skip(self, octets: int) -> None:
        self.counts.skipped_bytes += max(0, octets)
