"""Authentication: the right key, each frame once, this session and direction only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.link.bench import BenchPayload, bench_frame
from payload.link.client import WireLink
from payload.link.conversation import Timeouts
from payload.link.framing import Deframer, frame_pieces
from payload.link.security import (
    WINDOW_FRAMES,
    KeyFileError,
    ReplayWindow,
    Security,
    Spi,
    TokenBucket,
    load_key,
    new_key,
)
from payload.link.settings import LinkError
from payload.link.wire import PacketWriter

KEY = bytes(range(32))
OTHER_KEY = bytes(32)


def pair(key: bytes | None = KEY) -> tuple[Security, Security]:
    """Both ends after a handshake."""
    ours, theirs = Security(key, False), Security(key, True)
    ours.start_session(b"n" * 16, b"m" * 16, at_once=True)
    theirs.start_session(b"n" * 16, b"m" * 16, at_once=False)
    return ours, theirs


def line_frame(security: Security, data: bytes = b"", spi: Spi | None = None) -> bytes:
    packet = PacketWriter(telecommand=True).control(8, 1, data)
    return b"".join(frame_pieces(security, packet, spi=spi))


def test_an_authentic_frame_is_accepted_once() -> None:
    ours, theirs = pair()
    frame = line_frame(ours)
    receiver = Deframer(theirs)
    assert len(receiver.feed(frame)) == 1
    assert receiver.feed(frame) == []
    assert receiver.counts.refused == 1


def test_other_keys_sessions_directions_and_clear_frames_are_refused() -> None:
    ours, theirs = pair()
    stranger, _ = pair(OTHER_KEY)
    earlier = Security(KEY, False)
    earlier.start_session(b"o" * 16, b"m" * 16, at_once=True)
    reflected = Security(KEY, True)
    reflected.start_session(b"n" * 16, b"m" * 16, at_once=True)
    clear = Security(None, False)
    receiver = Deframer(theirs)
    for sender in (stranger, earlier, reflected, clear):
        assert receiver.feed(line_frame(sender)) == []
    assert receiver.counts.refused == 4
    assert len(receiver.feed(line_frame(ours))) == 1


def test_an_altered_frame_is_refused_even_with_a_fitting_crc() -> None:
    ours, theirs = pair()
    frame = bytearray(line_frame(ours, b"process"))
    frame[30] ^= 1
    import zlib

    frame[-4:] = zlib.crc32(frame[4:-4]).to_bytes(4, "big")
    receiver = Deframer(theirs)
    assert receiver.feed(bytes(frame)) == []
    assert receiver.counts.refused == 1


def test_a_recorded_handshake_does_not_displace_the_session() -> None:
    ours, theirs = pair()
    receiver = Deframer(theirs)
    recorded = line_frame(Security(KEY, False), spi=Spi.HANDSHAKE)
    assert len(receiver.feed(line_frame(ours))) == 1
    assert len(receiver.feed(recorded)) == 1
    theirs.start_session(b"r" * 16, b"s" * 16, at_once=False)
    assert len(receiver.feed(line_frame(ours))) == 1


@given(st.lists(st.integers(0, 3 * WINDOW_FRAMES), max_size=200))
def test_the_replay_window_accepts_nothing_twice(sequences: list[int]) -> None:
    window = ReplayWindow()
    accepted: list[int] = []
    for sequence in sequences:
        expected = sequence not in accepted and (
            not accepted or sequence > max(accepted) - WINDOW_FRAMES
        )
        assert window.accept(sequence) == expected
        accepted += [sequence] * expected


def test_a_rate_is_bounded_and_recovers() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.05)
    assert bucket.take(0.2)


def test_a_key_file_must_be_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(new_key())
    path.chmod(0o600)
    assert len(load_key(path)) == 32
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_key(path)
    path.chmod(0o600)
    path.write_text("abcd")
    with pytest.raises(KeyFileError, match="64 hexadecimal"):
        load_key(path)
    with pytest.raises(KeyFileError, match="new-key"):
        load_key(tmp_path / "none")


def test_a_refused_peer_is_logged(
    open_bench: Callable[..., tuple[WireLink, BenchPayload]], caplog: pytest.LogCaptureFixture
) -> None:
    fast = Timeouts(answer_s=0.2, reconnect_s=0.1, attempts=1)
    with caplog.at_level("INFO"), pytest.raises(LinkError):
        open_bench(key=OTHER_KEY, payload_key=KEY, timeouts=fast)
    assert "1 frames refused" in caplog.text
    assert "without valid authentication" in caplog.text


def test_an_authenticated_link_works_and_another_key_does_not(
    open_bench: Callable[..., tuple[WireLink, BenchPayload]],
) -> None:
    link, payload = open_bench(key=KEY)
    assert link.process(bench_frame()).status == "ok"
    assert link.health().alive
    assert payload.frames == 1
    fast = Timeouts(answer_s=0.2, reconnect_s=0.1, attempts=2)
    for key, payload_key in ((KEY, OTHER_KEY), (None, KEY), (KEY, None)):
        with pytest.raises(LinkError, match="key file"):
            open_bench(key=key, payload_key=payload_key, timeouts=fast)
