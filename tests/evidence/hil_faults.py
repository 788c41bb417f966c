"""Kill, cut and noise: every frame accounted for, nothing hangs, nothing is lost silently.

Run from the repository's root::

    python tests/evidence/hil_faults.py [--frames 40] [--model threshold]

Three trials. A TCP server, restarted by a supervisor as systemd would, is killed with ``kill -9``
in the middle of frames. A TCP connection is cut by a proxy in the middle of frames while the server
lives on. A line loses 5 % of its frames and corrupts 1 %, both ways.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

from hil_rig import LOOPBACK, local_link, noise_frames, report, start_server

from payload.link.bench import BenchPayload, bench_frame, identical
from payload.link.board import Board
from payload.link.channel import Channel, SocketChannel
from payload.link.client import WireLink
from payload.link.conversation import Timeouts
from payload.link.faulty import Noise, NoisyChannel
from payload.link.server import serve_channel

TIMEOUTS = Timeouts(answer_s=1.0, frame_s=20.0, reconnect_s=20.0)


class SupervisedServer:
    """A payload server that is started again whenever it dies."""

    def __init__(self, model: str) -> None:
        with socket.create_server((LOOPBACK, 0)) as free:
            self.port = free.getsockname()[1]
        self._model = model
        self._stopped = False
        self.starts = 0
        self._start()
        threading.Thread(target=self._supervise, daemon=True).start()

    def kill(self) -> None:
        """SIGKILL to the running server."""
        os.kill(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it for good."""
        self._stopped = True
        self._process.kill()

    def _start(self) -> None:
        self.starts += 1
        self._process, _ = start_server(self._model, f"tcp://{LOOPBACK}:{self.port}")

    def _supervise(self) -> None:
        while not self._stopped:
            self._process.wait()
            if not self._stopped:
                self._start()


class CuttingProxy:
    """Passes octets between a client and a server, and cuts the line on demand."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self._target = port
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self.cuts = 0
        threading.Thread(target=self._run, daemon=True).start()

    def cut(self) -> None:
        """Close both halves of the running connection."""
        if self._pair is not None:
            self.cuts += 1
            for half in self._pair:
                with suppress(OSError):
                    half.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection((LOOPBACK, self._target))
            self._pair = (client, server)
            threading.Thread(target=self._carry, args=self._pair, daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, suppress(OSError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)


def fly(link: WireLink, count: int, every: int, strike: threading.Event) -> dict[str, object]:
    """Process frames; every so many, strike in the middle of one."""
    outcomes: Counter[str] = Counter()
    longest_s = 0.0
    for number, frame in enumerate(noise_frames(count, 1024)):
        if number % every == every // 2:
            threading.Timer(0.05, strike.set).start()
        started_s = time.monotonic()
        result = link.process(frame)
        longest_s = max(longest_s, time.monotonic() - started_s)
        outcomes[result.status] += 1
    return {
        "frames": count,
        "outcomes": dict(outcomes),
        "accounted_for": sum(outcomes.values()),
        "longest_s": round(longest_s, 2),
    }


def on_event(event: threading.Event, action: object) -> None:
    """Run an action each time an event is set."""

    def loop() -> None:
        while True:
            event.wait()
            event.clear()
            action()  # type: ignore[operator]

    threading.Thread(target=loop, daemon=True).start()


def kill_trial(model: str, count: int) -> dict[str, object]:
    """``kill -9`` of the server in the middle of every tenth frame."""
    server, strike = SupervisedServer(model), threading.Event()
    link = local_link(lambda: server.port, timeouts=TIMEOUTS)
    on_event(strike, server.kill)
    found = fly(link, count, 10, strike)
    found |= {"server_starts": server.starts, "restarts_noticed": link.health().restarts}
    link.close()
    server.stop()
    return found


def cut_trial(model: str, count: int) -> dict[str, object]:
    """The connection cut in the middle of every fifth frame; the server lives on."""
    server, strike = SupervisedServer(model), threading.Event()
    proxy = CuttingProxy(server.port)
    link = local_link(lambda: proxy.port, timeouts=TIMEOUTS)
    on_event(strike, proxy.cut)
    found = fly(link, count, 5, strike)
    found |= {"cuts": proxy.cuts, "frames_on_board": link.health().frames_processed}
    link.close()
    server.stop()
    return found


def noise_trial(count: int) -> dict[str, object]:
    """5 % of line frames lost, 1 % corrupted, both ways; every result held against the true one."""
    noise = Noise(lost=0.05, corrupted=0.01, seed=1)
    board = Board(BenchPayload(), part_bytes=4096)
    channels: list[NoisyChannel] = []

    def connect() -> Channel:
        ours, theirs = socket.socketpair()
        down = NoisyChannel(SocketChannel(theirs), noise, "down")
        up = NoisyChannel(SocketChannel(ours), noise, "up")
        channels.extend((up, down))
        threading.Thread(target=serve_channel, args=(down, board, None), daemon=True).start()
        return up

    link = WireLink("noisy", connect, part_bytes=4096, timeouts=TIMEOUTS)
    outcomes: Counter[str] = Counter()
    wrong = 0
    for number in range(count):
        frame = bench_frame(f"n{number}", 512, 512, seed=number)
        result = link.process(frame)
        outcomes[result.status] += 1
        wrong += not identical(result, BenchPayload(frames=number).process(frame))
    found = {
        "frames": count,
        "outcomes": dict(outcomes),
        "results_that_differ": wrong,
        "line_frames_sent": sum(channel.sent for channel in channels),
        "lost": sum(channel.lost for channel in channels),
        "corrupted": sum(channel.corrupted for channel in channels),
        "parts_repeated": link.parts_repeated,
    }
    link.close()
    return found


def main() -> None:
    """Run the trials and print what became of every frame."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--model", default="threshold")
    options = parser.parse_args()
    report(
        {
            "killed": kill_trial(options.model, options.frames),
            "cut": cut_trial(options.model, options.frames),
            "noise": noise_trial(options.frames),
        }
    )


if __name__ == "__main__":
    main()
