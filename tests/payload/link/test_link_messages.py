"""Frames and results cross the line bit for bit."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from payload.frame import Frame
from payload.link.bench import BenchPayload, bench_frame, identical
from payload.link.messages import decode_frame, decode_result, encode_frame, encode_result
from payload.link.wire import WireError


def round_trip(frame: Frame, compact: bool) -> Frame:
    return decode_frame(b"".join(encode_frame(frame, compact)))


@settings(max_examples=50)
@given(
    hnp.arrays(np.float32, (4, 5, 6), elements=st.floats(width=32, allow_nan=True)),
    st.booleans(),
    st.text(max_size=20),
)
def test_any_frame_arrives_bit_for_bit(pixels: np.ndarray, compact: bool, name: str) -> None:
    there = round_trip(Frame(name, pixels), compact)
    assert there.frame_id == name
    assert np.array_equal(there.reflectance.view(np.uint32), pixels.view(np.uint32))


def test_counts_are_sent_where_they_are_exact_and_only_there() -> None:
    exact = bench_frame()
    blended = Frame("blended", exact.reflectance * np.float32(0.7) + np.float32(0.1))
    sizes = [
        sum(map(len, encode_frame(frame, compact)))
        for frame, compact in ((exact, False), (exact, True), (blended, True))
    ]
    assert sizes[1] < 0.55 * sizes[0]
    assert sizes[2] > 0.6 * sizes[0]
    for frame in (exact, blended):
        assert np.array_equal(round_trip(frame, True).reflectance, frame.reflectance)


@pytest.mark.parametrize("compact", [False, True])
def test_results_arrive_bit_for_bit(compact: bool) -> None:
    good = BenchPayload().process(bench_frame(height=600, width=513))
    lost = dataclasses.replace(
        good, status="crashed", mask=None, block_cover=None, cover=math.nan, detail="died"
    )
    for result in (good, lost):
        assert identical(decode_result(b"".join(encode_result(result, compact))), result)


def test_a_message_that_contradicts_itself_is_refused() -> None:
    frame = b"".join(encode_frame(bench_frame(), False))
    for bad in (frame[:-1], frame + b"x", frame[:3], b"\x80" + frame[1:]):
        with pytest.raises(WireError):
            decode_frame(bad)
    deflated = b"".join(encode_frame(bench_frame(), True))
    with pytest.raises(WireError):
        decode_frame(deflated[:40] + bytes(20) + deflated[60:])


def test_a_deflate_bomb_is_not_inflated() -> None:
    small = bench_frame(height=8, width=8)
    huge = b"".join(encode_frame(Frame("b", np.zeros((4, 1500, 1500), np.float32)), True))
    head = b"".join(encode_frame(small, True))[:7]
    with pytest.raises(WireError, match="announced"):
        decode_frame(head[:1] + head[1:7] + b"frame"[: head[6]] + huge[8:])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "fine"),
        ("latency_s", "soon"),
        ("model_calls", 1.5),
        ("provenance", "guessed"),
        ("tile_sha256", "abc"),
        ("unknown", 1),
    ],
)
def test_a_result_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    result = BenchPayload().process(bench_frame(height=32, width=32))
    head, body = encode_result(result, False)
    record = json.loads(bytes(head)[13:])
    record[field] = value
    text = json.dumps(record).encode()
    forged = bytes(head)[:1] + len(text).to_bytes(4, "big") + bytes(head)[5:13] + text
    with pytest.raises(WireError, match=field):
        decode_result(forged + bytes(body))
