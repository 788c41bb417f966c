"""A payload across a serial line: `serial:///dev/ttyUSB0?baud=921600`.

The same packets in the same line frames as over TCP; only parts are shorter, so that damage costs
less, and frames are coded compactly where that is exact. Needs pyserial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from payload.card_library import load_card
from payload.device import load_device
from payload.link.channel import Channel, LinkDownError, Pieces
from payload.link.client import WireLink
from payload.link.conversation import FRAME_OPTION, Timeouts, frame_timeouts
from payload.link.settings import LinkError, PayloadSettings, link_options
from payload.link.tcp import failure_cost, key_for

SERIAL_PART_BYTES = 2048
DEFAULT_BAUD = 115200
WRITE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Port:
    """A serial port: device path and line speed, bit/s."""

    device: str
    baud: int


def split_serial(address: str, field: str = "payload.link") -> Port:
    """Device and speed of `serial:///dev/...?baud=N`; `field` is where a user wrote it.

    Raises
    ------
    LinkError
        If the address has another form.
    """
    return _split(address, field, ("baud",))[0]


def _split(address: str, field: str, known: Sequence[str]) -> tuple[Port, dict[str, str]]:
    """The port of an address, and its options by name."""
    form = "expected serial:///dev/tty...?baud=N"
    try:
        parts = urlsplit(address)
        query = link_options(parts.query, known)
    except ValueError as error:
        raise LinkError(f"{field} {address!r}: {error}; {form}") from error
    if parts.scheme != "serial" or parts.netloc or not parts.path.startswith("/"):
        raise LinkError(f"{field} {address!r}: {form}")
    text = query.get("baud", str(DEFAULT_BAUD))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise LinkError(f"{field} {address!r}: baud is {text!r}; {form}")
    return Port(parts.path, int(text)), query


class SerialChannel:
    """A channel over an open pyserial port."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def send(self, *frames: Pieces) -> None:
        """Send line frames, one after the other."""
        try:
            for frame in frames:
                self._port.write(b"".join(frame))
        except OSError as error:
            raise LinkDownError(f"writing to the port failed: {error}") from error

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        """Put what has arrived into `room`, after at most `timeout_s`."""
        try:
            self._port.timeout = max(0.0, timeout_s)
            data = self._port.read(1)
            waiting = min(self._port.in_waiting, len(room) - len(data)) if data else 0
            data += self._port.read(waiting) if waiting else b""
            room[: len(data)] = data
            return len(data)
        except (OSError, TypeError) as error:
            # pyserial reads from None, a TypeError, once another thread has closed the port.
            raise LinkDownError(f"reading from the port failed: {error}") from error

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def open_port(port: Port) -> Channel:
    """Open a serial port as a channel.

    Raises
    ------
    LinkError
        If pyserial is not installed, or the port does not exist.
    LinkDownError
        If the port cannot be opened.
    """
    try:
        import serial
    except ImportError as error:
        raise LinkError(
            "a serial link needs pyserial; install it with `pip install nephoscope-payload[serial]`"
        ) from error
    if not Path(port.device).exists():
        raise LinkError(f"serial port {port.device}: no such device; check the path and the cable")
    try:
        opened = serial.Serial(port.device, port.baud, write_timeout=WRITE_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise LinkDownError(f"opening serial port {port.device} failed: {error}") from error
    return SerialChannel(opened)


def open_serial(
    address: str,
    settings: PayloadSettings,
    *,
    key_file: Path | None = None,
    timeouts: Timeouts | None = None,
) -> WireLink:
    """Open the payload at the other end of a serial line, with the option ``frame_s``, s.

    Raises
    ------
    LinkError
        If an option is unknown or no number, nobody answers there, or not what the settings ask
        for, or it cannot load its model.
    """
    port, options = _split(address, "payload.link", ("baud", FRAME_OPTION))
    try:
        timeouts = frame_timeouts(options, timeouts)
    except LinkError as error:
        raise LinkError(f"payload.link {address!r}: {error}") from error
    link = WireLink(
        "serial",
        lambda: open_port(port),
        key=key_for("localhost", key_file),
        model_sha256=load_card(settings.model).sha256,
        device=load_device(settings.device).name,
        timing=settings.timing,
        power_limit_w=load_device(settings.device).binding_limit_w(settings.power_limit_w),
        part_bytes=SERIAL_PART_BYTES,
        compact=True,
        timeouts=timeouts,
        cost=failure_cost(settings),
    )
    link.start_afresh()
    return link
