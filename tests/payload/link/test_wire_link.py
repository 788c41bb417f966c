"""A payload on a line: every frame is answered once, whatever the line does."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import payload.link.client as client
from payload.frame import NO_DATA, Frame, FrameResult, valid_pixels
from payload.link.bench import BENCH_MODEL_SHA256, BenchPayload, bench_frame, identical
from payload.link.board import Board, Limits
from payload.link.channel import Channel, LinkDownError, SocketChannel
from payload.link.client import FailureCost, WireLink
from payload.link.conversation import Timeouts
from payload.link.faulty import Noise
from payload.link.serial import DEFAULT_BAUD, Port, split_serial
from payload.link.server import TcpServer, serve_channel
from payload.link.settings import LinkError, PayloadSettings
from payload.link.tcp import connect_tcp, is_loopback, key_for, open_tcp, split_tcp, tcp_address

OpenBench = Callable[..., tuple[WireLink, BenchPayload]]
PATIENT = Timeouts(answer_s=5.0, frame_s=30.0, reconnect_s=10.0)
"""Where an answer is expected: a loaded machine may stop either side for seconds."""
NOBODY_THERE = dataclasses.replace(PATIENT, reconnect_s=0.3)
"""Where none is: who is turned away hears so at once, and only asks again for so long."""


@contextmanager
def tcp_server(board: Board, key: bytes | None = None, port: int = 0) -> Iterator[int]:
    """A server in a thread; yields its port."""
    listener = socket.create_server(("127.0.0.1", port))
    server = TcpServer(listener, board, key)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.stop()
        thread.join()


def bench_link(
    connect: Callable[[], Channel], timeouts: Timeouts = PATIENT, **more: object
) -> WireLink:
    return WireLink("bench", connect, part_bytes=65000, timeouts=timeouts, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("compact", [False, True])
def test_a_frame_gives_what_it_gives_at_hand(open_bench: OpenBench, compact: bool) -> None:
    link, _ = open_bench(compact=compact)
    frame = bench_frame(height=520, width=300)
    expected = BenchPayload().process(frame)
    assert identical(link.process(frame), expected)
    assert link.describe().model_sha256 == BENCH_MODEL_SHA256
    assert link.describe().link == "bench"
    health = link.health()
    assert (health.alive, health.frames_processed) == (True, 1)


def test_a_noisy_line_loses_nothing(open_bench: OpenBench) -> None:
    """5 % lost, 1 % corrupted, 2 % twice, both ways: every frame whole, processed once."""
    noise = Noise(lost=0.05, corrupted=0.01, repeated=0.02, seed=3)
    link, payload = open_bench(noise=noise, part_bytes=2048)
    for number in range(5):
        frame = bench_frame(f"frame-{number}", seed=number)
        result = link.process(frame)
        assert result.status == "ok"
        expected = BenchPayload(frames=number).process(frame)
        assert identical(result, expected)
    assert payload.frames == 5
    assert link.parts_repeated > 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"frame_id": "other"}, "refused"),
        ({"mask": np.zeros((3, 3), np.uint8)}, "refused"),
        ({"mask": np.full((300, 200), 7, np.uint8)}, "refused"),
        ({"block_cover": None}, "refused"),
        ({"block_cover": np.full((2, 1), np.nan)}, "refused"),
        ({"mask": np.full((300, 200), 255, np.uint8), "cover": 1.0}, "refused"),
        ({"mask": np.ones((300, 200), np.uint8), "cover": 1.0}, "refused"),
        ({"cover": 0.97}, "refused"),
        ({"block_cover": np.array([[0.0], [0.97]])}, "refused"),
        ({"energy_wh": float("nan")}, "link_lost"),
        ({"energy_wh": -1.0}, "link_lost"),
        ({"latency_s": float("inf")}, "link_lost"),
        ({"latency_s": 10**400}, "link_lost"),
        ({"cover": 7.0}, "link_lost"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else value,
)
def test_a_result_that_cannot_be_of_the_frame_is_not_taken_for_one(
    changes: dict[str, object], status: str
) -> None:
    class Garbling(BenchPayload):
        def process(self, frame: Frame) -> FrameResult:
            return dataclasses.replace(super().process(frame), **changes)

    with tcp_server(Board(Garbling(), part_bytes=65000)) as port:
        link = bench_link(lambda: connect_tcp("127.0.0.1", port))
        result = link.process(bench_frame())
        link.close()
    assert (result.status, result.mask, result.latency_s) == (status, None, 0.0)


def test_pixels_without_data_are_so_on_both_ends_of_a_line(open_bench: OpenBench) -> None:
    link, _ = open_bench()
    reflectance = bench_frame().reflectance.copy()
    reflectance[:, :7] = 0
    reflectance[2, 40:, 3] = np.nan
    result = link.process(Frame("gaps", reflectance))
    assert result.status == "ok"
    assert result.mask is not None
    assert np.array_equal(result.mask == NO_DATA, ~valid_pixels(reflectance))


def test_a_frame_beyond_the_payloads_bound_is_refused(open_bench: OpenBench) -> None:
    link, payload = open_bench(limits=Limits(max_message_bytes=10_000))
    result = link.process(bench_frame())
    assert result.status == "refused"
    assert "larger" in result.detail
    assert result.mask is None
    assert payload.frames == 0
    assert link.process(bench_frame(height=16, width=16)).status == "ok"


def test_a_frame_that_no_line_carries_is_refused(open_bench: OpenBench) -> None:
    link, payload = open_bench()
    result = link.process(bench_frame("n" * 257, height=16, width=16))
    assert result.status == "refused"
    assert "shorten the identifier" in result.detail
    assert payload.frames == 0
    assert link.process(bench_frame(height=16, width=16)).status == "ok"


def test_too_many_functions_a_second_end_the_session(open_bench: OpenBench) -> None:
    """A handshake and three frames are as many as may be; the fourth needs a session anew."""
    limits = Limits(functions_per_s=0.01, functions_burst=4)
    # Asking twice is one function more, so no answer may be missed for its lateness.
    link, _ = open_bench(limits=limits, timeouts=dataclasses.replace(PATIENT, answer_s=3.0))
    ended = []
    for _ in range(4):
        assert link.process(bench_frame(height=16, width=16)).status == "ok"
        ended.append("lost the connection's state" in link.health().detail)
    assert ended == [False, False, False, True]


def test_versions_and_models_must_agree(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SCHEMA_SHA256", "cd" * 32)
    with pytest.raises(LinkError, match=r"schema .* asked was protocol 1, schema cdcdcd"):
        open_bench()
    monkeypatch.undo()
    ours, theirs = socket.socketpair()
    board = Board(BenchPayload(), part_bytes=4096)
    threading.Thread(
        target=serve_channel, args=(SocketChannel(theirs), board, None), daemon=True
    ).start()
    with pytest.raises(LinkError, match="asked was efefef"):
        bench_link(lambda: SocketChannel(ours), model_sha256="ef" * 32)


def test_faults_are_injected_only_where_allowed(open_bench: OpenBench) -> None:
    link, payload = open_bench(allow_faults=True)
    link.inject(2, 1.5, 99)
    assert payload.injected == [(2, 1.5, 99)]
    guarded, payload = open_bench()
    with pytest.raises(LinkError, match="--allow-faults"):
        guarded.inject(2, 1.5, 99)
    assert payload.injected == []


def test_a_hanging_payload_is_a_timeout_and_is_reset() -> None:
    release = threading.Event()

    class Hanging(BenchPayload):
        def process(self, frame):  # type: ignore[no-untyped-def]
            release.wait(20)
            return super().process(frame)

    payload = Hanging()
    with tcp_server(Board(payload, part_bytes=65000)) as port:
        cost = FailureCost(latency_s=7.0, energy_wh=0.5)
        # Short enough to wait for in vain, once for the frame and ten times for the reset.
        timeouts = Timeouts(answer_s=0.2, frame_s=2.0, reconnect_s=20.0, attempts=10)
        link = bench_link(lambda: connect_tcp("127.0.0.1", port), timeouts, cost=cost)
        result = link.process(bench_frame())
        release.set()
        assert (result.status, result.latency_s, result.energy_wh) == ("timeout", 7.0, 0.5)
        assert link.process(bench_frame("next")).status == "ok"
        link.close()


def test_what_the_kernel_does_not_take_at_once_is_sent_on() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    frames = [[bytes([number % 256]) * 3001, b"", memoryview(b"tail")] for number in range(300)]
    expected = b"".join(piece for frame in frames for piece in frame)
    got = bytearray()

    def read() -> None:
        while len(got) < len(expected):
            got.extend(theirs.recv(1500))

    reader = threading.Thread(target=read)
    reader.start()
    SocketChannel(ours).send(*frames)
    reader.join(20)
    assert got == expected
    for end in (ours, theirs):
        end.close()


def test_a_cut_line_is_taken_up_again_and_the_frame_processed_once() -> None:
    payload = BenchPayload()
    with tcp_server(Board(payload, part_bytes=65000)) as port:
        cut_after = [3, 10_000, 10_000]

        class Cut(SocketChannel):
            def send(self, *frames):  # type: ignore[no-untyped-def]
                for frame in frames:
                    cut_after[0] -= 1
                    if cut_after[0] == 0:
                        cut_after.pop(0)
                        self._socket.shutdown(socket.SHUT_RDWR)
                    super().send(frame)

        def connect() -> Channel:
            return Cut(socket.create_connection(("127.0.0.1", port)))

        link = bench_link(connect)
        frame = bench_frame(height=512, width=512)
        assert identical(link.process(frame), BenchPayload().process(frame))
        assert payload.frames == 1
        assert len(cut_after) == 2
        link.close()


def test_a_server_that_is_gone_is_a_lost_link_and_its_return_is_noticed() -> None:
    with tcp_server(Board(BenchPayload(), part_bytes=65000)) as port:
        link = bench_link(lambda: connect_tcp("127.0.0.1", port), NOBODY_THERE)
        assert link.process(bench_frame()).status == "ok"
        boot = link.describe()
    result = link.process(bench_frame())
    assert result.status == "link_lost"
    assert result.mask is None
    assert not link.health().alive
    with tcp_server(Board(BenchPayload(), part_bytes=65000), port=port):
        assert link.process(bench_frame()).status == "ok"
        assert link.health().restarts == 1
        assert link.describe() == boot
    link.close()


def test_a_mute_peer_and_a_flood_do_not_keep_others_out() -> None:
    with tcp_server(Board(BenchPayload(), part_bytes=65000)) as port:
        mute = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        flood = socket.create_connection(("127.0.0.1", port))
        with pytest.raises(OSError):  # noqa: PT012 - the server may close after any of them
            for _ in range(2000):
                flood.sendall(bytes.fromhex("1acffc1d") * 5000)
        link = bench_link(lambda: connect_tcp("127.0.0.1", port))
        assert link.process(bench_frame()).status == "ok"
        link.close()
        for one in (*mute, flood):
            one.close()


def test_nobody_there_is_a_link_error_that_says_what_to_check() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    settings = PayloadSettings("threshold", "host")
    with pytest.raises(LinkError, match="check that the payload is serving"):
        open_tcp(f"tcp://127.0.0.1:{port}", settings, timeouts=NOBODY_THERE)
    with pytest.raises(LinkError, match="wait_s is not an option; valid: frame_s"):
        open_tcp(f"tcp://127.0.0.1:{port}?wait_s=1", settings)
    with pytest.raises(LinkDownError):
        connect_tcp("127.0.0.1", port)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://host",
        "tcp://:5",
        "udp://host:5",
        "tcp://host:port",
        "tcp://h:5/x",
        "tcp://h:5?frame_s=9",
    ],
)
def test_addresses_of_another_form_are_refused(address: str) -> None:
    with pytest.raises(LinkError, match="expected tcp://HOST:PORT"):
        split_tcp(address)


def test_a_serial_address_names_port_and_speed() -> None:
    assert split_serial("serial:///dev/ttyUSB0?baud=921600") == Port("/dev/ttyUSB0", 921600)
    assert split_serial("serial:///dev/ttyUSB0").baud == DEFAULT_BAUD


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("serial:///dev/ttyUSB0?921600", "'921600' is no name=value"),
        ("serial:///dev/ttyUSB0?baud=", "baud has no value"),
        ("serial:///dev/ttyUSB0?baud=9600&baud=921600", "baud is given 2 times"),
        ("serial:///dev/ttyUSB0?speed=9600", "speed is not an option"),
        ("serial:///dev/ttyUSB0?baud=fast", "baud is 'fast'"),
        ("serial://[/dev/ttyUSB0", "Invalid IPv6 URL"),
        ("serial://ttyUSB0", "expected"),
    ],
)
def test_a_serial_address_that_is_not_understood_is_refused(address: str, reason: str) -> None:
    with pytest.raises(LinkError, match=reason) as refused:
        split_serial(address)
    assert "expected serial:///dev/tty...?baud=N" in str(refused.value)


@pytest.mark.parametrize("host", ["board", "127.0.0.1", "::1", "fe80::1%eth0"])
def test_an_address_is_written_as_it_is_read(host: str) -> None:
    assert split_tcp(tcp_address(host, 5999)) == (host, 5999)


def test_off_loopback_a_key_file_is_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEPHOSCOPE_KEY_FILE", raising=False)
    assert [
        is_loopback(host) for host in ("localhost", "127.0.0.5", "::1", "0.0.0.0", "board")
    ] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert key_for("localhost", None) is None
    with pytest.raises(LinkError, match="new-key"):
        key_for("192.168.1.20", None)


def test_pixels_that_no_count_can_hold_cross_a_compact_line_exactly(open_bench: OpenBench) -> None:
    link, _ = open_bench(compact=True)
    frame = bench_frame()
    odd = type(frame)("odd", frame.reflectance + np.float32(1e-6))
    assert identical(link.process(odd), BenchPayload().process(odd))
