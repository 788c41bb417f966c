"""Serving a board: over TCP to one peer at a time that has shown it may, or over one channel.

Loading the model and detecting cloud happen in this one thread: a payload computer does one
frame at a time. Sockets are only ever waited on, never trusted: at most `MAX_CONNECTIONS` are
open, a new one that does not shake hands in `HANDSHAKE_S` is closed, and so is one whose peer
breaks a bound of `payload.link.board.Limits`. With a key, shaking hands takes a frame under the
session's key: a recorded handshake is not enough. The kernel asks a silent peer whether it is
still there, so that one whose cable was pulled does not keep its place.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from dataclasses import dataclass

from payload.link.board import Board
from payload.link.channel import Channel, LinkDownError, SocketChannel
from payload.link.line import SILENCE_S
from payload.link.security import Security, TokenBucket
from payload.link.session import PeerRefusedError, Session
from payload.link.wire import WireError

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
HANDSHAKE_S = 5.0
CONNECTIONS_PER_S = 10.0
CONNECTIONS_BURST = 50.0
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence before the first probe, seconds between probes, and how many of them."""
PENALTY_S = 1.0
"""How long a line of one's own is left alone after its peer broke a bound."""


@dataclass
class _Guest:
    """One connection and when it came."""

    channel: SocketChannel
    session: Session
    since_s: float
    peer: str


class TcpServer:
    """Serves a board on a listening socket.

    Parameters
    ----------
    listener : socket
        Bound and listening.
    board : Board
    key : bytes or None
        Key of the line; None for clear, which is for loopback only.
    """

    def __init__(self, listener: socket.socket, board: Board, key: bytes | None) -> None:
        self._listener = listener
        self._board = board
        self._key = key
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._guests: dict[int, _Guest] = {}
        self._arrivals = TokenBucket(CONNECTIONS_PER_S, CONNECTIONS_BURST)
        self._stopped = False

    def serve(self) -> None:
        """Serve until `stop`."""
        while not self._stopped:
            self.step(SILENCE_S)
        for guest in list(self._guests.values()):
            self._dismiss(guest, "server stops")
        self._selector.close()
        self._listener.close()

    def stop(self) -> None:
        """Leave `serve` at the next turn."""
        self._stopped = True

    def step(self, timeout_s: float) -> None:
        """Serve whatever is ready within `timeout_s`."""
        ready = self._selector.select(timeout_s)
        if not ready:
            for guest in list(self._guests.values()):
                self._serve_guest(guest, silent=True)
        for key, _ in ready:
            if key.fileobj is self._listener:
                self._welcome()
            elif key.fd in self._guests:
                self._serve_guest(self._guests[key.fd])
        self._dismiss_the_mute()

    def _welcome(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError as error:
            log.warning("accept failed: %s", error)
            return
        now_s = time.monotonic()
        if len(self._guests) >= MAX_CONNECTIONS or not self._arrivals.take(now_s):
            log.warning("%s turned away: too many connections", address)
            connection.close()
            return
        _keep_alive(connection)
        channel = SocketChannel(connection)
        session = Session(self._board, channel, Security(self._key, True))
        guest = _Guest(channel, session, now_s, str(address))
        self._guests[channel.fileno()] = guest
        self._selector.register(connection, selectors.EVENT_READ)
        log.info("%s connected", guest.peer)

    def _serve_guest(self, guest: _Guest, silent: bool = False) -> None:
        try:
            if silent:
                guest.session.feed(b"")
            else:
                guest.session.listen(0.0)
        except LinkDownError as error:
            self._dismiss(guest, str(error))
        except PeerRefusedError as error:
            self._dismiss(guest, f"refused: {error}")

    def _dismiss_the_mute(self) -> None:
        now_s = time.monotonic()
        for guest in list(self._guests.values()):
            if not guest.session.connected and now_s - guest.since_s > HANDSHAKE_S:
                self._dismiss(guest, "no handshake")

    def _dismiss(self, guest: _Guest, reason: str) -> None:
        log.info("%s disconnected: %s", guest.peer, reason)
        number = guest.channel.fileno()
        self._guests.pop(number, None)
        self._selector.unregister(number)
        guest.channel.close()


def _keep_alive(connection: socket.socket) -> None:
    """Have a peer that is gone without a word noticed, two minutes after it was last heard."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        if hasattr(socket, option):  # Not every system can be told how patient to be.
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def serve_channel(channel: Channel, board: Board, key: bytes | None) -> None:
    """Serve one peer on a channel until it is gone (a pipe to the parent, a serial line)."""
    session = Session(board, channel, Security(key, True))
    while True:
        try:
            session.listen(SILENCE_S)
        except LinkDownError as error:
            log.info("the line is gone: %s", error)
            return
        except PeerRefusedError as error:
            # There is nobody else on a line of one's own: start over, deaf to what was said.
            log.warning("the line is reset: %s", error)
            time.sleep(PENALTY_S)
            session = Session(board, channel, Security(key, True))
        except WireError as error:
            log.warning("an answer could not be sent: %s", error)
