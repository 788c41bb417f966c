"""A payload across a network: `tcp://HOST:PORT`, or `tcp://HOST:PORT?frame_s=300`.

Off loopback the line must be authenticated, on both sides alike: a server refuses to listen, and
a link refuses to connect, without a key file.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from payload.card_library import load_card
from payload.device import load_device
from payload.link.channel import Channel, LinkDownError, SocketChannel
from payload.link.client import FailureCost, WireLink
from payload.link.conversation import FRAME_OPTION, Timeouts, frame_timeouts
from payload.link.security import load_key
from payload.link.settings import LinkError, PayloadSettings, link_options

TCP_PART_BYTES = 65000
CONNECT_TIMEOUT_S = 5.0
KEY_FILE_VARIABLE = "NEPHOSCOPE_KEY_FILE"
"""Environment variable that names the key file where no argument does."""


def split_tcp(address: str, field: str = "payload.link") -> tuple[str, int]:
    """Host and port of `tcp://HOST:PORT`; `field` is where a user wrote it.

    Raises
    ------
    LinkError
        If the address has another form.
    """
    try:
        parts: SplitResult = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise LinkError(f"{field} {address!r}: {error}; expected tcp://HOST:PORT") from error
    if parts.scheme != "tcp" or not host or port is None or parts.path.strip("/") or parts.query:
        raise LinkError(f"{field} {address!r}: expected tcp://HOST:PORT")
    return host, port


def tcp_address(host: str, port: int) -> str:
    """`tcp://HOST:PORT`, as `split_tcp` reads it: an IPv6 address stands in brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def key_for(host: str, key_file: Path | None) -> bytes | None:
    """The key to use with a host: from the argument, the environment, or none on loopback.

    Raises
    ------
    LinkError
        If the host is not loopback and no key file is named.
    KeyFileError
        If the key file cannot be used.
    """
    named = key_file or os.environ.get(KEY_FILE_VARIABLE)
    if named:
        return load_key(Path(named))
    if not is_loopback(host):
        raise LinkError(
            f"host {host!r} is not loopback and no key file is named; make one with "
            f"`nephoscope-payload new-key FILE`, copy it to both sides, and name it by "
            f"--key-file or {KEY_FILE_VARIABLE}"
        )
    return None


def connect_tcp(host: str, port: int) -> Channel:
    """A channel to a listening payload.

    Raises
    ------
    LinkDownError
        If nobody listens there.
    """
    try:
        return SocketChannel(socket.create_connection((host, port), CONNECT_TIMEOUT_S))
    except OSError as error:
        raise LinkDownError(f"connecting to {tcp_address(host, port)} failed: {error}") from error


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening socket; only an IPv6 address has a colon, and it needs a socket of its kind.

    Raises
    ------
    OSError
        If the system does not let it be bound there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def open_tcp(
    address: str,
    settings: PayloadSettings,
    *,
    key_file: Path | None = None,
    timeouts: Timeouts | None = None,
) -> WireLink:
    """Open the payload that serves at `tcp://HOST:PORT`, with the option ``frame_s``, s.

    Raises
    ------
    LinkError
        If an option is unknown or no number, nobody serves there, or not what the settings ask
        for, or it cannot load its model.
    """
    where, _, query = address.partition("?")
    host, port = split_tcp(where)
    try:
        timeouts = frame_timeouts(link_options(query, (FRAME_OPTION,)), timeouts)
    except LinkError as error:
        raise LinkError(f"payload.link {address!r}: {error}") from error
    link = WireLink(
        "tcp",
        lambda: connect_tcp(host, port),
        key=key_for(host, key_file),
        model_sha256=load_card(settings.model).sha256,
        device=load_device(settings.device).name,
        timing=settings.timing,
        power_limit_w=load_device(settings.device).binding_limit_w(settings.power_limit_w),
        part_bytes=TCP_PART_BYTES,
        timeouts=timeouts,
        cost=failure_cost(settings),
    )
    link.start_afresh()
    return link


def failure_cost(settings: PayloadSettings) -> FailureCost:
    """What a frame without a result costs: the time of its first tile, under the power limit."""
    device, limit_w = load_device(settings.device), settings.power_limit_w
    latency_s = device.lost_frame_s(load_card(settings.model), limit_w)
    return FailureCost(
        latency_s=latency_s,
        energy_wh=device.energy_wh(latency_s, limit_w),
        mean_power_w=device.mean_power_w(limit_w),
        measured=settings.timing == "measured",
    )
