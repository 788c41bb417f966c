"""Opens links to a bench payload over a socket pair, as clean or as noisy as asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from payload.link.bench import BENCH_MODEL_SHA256, BenchPayload
from payload.link.board import Board, Limits
from payload.link.channel import Channel, SocketChannel
from payload.link.client import WireLink
from payload.link.conversation import Timeouts
from payload.link.faulty import Noise, NoisyChannel
from payload.link.server import serve_channel

FAST = Timeouts(answer_s=0.5, frame_s=5.0, reconnect_s=0.5)
OpenLink = Callable[..., tuple[WireLink, BenchPayload]]


@pytest.fixture
def open_bench() -> Iterator[OpenLink]:
    """Opens a link to an arithmetic payload over a socket pair, in a thread of this process."""
    opened: list[WireLink] = []

    def open_(
        *,
        key: bytes | None = None,
        payload_key: bytes | str | None = "same",
        noise: Noise | None = None,
        part_bytes: int = 4096,
        compact: bool = False,
        timeouts: Timeouts = FAST,
        limits: Limits | None = None,
        allow_faults: bool = False,
        up: type[SocketChannel] = SocketChannel,
        down: type[SocketChannel] = SocketChannel,
    ) -> tuple[WireLink, BenchPayload]:
        payload = BenchPayload()
        board = Board(
            payload,
            part_bytes=part_bytes,
            compact=compact,
            allow_faults=allow_faults,
            limits=limits,
        )
        server_key = payload_key if isinstance(payload_key, bytes | None) else key

        def connect() -> Channel:
            ours, theirs = socket.socketpair()
            asking, answering = up(ours), down(theirs)
            served = NoisyChannel(answering, noise, "down") if noise else answering
            threading.Thread(
                target=serve_channel, args=(served, board, server_key), daemon=True
            ).start()
            return NoisyChannel(asking, noise, "up") if noise else asking

        link = WireLink(
            "bench",
            connect,
            key=key,
            model_sha256=BENCH_MODEL_SHA256,
            part_bytes=part_bytes,
            compact=compact,
            timeouts=timeouts,
        )
        opened.append(link)
        return link, payload

    yield open_
    for link in opened:
        link.close()
