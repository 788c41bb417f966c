"""A channel carries octets both ways and may fail; everything above it is the same for all.

TCP sockets, pipes to a caged child, serial ports and the damaged lines of the tests are channels.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence
from typing import Protocol

SEND_TIMEOUT_S = 30.0
MAX_PIECES = 512
"""Most pieces handed to the kernel at once; Linux takes 1024."""

Pieces = Sequence[bytes | memoryview]
"""A line frame, to be sent back to back."""


class LinkDownError(Exception):
    """The line is gone: nothing more will come through this channel."""


class Channel(Protocol):
    """Octets both ways."""

    def send(self, *frames: Pieces) -> None:
        """Send line frames, one after the other; raises `LinkDownError` if the line is gone."""

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        """Put what has arrived into `room`, after at most `timeout_s`; how many octets that is.

        Raises `LinkDownError` if the line is gone.
        """

    def close(self) -> None:
        """Give the line back."""


class SocketChannel:
    """A channel over a connected stream socket (TCP or a socket pair)."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        # Not blocking: where octets wait, one call of the kernel fetches them.
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):  # A socket pair has no such option.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """Descriptor to wait on."""
        return self._socket.fileno()

    def send(self, *frames: Pieces) -> None:
        """Send line frames with as few calls of the kernel as it allows, and without joining."""
        pieces = [piece for frame in frames for piece in frame]
        try:
            while pieces:
                pieces = _behind(pieces, self._send_some(pieces[:MAX_PIECES]))
        except (OSError, ValueError) as error:
            raise LinkDownError(f"sending failed: {error}") from error

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        """Put what has arrived into `room`, after at most `timeout_s`."""
        try:
            try:
                size = self._socket.recv_into(room)
            except BlockingIOError:
                ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout_s))
                if not ready:
                    return 0
                size = self._socket.recv_into(room)
        except (OSError, ValueError) as error:
            raise LinkDownError(f"receiving failed: {error}") from error
        if not size:
            raise LinkDownError("the other end closed the connection")
        return size

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send_some(self, pieces: list[bytes | memoryview]) -> int:
        """Send as much as the kernel takes at once, waiting while it takes nothing."""
        while True:
            try:
                return self._socket.sendmsg(pieces)
            except BlockingIOError:
                _, ready, _ = select.select([], [self._socket], [], SEND_TIMEOUT_S)
                if not ready:
                    raise TimeoutError(f"the peer took nothing for {SEND_TIMEOUT_S:g} s") from None


def _behind(pieces: list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """What is left of pieces of which the kernel took the first `sent` octets."""
    for index, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[index + 1 :]]
        sent -= len(piece)
    return []
