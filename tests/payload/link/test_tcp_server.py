"""The server keeps a place only for peers that are there and have shown that they may be."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from payload.link import server
from payload.link.bench import BenchPayload, bench_frame
from payload.link.board import Board
from payload.link.channel import Channel, Pieces, SocketChannel
from payload.link.client import WireLink
from payload.link.conversation import Timeouts
from payload.link.line import SILENCE_S
from payload.link.server import MAX_CONNECTIONS, TcpServer

KEY = bytes(range(32))
HANDSHAKE_S = 2.0
"""Long enough for a loaded machine to answer one that shakes hands."""
TIMEOUTS = Timeouts(answer_s=5.0, frame_s=30.0, reconnect_s=10 * HANDSHAKE_S, attempts=2)


@pytest.fixture
def keyed_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Port of a server with a key that waits for handshakes for a moment only."""
    monkeypatch.setattr(server, "HANDSHAKE_S", HANDSHAKE_S)
    listener = socket.create_server(("127.0.0.1", 0))
    served = TcpServer(listener, Board(BenchPayload(), part_bytes=65000), KEY)
    thread = threading.Thread(target=served.serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    served.stop()
    thread.join()


class Tapped(SocketChannel):
    """A channel that somebody listens in on."""

    heard: list[bytes]

    def __init__(self, port: int, heard: list[bytes]) -> None:
        super().__init__(socket.create_connection(("127.0.0.1", port)))
        self.heard = heard

    def send(self, *frames: Pieces) -> None:
        """Send, and be overheard."""
        self.heard += [b"".join(frame) for frame in frames]
        super().send(*frames)


def keyed_link(port: int, heard: list[bytes]) -> WireLink:
    def connect() -> Channel:
        return Tapped(port, heard)

    return WireLink("tcp", connect, key=KEY, part_bytes=65000, timeouts=TIMEOUTS)


def test_recorded_handshakes_do_not_keep_the_true_peer_out(keyed_port: int) -> None:
    heard: list[bytes] = []
    keyed_link(keyed_port, heard).close()
    held = [socket.create_connection(("127.0.0.1", keyed_port)) for _ in range(MAX_CONNECTIONS)]
    for connection in held:
        connection.sendall(heard[0])
        assert connection.recv(1), "a recorded handshake is answered"
    link = keyed_link(keyed_port, [])
    assert link.process(bench_frame()).status == "ok"
    link.close()
    for connection in held:
        connection.close()


def test_a_true_peer_with_nothing_to_ask_keeps_its_place(keyed_port: int) -> None:
    heard: list[bytes] = []
    link = keyed_link(keyed_port, heard)
    handshake = heard[0]
    time.sleep(2 * HANDSHAKE_S + SILENCE_S)
    assert link.process(bench_frame()).status == "ok"
    sealed_by_the_handshakes_key = [frame for frame in heard if frame[4] == handshake[4]]
    assert sealed_by_the_handshakes_key == [handshake]
    link.close()


def test_a_peer_that_is_gone_without_a_word_will_be_noticed() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    served = TcpServer(listener, Board(BenchPayload(), part_bytes=65000), None)
    with socket.create_connection(listener.getsockname()):
        served.step(timeout_s=1.0)
        (guest,) = served._guests.values()
        accepted = guest.channel._socket
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    served.stop()
    served.serve()
