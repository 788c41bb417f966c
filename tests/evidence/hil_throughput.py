"""Throughput of the TCP link against a bare socket copy, in the same run.

Run from the repository's root::

    python tests/evidence/hil_throughput.py [--repetitions 15] [--edge 2048] [--key] [--zlib]

Bare: one process sends the frame's bytes with ``sendall``, the other receives them with
``recv_into`` into memory it reuses, and answers one byte. Link: the same frame goes through
handshake, packets, parts, CRC and reassembly to a payload that refuses it at once, so that nothing
but the line is timed. The two alternate, and medians are compared: a busy machine hits both alike.
Beside the wall clock stands the processor time of both ends together, which waiting for a busy
machine does not enter. ``--key`` authenticates every packet, ``--zlib`` computes the CRC-32 by
zlib, as on a board without the extra `fast`.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

import psutil
from hil_rig import LOOPBACK, local_link, noise_frames, report

from payload.frame import Frame, FrameResult
from payload.link import framing
from payload.link.bench import BenchPayload
from payload.link.board import Board
from payload.link.server import TcpServer
from payload.link.tcp import TCP_PART_BYTES


class RefusingPayload(BenchPayload):
    """Answers at once, so that only the line is timed."""

    def process(self, frame: Frame) -> FrameResult:
        tiny = Frame(frame.frame_id, frame.reflectance[:, :1, :1])
        return super().process(tiny)


def in_child(work: Callable[[socket.socket], None]) -> tuple[int, int]:
    """Run `work` on a listening socket in a child; its port and process number."""
    listener = socket.create_server((LOOPBACK, 0))
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


def refusing_server(key: bytes | None) -> Callable[[socket.socket], None]:
    """Serves a payload that refuses every frame."""

    def work(listener: socket.socket) -> None:
        board = Board(RefusingPayload(), part_bytes=TCP_PART_BYTES)
        TcpServer(listener, board, key).serve()

    return work


def processor_s(*pids: int) -> float:
    """Processor time that processes have used so far, s."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(spent.user + spent.system for spent in times)


def main() -> None:
    """Time both, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--edge", type=int, default=2048)
    parser.add_argument("--key", action="store_true", help="authenticate every packet")
    parser.add_argument("--zlib", action="store_true", help="CRC-32 by zlib")
    options = parser.parse_args()
    key = os.urandom(32) if options.key else None
    if options.zlib:
        framing.crc32 = zlib.crc32
    frame = noise_frames(1, options.edge)[0]
    size = frame.reflectance.nbytes
    bare_port, bare_pid = in_child(bare_receiver(size))
    link_port, link_pid = in_child(refusing_server(key))
    bare = socket.create_connection((LOOPBACK, bare_port))
    link = local_link(lambda: link_port, key=key)
    octets = frame.reflectance.data.cast("B")

    def copy() -> None:
        bare.sendall(octets)
        bare.recv(1)

    def fly() -> None:
        if link.process(frame).status != "ok":
            raise RuntimeError("the frame was not answered")

    seconds: dict[str, list[float]] = {"bare": [], "link": []}
    busy_s = {"bare": 0.0, "link": 0.0}
    bodies = (("bare", copy, bare_pid), ("link", fly, link_pid))
    # The first two rounds pay for fresh memory on both sides.
    for number in range(-2, options.repetitions):
        for name, carry, pid in bodies:
            started_s, busy_before_s = time.perf_counter(), processor_s(os.getpid(), pid)
            carry()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started_s)
                busy_s[name] += processor_s(os.getpid(), pid) - busy_before_s
    link.close()
    bare.close()
    for pid in (bare_pid, link_pid):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    rates = {name: [size / second / 1e6 for second in taken] for name, taken in seconds.items()}
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    report(
        {
            "frame_mb": size / 1e6,
            "repetitions": options.repetitions,
            "bare_mb_s": round(medians["bare"], 1),
            "link_mb_s": round(medians["link"], 1),
            "ratio_of_medians": round(medians["link"] / medians["bare"], 3),
            "authenticated": options.key,
            "crc32_by": framing.crc32.__module__,
            "processor_s_per_gb": {
                name: round(busy / (size / 1e9 * options.repetitions), 3)
                for name, busy in busy_s.items()
            },
            "best_bare_mb_s": round(max(rates["bare"]), 1),
            "best_link_mb_s": round(max(rates["link"]), 1),
        }
    )


if __name__ == "__main__":
    main()
