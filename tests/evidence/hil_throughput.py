"""Throughput of the TCP link against a bare socket copy, in the same run.

Run from the repository's root::

    python tests/evidence/hil_throughput.py [--repetitions 15] [--edge 2048]

Bare: one process sends the frame's bytes with ``sendall``, the other receives them with
``recv_into`` into memory it reuses, and answers one byte. Link: the same frame goes through
handshake, packets, parts, CRC and reassembly to a payload that refuses it at once, so that nothing
but the line is timed. The two alternate, and medians are compared: a busy machine hits both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from payload.frame import Frame, FrameResult
from payload.link.bench import BenchPayload
from payload.link.client import WireLink
from payload.link.server import TcpServer
from payload.link.session import Board
from payload.link.tcp import TCP_PART_BYTES, connect_tcp


class RefusingPayload(BenchPayload):
    """Answers at once, so that only the line is timed."""

    def process(self, frame: Frame) -> FrameResult:
        tiny = Frame(frame.frame_id, frame.reflectance[:, :1, :1])
        return super().process(tiny)


def in_child(work: Callable[[socket.socket], None]) -> tuple[int, int]:
    """Run `work` on a listening socket in a child; its port and process number."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    pid = os.fork()
    if pid == 0:
        with suppress(KeyboardInterrupt):
            work(listener)
        os._exit(0)
    listener.close()
    return port, pid


def bare_receiver(size: int) -> Callable[[socket.socket], None]:
    """Receives `size` octets again and again, and answers one for each."""

    def work(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        memory = memoryview(bytearray(size))
        while True:
            got = 0
            while got < size:
                read = connection.recv_into(memory[got:])
                if not read:
                    return
                got += read
            connection.sendall(b"k")

    return work


def serve_refusing(listener: socket.socket) -> None:
    """Serve a payload that refuses every frame."""
    board = Board(RefusingPayload(), part_bytes=TCP_PART_BYTES)
    TcpServer(listener, board, None).serve()


def main() -> None:
    """Time both, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--edge", type=int, default=2048)
    options = parser.parse_args()
    pixels = np.random.default_rng(0).random((4, options.edge, options.edge), dtype=np.float32)
    frame = Frame("throughput", pixels)
    size = pixels.nbytes
    bare_port, bare_pid = in_child(bare_receiver(size))
    link_port, link_pid = in_child(serve_refusing)
    bare = socket.create_connection(("127.0.0.1", bare_port))
    link = WireLink("tcp", lambda: connect_tcp("127.0.0.1", link_port), part_bytes=TCP_PART_BYTES)
    octets = pixels.data.cast("B")
    seconds: dict[str, list[float]] = {"bare": [], "link": []}
    for _ in range(options.repetitions + 2):
        started_s = time.perf_counter()
        bare.sendall(octets)
        bare.recv(1)
        seconds["bare"].append(time.perf_counter() - started_s)
        started_s = time.perf_counter()
        if link.process(frame).status != "ok":
            raise RuntimeError("the frame was not answered")
        seconds["link"].append(time.perf_counter() - started_s)
    link.close()
    bare.close()
    for pid in (bare_pid, link_pid):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    # The first two rounds pay for fresh memory on both sides.
    rates = {name: [size / second / 1e6 for second in taken[2:]] for name, taken in seconds.items()}
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    print(
        json.dumps(
            {
                "frame_mb": size / 1e6,
                "repetitions": options.repetitions,
                "bare_mb_s": round(medians["bare"], 1),
                "link_mb_s": round(medians["link"], 1),
                "ratio_of_medians": round(medians["link"] / medians["bare"], 3),
                "best_bare_mb_s": round(max(rates["bare"]), 1),
                "best_link_mb_s": round(max(rates["link"]), 1),
                "load_average": os.getloadavg(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
