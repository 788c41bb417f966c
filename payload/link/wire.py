"""CCSDS space packets with PUS headers: the one module that touches `spacepackets`.

Two application processes share the line. `CONTROL_APID` carries verification (service 1),
housekeeping (3), functions (8) and the questions of large data transfer (13); each of its
packets ends with the packet error control of PUS, a CRC-16. `BULK_APID` carries the parts of
large messages (13) without it: a part is guarded by the CRC-32 of its line frame
(`payload.link.framing`), which a board computes an order of magnitude faster. Packet error
control is a managed parameter per application process.

Packets have no time field: a payload computer need not own a clock, and nothing is decided on
when a packet was made.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass

from spacepackets import BytesTooShortError
from spacepackets.ccsds import PacketType, SpacePacketHeader
from spacepackets.ecss import (
    PacketFieldU8,
    PusTcDataFieldHeader,
    PusTmSecondaryHeader,
    RequestId,
    check_pus_crc,
)
from spacepackets.ecss.pus_1_verification import FailureNotice, VerificationParams
from spacepackets.ecss.tc import generate_crc

CONTROL_APID = 0x2A1
"""Application process of verification, housekeeping and functions."""

BULK_APID = 0x2A2
"""Application process of large data transfer."""

PRIMARY_HEADER_BYTES = 6
MAX_PACKET_BYTES = PRIMARY_HEADER_BYTES + 65536
"""Largest space packet: its length field counts to 65536 (CCSDS 133.0-B-2, 4.1.3.5.3)."""

SEQUENCE_MODULUS = 1 << 14
MAX_DETAIL_BYTES = 512
"""Longest explanation in a verification report."""

FORMS_KEPT = 64
"""Headers remembered: `spacepackets` makes or reads each form of header once, and only counts
change from packet to packet. A frame of a thousand parts has three forms."""

_UNSEGMENTED = 0b11 << 14
_TYPE_BIT = 0x10
_MESSAGE_COUNTER = slice(9, 11)
_TC_HEADER_BYTES = PusTcDataFieldHeader.get_header_size()
_TM_HEADER_BYTES = PusTmSecondaryHeader.MIN_LEN
HEADERS_BYTES = PRIMARY_HEADER_BYTES + max(_TC_HEADER_BYTES, _TM_HEADER_BYTES)
MAX_BULK_DATA_BYTES = 65536 - max(_TC_HEADER_BYTES, _TM_HEADER_BYTES)
"""Most application data one packet of the bulk process can carry."""


class Service(enum.IntEnum):
    """PUS services spoken on the line."""

    VERIFICATION = 1
    HOUSEKEEPING = 3
    FUNCTION = 8
    LARGE_DATA = 13


class Verification(enum.IntEnum):
    """Subtypes of service 1 (ECSS-E-ST-70-41C, 6.1)."""

    ACCEPTED = 1
    NOT_ACCEPTED = 2
    STARTED = 3
    NOT_STARTED = 4
    COMPLETED = 7
    FAILED = 8


class WireError(ValueError):
    """Bytes that are not a packet of this interface."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One space packet, taken apart.

    Attributes
    ----------
    telecommand : bool
        Towards the payload (True) or from it.
    service, subtype : int
        PUS service and message subtype.
    apid : int
        `CONTROL_APID` or `BULK_APID`.
    sequence : int
        Sequence count, 0..16383, one series per application process and direction.
    request : bytes
        First four octets: what a verification report calls the request it reports on.
    data : bytes or memoryview
        Application or source data.
    """

    telecommand: bool
    service: int
    subtype: int
    apid: int
    sequence: int
    request: bytes
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Report:
    """A verification report: which request, and why it failed (code 0: it did not)."""

    request: bytes
    code: int
    detail: str


class PacketWriter:
    """Makes packets of one direction and counts them.

    Parameters
    ----------
    telecommand : bool
        True on the simulator's side, False on the payload's.
    """

    def __init__(self, telecommand: bool) -> None:
        self._telecommand = telecommand
        self._next = {CONTROL_APID: 0, BULK_APID: 0}

    def control(self, service: int, subtype: int, data: bytes = b"") -> bytes:
        """A packet of the control process, with packet error control."""
        header = self._header(CONTROL_APID, service, subtype, len(data) + 2)
        return bytes(generate_crc(bytearray(header + data)))

    def bulk_header(self, subtype: int, data_bytes: int) -> bytes:
        """The headers of a service 13 packet whose `data_bytes` of data the caller appends."""
        return self._header(BULK_APID, Service.LARGE_DATA, subtype, data_bytes)

    def _header(self, apid: int, service: int, subtype: int, tail_bytes: int) -> bytes:
        sequence = self._next[apid]
        self._next[apid] = (sequence + 1) % SEQUENCE_MODULUS
        header = bytearray(_header_form(self._telecommand, apid, service, subtype, tail_bytes))
        header[2:4] = (_UNSEGMENTED | sequence).to_bytes(2, "big")
        if not self._telecommand:
            header[_MESSAGE_COUNTER] = sequence.to_bytes(2, "big")
        return bytes(header)


@functools.lru_cache(maxsize=FORMS_KEPT)
def _header_form(
    telecommand: bool, apid: int, service: int, subtype: int, tail_bytes: int
) -> bytes:
    """Both headers with all counts 0. The parts of a large frame differ in nothing else."""
    second = (
        PusTcDataFieldHeader(service, subtype)
        if telecommand
        else PusTmSecondaryHeader(service, subtype)
    ).pack()
    length = len(second) + tail_bytes
    if length > 65536:
        raise WireError(
            f"a packet of service {service} would carry {length} bytes, at most 65536 fit; "
            "send it in parts by service 13"
        )
    first = SpacePacketHeader(
        packet_type=PacketType.TC if telecommand else PacketType.TM,
        apid=apid,
        seq_count=0,
        data_len=length - 1,
        sec_header_flag=True,
    )
    return bytes(first.pack() + second)


def packet_bytes(head: bytes | bytearray) -> int:
    """Total length of the packet that starts with these six or more octets."""
    return PRIMARY_HEADER_BYTES + 1 + int.from_bytes(head[4:6], "big")


def parse(raw: bytes | memoryview) -> Packet:
    """Take a packet apart; its data is a view of `raw`.

    Raises
    ------
    WireError
        If it is not a whole packet of this interface: wrong version, application process,
        header, service, length or packet error control.
    """
    head = bytes(raw[:HEADERS_BYTES])
    headers = _parse_headers(_form_of(head))
    sequence = int.from_bytes(head[2:4], "big")
    if sequence & _UNSEGMENTED != _UNSEGMENTED:
        raise WireError("segmented space packets are not used; service 13 splits messages")
    if headers.packet_bytes != len(raw):
        raise WireError(
            f"length field says {headers.packet_bytes} bytes, the packet has {len(raw)}"
        )
    bulk = headers.apid == BULK_APID
    if not bulk and not check_pus_crc(bytes(raw)):
        raise WireError("packet error control does not match")
    end = len(raw) if bulk else len(raw) - 2
    if end < headers.data_start:
        raise WireError(f"a packet of {len(raw)} bytes ends within its headers")
    return Packet(
        telecommand=headers.telecommand,
        service=headers.service,
        subtype=headers.subtype,
        apid=headers.apid,
        sequence=sequence & (SEQUENCE_MODULUS - 1),
        request=head[:4],
        data=memoryview(raw)[headers.data_start : end],
    )


def _form_of(raw: bytes) -> bytes:
    """Both headers without sequence control, message counter 0: what many packets share."""
    if raw[:1] and raw[0] & _TYPE_BIT:
        return raw[:2] + raw[4 : PRIMARY_HEADER_BYTES + _TC_HEADER_BYTES]
    end = PRIMARY_HEADER_BYTES + _TM_HEADER_BYTES
    counter = raw[_MESSAGE_COUNTER]
    return raw[:2] + raw[4 : _MESSAGE_COUNTER.start] + bytes(len(counter)) + raw[11:end]


@dataclass(frozen=True, slots=True)
class _Headers:
    """What the headers of a packet say, its counts apart."""

    telecommand: bool
    apid: int
    service: int
    subtype: int
    packet_bytes: int
    data_start: int


@functools.lru_cache(maxsize=FORMS_KEPT)
def _parse_headers(form: bytes) -> _Headers:
    """Read both headers, given without the sequence control in the middle of the first."""
    try:
        first = SpacePacketHeader.unpack(form[:2] + _UNSEGMENTED.to_bytes(2, "big") + form[2:4])
        telecommand = first.packet_type == PacketType.TC
        second: PusTcDataFieldHeader | PusTmSecondaryHeader
        if telecommand:
            second = PusTcDataFieldHeader.unpack(form[4 : 4 + _TC_HEADER_BYTES])
        else:
            second = PusTmSecondaryHeader.unpack(form[4:], timestamp_len=0)
    except (BytesTooShortError, ValueError) as error:
        raise WireError(f"not a PUS packet: {error}") from error
    if first.ccsds_version != 0 or not first.sec_header_flag:
        raise WireError("not a version 1 space packet with a secondary header")
    if first.apid not in (CONTROL_APID, BULK_APID):
        raise WireError(f"application process {first.apid:#x} is unknown")
    if first.apid == BULK_APID and second.service != Service.LARGE_DATA:
        raise WireError(f"service {second.service} does not belong to process {first.apid:#x}")
    return _Headers(
        telecommand=telecommand,
        apid=first.apid,
        service=second.service,
        subtype=second.message_subtype,
        packet_bytes=first.packet_len,
        data_start=PRIMARY_HEADER_BYTES + (_TC_HEADER_BYTES if telecommand else _TM_HEADER_BYTES),
    )


def encode_report(request: bytes, code: int = 0, detail: str = "") -> bytes:
    """Source data of a service 1 report on `request`; a `code` other than 0 is a failure."""
    notice = None
    if code:
        text = detail.encode()[:MAX_DETAIL_BYTES]
        notice = FailureNotice(PacketFieldU8(code), text)
    return bytes(VerificationParams(RequestId.unpack(request), failure_notice=notice).pack())


def decode_report(packet: Packet) -> Report:
    """Read a service 1 report.

    Raises
    ------
    WireError
        If the source data is too short.
    """
    data = bytes(packet.data)
    try:
        request = RequestId.unpack(data).pack()
        if packet.subtype % 2:
            return Report(request, 0, "")
        notice = FailureNotice.unpack(data[4:], num_bytes_err_code=1)
    except (BytesTooShortError, ValueError) as error:
        raise WireError(f"not a verification report: {error}") from error
    return Report(request, int(notice.code.val), notice.data.decode(errors="replace"))
