"""A channel carries octets both ways and may fail; everything above it is the same for all.

TCP sockets, pipes to a caged child, serial ports and the damaged lines of the tests are channels.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence
from typing import Protocol

RECEIVE_BYTES = 1 << 17
SEND_TIMEOUT_S = 30.0


class LinkDownError(Exception):
    """The line is gone: nothing more will come through this channel."""


class Channel(Protocol):
    """Octets both ways."""

    def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send the pieces back to back; raises `LinkDownError` if the line is gone."""

    def receive(self, timeout_s: float) -> bytes | memoryview:
        """What has arrived, after at most `timeout_s`; empty if nothing has.

        A view is good until the next call. Raises `LinkDownError` if the line is gone.
        """

    def close(self) -> None:
        """Give the line back."""


class SocketChannel:
    """A channel over a connected stream socket (TCP or a socket pair)."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        # One buffer for the channel's life: fresh pages for each read cost more than the copy.
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._socket.settimeout(SEND_TIMEOUT_S)
        with contextlib.suppress(OSError):  # A socket pair has no such option.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """Descriptor to wait on."""
        return self._socket.fileno()

    def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send the pieces back to back."""
        try:
            sent = self._socket.sendmsg(pieces)
            if sent < sum(len(piece) for piece in pieces):
                self._socket.sendall(b"".join(pieces)[sent:])
        except OSError as error:
            raise LinkDownError(f"sending failed: {error}") from error

    def receive(self, timeout_s: float) -> bytes | memoryview:
        """What has arrived, after at most `timeout_s`."""
        try:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout_s))
            if not ready:
                return b""
            size = self._socket.recv_into(self._buffer)
        except (OSError, ValueError) as error:
            raise LinkDownError(f"receiving failed: {error}") from error
        if not size:
            raise LinkDownError("the other end closed the connection")
        return self._buffer[:size]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
