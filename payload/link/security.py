"""Authentication of the line: every frame carries a MAC and a number that is accepted once.

The scheme follows CCSDS Space Data Link Security (355.0-B): a security header with a parameter
index and a sequence number in front of the packet, a message authentication code behind it.
HMAC-SHA-256 truncated to 128 bits authenticates; nothing is encrypted.

Two keys are in use. The key of the key file authenticates the handshake only; from it and one
nonce of each side both ends derive a session key per direction, so that no frame of an earlier
session, nor one of the other direction, is ever accepted.
"""

from __future__ import annotations

import enum
import hmac
import secrets
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

MAC_BYTES = 16
KEY_BYTES = 32
WINDOW_FRAMES = 1024
"""How far a frame may lag behind the newest one and still be accepted, once."""

_SEQUENCE = struct.Struct(">Q")
SEQUENCE_BYTES = _SEQUENCE.size


class KeyFileError(ValueError):
    """A key file cannot be used."""


class Spi(enum.IntEnum):
    """Security parameter index: which key guards a frame."""

    CLEAR = 0
    HANDSHAKE = 1
    SESSION = 2


def new_key() -> str:
    """A fresh key as a key file holds it: 64 hexadecimal digits."""
    return secrets.token_hex(KEY_BYTES)


def load_key(path: Path) -> bytes:
    """Read a key file: 64 hexadecimal digits, readable by its owner alone.

    Raises
    ------
    KeyFileError
        If the file is missing, readable by others, or holds anything else.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            f"key file {path}: {error}; make one with `nephoscope-payload new-key {path}`"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(
            f"key file {path}: others may read it (mode {stat.S_IMODE(mode):o}); "
            f"run `chmod 600 {path}`"
        )
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(
            f"key file {path}: expected {2 * KEY_BYTES} hexadecimal digits; "
            f"make one with `nephoscope-payload new-key {path}`"
        )
    return key


class ReplayWindow:
    """Accepts each sequence number once, out of order within `WINDOW_FRAMES`."""

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0

    def accept(self, sequence: int) -> bool:
        """True, and remembered, if `sequence` is new and not too old."""
        ahead = sequence - self._newest
        if ahead > 0:
            kept = self._seen << ahead if ahead < WINDOW_FRAMES else 0
            self._seen = (kept | 1) & ((1 << WINDOW_FRAMES) - 1)
            self._newest = sequence
            return True
        bit = 1 << -ahead
        if -ahead >= WINDOW_FRAMES or self._seen & bit:
            return False
        self._seen |= bit
        return True


@dataclass
class _Direction:
    """Key and counters of one key generation, as one end holds them."""

    send_key: bytes
    receive_key: bytes
    next_sequence: int = 0
    window: ReplayWindow = field(default_factory=ReplayWindow)


class Security:
    """One end's keys. Without a key every frame travels, and is accepted, in clear.

    Parameters
    ----------
    key : bytes or None
        The key file's key.
    payload_side : bool
        Which end this is; the two ends send under different keys.
    """

    def __init__(self, key: bytes | None, payload_side: bool) -> None:
        self._key = key
        self._payload_side = payload_side
        self._generations: dict[Spi, _Direction] = {}
        self._pending: _Direction | None = None
        if key is not None:
            self._generations[Spi.HANDSHAKE] = self._derive(b"handshake")

    @property
    def sending(self) -> Spi:
        """Under which key frames are sent now."""
        if self._key is None:
            return Spi.CLEAR
        return Spi.SESSION if Spi.SESSION in self._generations else Spi.HANDSHAKE

    def start_session(self, nonce: bytes, payload_nonce: bytes, at_once: bool) -> None:
        """Derive the session's keys.

        With `at_once` they guard the next frame sent. Otherwise (the payload's side) they wait
        until the peer has proved, by a frame under them, that it holds the key: a recorded
        handshake can then not displace a running session.
        """
        if self._key is None:
            return
        fresh = self._derive(b"session" + nonce + payload_nonce)
        if at_once:
            self._generations[Spi.SESSION] = fresh
        else:
            self._pending = fresh

    def end_session(self) -> None:
        """Forget the session's keys: the next frame is a handshake."""
        self._generations.pop(Spi.SESSION, None)
        self._pending = None

    def seal(self, pieces: tuple[bytes | memoryview, ...], spi: Spi | None = None) -> list[bytes]:
        """Security header and trailer for a packet given in pieces: ``[header, trailer]``."""
        spi = self.sending if spi is None else spi
        if spi is Spi.CLEAR:
            return [bytes([spi]), b""]
        keys = self._generations[spi]
        header = bytes([spi]) + _SEQUENCE.pack(keys.next_sequence)
        keys.next_sequence += 1
        mac = hmac.new(keys.send_key, header, "sha256")
        for piece in pieces:
            mac.update(piece)
        return [header, mac.digest()[:MAC_BYTES]]

    def accepts(
        self, header: bytes | bytearray, packet: bytes | memoryview, trailer: bytes | bytearray
    ) -> bool:
        """Whether a frame is authentic, fresh and under a key that may be used now."""
        spi = header[0]
        if spi == Spi.CLEAR:
            return self._key is None
        if self._key is None:
            return False
        sequence = _SEQUENCE.unpack(header[1:])[0]
        candidates = [self._generations.get(Spi(spi))]
        if spi == Spi.SESSION and self._pending is not None:
            candidates.append(self._pending)
        for keys in candidates:
            if keys is None or not _authentic(keys.receive_key, header, packet, trailer):
                continue
            if keys is self._pending:
                self._generations[Spi.SESSION] = keys
                self._pending = None
            # The handshake's freshness comes from its nonces: a recorded one leads nowhere.
            return spi == Spi.HANDSHAKE or keys.window.accept(sequence)
        return False

    def _derive(self, context: bytes) -> _Direction:
        key = self._key or b""
        up = hmac.digest(key, b"up " + context, "sha256")
        down = hmac.digest(key, b"down " + context, "sha256")
        return _Direction(down, up) if self._payload_side else _Direction(up, down)


def _authentic(
    key: bytes, header: bytes | bytearray, packet: bytes | memoryview, trailer: bytes | bytearray
) -> bool:
    mac = hmac.new(key, header, "sha256")
    mac.update(packet)
    return hmac.compare_digest(mac.digest()[:MAC_BYTES], trailer)


class TokenBucket:
    """A bound on a rate: `burst` at once, `rate_per_s` in the long run.

    Time is handed in, so that the bound can be tested without waiting.
    """

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._last_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Take one token if there is one."""
        if self._last_s is not None:
            gained = max(0.0, now_s - self._last_s) * self._rate_per_s
            self._tokens = min(self._burst, self._tokens + gained)
        self._last_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
