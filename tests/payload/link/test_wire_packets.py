"""Space packets, line frames, parts: what is written is read, what is damaged is refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacepackets.ecss import PusTc, PusTm

from payload.link.framing import (
    MAX_LINE_FRAME_BYTES,
    SYNC_MARKER,
    Deframer,
    crc32,
    frame_pieces,
)
from payload.link.packets import (
    LAYOUTS,
    SCHEMA_SHA256,
    Connect,
    Function,
    Housekeeping,
    Kind,
    LargeDataSubtype,
    Missing,
    Part,
    pack_perform,
    unpack_part,
    unpack_perform,
)
from payload.link.security import Security
from payload.link.transfer import IncomingMessage, OutgoingMessage
from payload.link.wire import (
    BULK_APID,
    CONTROL_APID,
    MAX_BULK_DATA_BYTES,
    PacketWriter,
    Service,
    WireError,
    decode_report,
    encode_report,
    parse,
)


def framed(packet: bytes) -> bytes:
    return b"".join(frame_pieces(Security(None, False), packet))


def test_control_packets_are_pus_packets_to_others() -> None:
    writer = PacketWriter(telecommand=True)
    first, second = (writer.control(8, 1, b"data") for _ in range(2))
    theirs = PusTc.unpack(second)
    assert (theirs.service, theirs.message_subtype, theirs.apid) == (8, 1, CONTROL_APID)
    assert theirs.app_data == b"data"
    assert parse(first).sequence == 0
    assert theirs.seq_count == parse(second).sequence == 1
    report = PusTm.unpack(PacketWriter(telecommand=False).control(3, 25, b"hk"), timestamp_len=0)
    assert (report.service, report.message_subtype, report.source_data) == (3, 25, b"hk")


def test_sequence_counts_go_round_and_are_kept_per_process() -> None:
    writer = PacketWriter(telecommand=True)
    for _ in range(16384):
        last = writer.control(8, 1)
    assert parse(last).sequence == 16383
    assert parse(writer.control(8, 1)).sequence == 0
    bulk = parse(writer.bulk_header(LargeDataSubtype.UP_FIRST, 2) + b"ab")
    assert (bulk.sequence, bulk.apid, bytes(bulk.data)) == (0, BULK_APID, b"ab")


@given(st.binary(max_size=64), st.integers(0, 10_000))
def test_a_control_packet_with_a_flipped_bit_is_refused(data: bytes, where: int) -> None:
    packet = bytearray(PacketWriter(telecommand=True).control(8, 1, data))
    bit = where % (8 * len(packet))
    packet[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(WireError):
        parse(bytes(packet))


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    try:
        packet = parse(raw)
    except WireError:
        return
    assert packet.apid in (CONTROL_APID, BULK_APID)


def test_reports_name_their_request_and_reason() -> None:
    request = PacketWriter(telecommand=True).control(8, 1)[:4]
    writer = PacketWriter(telecommand=False)
    good = decode_report(parse(writer.control(Service.VERIFICATION, 7, encode_report(request))))
    assert (good.request, good.code) == (request, 0)
    data = encode_report(request, 7, "too large")
    bad = decode_report(parse(writer.control(Service.VERIFICATION, 2, data)))
    assert (bad.request, bad.code, bad.detail) == (request, 7, "too large")
    with pytest.raises(WireError, match="verification"):
        decode_report(parse(writer.control(Service.VERIFICATION, 2, b"")))


def test_layouts_are_what_the_schema_hash_covers() -> None:
    assert len(SCHEMA_SHA256) == 64
    assert all(form.startswith(">") for form, _ in LAYOUTS.values())
    connect = Connect(1, SCHEMA_SHA256, "ab" * 32, b"n" * 16)
    assert Connect.unpack(connect.pack()) == connect
    assert Connect.unpack(Connect(1, SCHEMA_SHA256, "", b"n" * 16).pack()).model_sha256 == ""
    report = Housekeeping(1, 2**60, 3.5, 4, 5, 6, 7, 8, 9, 10)
    assert Housekeeping.unpack(report.pack()) == report
    data = pack_perform(Function.PROCESS, 77, b"rest")
    assert unpack_perform(data) == (Function.PROCESS, 77, b"rest")
    with pytest.raises(WireError, match="connect"):
        Connect.unpack(b"short")


@settings(max_examples=60)
@given(
    st.lists(st.binary(min_size=0, max_size=40), min_size=1, max_size=6),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.binary(max_size=30),
)
def test_frames_are_found_however_the_stream_is_cut(
    payloads: list[bytes], cuts: list[int], noise: bytes
) -> None:
    writer = PacketWriter(telecommand=True)
    packets = [writer.control(8, 1, payload) for payload in payloads]
    stream = noise + noise.join(framed(packet) for packet in packets)
    deframer = Deframer(Security(None, True))
    found: list[bytes] = []
    position = index = 0
    while position < len(stream):
        step = cuts[index % len(cuts)]
        found += deframer.feed(stream[position : position + step])
        position, index = position + step, index + 1
    while deframer.waiting_bytes >= len(SYNC_MARKER):
        found += deframer.give_up()
    assert [packet for packet in found if packet in packets] == packets


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 4))
def test_damage_costs_one_frame_and_no_other(where: int, victim: int) -> None:
    """A bit flipped anywhere, in the length field too: every other frame is still found."""
    writer = PacketWriter(telecommand=True)
    packets = [writer.control(8, 1, bytes([number]) * 30) for number in range(5)]
    frames = [bytearray(framed(packet)) for packet in packets]
    bit = where % (8 * len(frames[victim]))
    frames[victim][bit // 8] ^= 1 << (bit % 8)
    deframer = Deframer(Security(None, True))
    found = deframer.feed(b"".join(frames))
    while deframer.waiting_bytes >= len(SYNC_MARKER):
        found += deframer.give_up()
    assert found == [packet for number, packet in enumerate(packets) if number != victim]


@given(st.binary(max_size=5000), st.integers(0, 2**32 - 1))
def test_whichever_library_computes_it_the_crc_is_the_same(data: bytes, start: int) -> None:
    assert crc32(data, start) == zlib.crc32(data, start)


def test_packets_stay_whole_until_more_is_received() -> None:
    """The channel writes into the deframer's own memory; frames larger than what is left of it."""
    writer = PacketWriter(telecommand=True)
    bodies = [bytes([number]) * MAX_BULK_DATA_BYTES for number in range(20)]
    stream = b"".join(framed(writer.bulk_header(9, len(body)) + body) for body in bodies)
    deframer = Deframer(Security(None, True))
    found = []
    position = 0
    while position < len(stream):
        room = deframer.room()
        assert len(room) >= MAX_LINE_FRAME_BYTES
        size = min(len(room), 100_000, len(stream) - position)
        room[:size] = stream[position : position + size]
        position += size
        found += [bytes(parse(packet).data) for packet in deframer.arrived(size)]
    assert found == bodies


def test_a_stream_of_markers_keeps_memory_bounded() -> None:
    deframer = Deframer(Security(None, True))
    for _ in range(50):
        assert deframer.feed(SYNC_MARKER * 10_000) == []
    assert deframer.waiting_bytes < 70_000
    packet = PacketWriter(telecommand=True).control(8, 1)
    found = deframer.feed(framed(packet))
    while deframer.waiting_bytes >= len(SYNC_MARKER):
        found += deframer.give_up()
    assert found == [packet]


@given(st.binary(min_size=1, max_size=3000), st.integers(16, 500), st.randoms())
def test_parts_in_any_order_make_the_message(data: bytes, part_bytes: int, random: object) -> None:
    message = OutgoingMessage(9, Kind.FRAME, [data[:7], data[7:]], part_bytes, uplink=True)
    bodies = []
    for number in range(1, message.parts + 1):
        part = message.part(number)
        bodies.append(unpack_part(b"".join([part.head, *part.data])))
    random.shuffle(bodies)  # type: ignore[attr-defined]
    incoming = IncomingMessage(bodies[0][0], max_bytes=3000)
    missing_at_first = incoming.missing().ranges
    assert sum(last - first + 1 for first, last in missing_at_first) == message.parts
    for head, body in bodies * 2:
        assert incoming.belongs(head)
        incoming.add(head, body)
    assert incoming.complete
    assert bytes(incoming.data) == data
    assert incoming.missing().ranges == ()


def test_missing_parts_are_named_in_ranges() -> None:
    head = Part(1, 1, 1000, 100, Kind.FRAME)
    incoming = IncomingMessage(head, max_bytes=1000)
    for number in (1, 4, 10):
        incoming.add(Part(1, number, 1000, 100, Kind.FRAME), bytes(100))
    assert incoming.missing().ranges == ((2, 3), (5, 9))
    assert Missing.unpack(incoming.missing().pack()) == incoming.missing()
    with pytest.raises(WireError):
        Missing.unpack(incoming.missing().pack()[:-1])


def test_a_message_beyond_the_bound_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(WireError, match="1000000 bytes"):
        IncomingMessage(Part(1, 1, 1_000_000, 1000, Kind.FRAME), max_bytes=999_999)
    with pytest.raises(WireError, match="parts of 1 bytes"):
        IncomingMessage(Part(1, 1, 1_000_000, 1, Kind.FRAME), max_bytes=2_000_000)
    with pytest.raises(WireError, match="belong"):
        unpack_part(Part(1, 11, 1000, 100, Kind.FRAME).pack() + bytes(100))
    with pytest.raises(WireError, match="carries"):
        unpack_part(Part(1, 1, 1000, 100, Kind.FRAME).pack() + bytes(99))


def test_a_spare_buffer_is_taken_again_only_if_it_fits() -> None:
    spare = bytearray(b"x" * 1000)
    assert IncomingMessage(Part(1, 1, 1000, 100, 1), 1000, spare).data is spare
    assert IncomingMessage(Part(1, 1, 999, 100, 1), 1000, spare).data is not spare
