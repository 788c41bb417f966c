"""`nephoscope-payload`: the payload as a program of its own, on a board or in a cage.

``serve`` answers on TCP, a serial line or an inherited socket; ``selftest`` checks a board before
flight; ``new-key`` makes a key file.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from payload.device import load_device
from payload.link.board import Board, Limits
from payload.link.box import Box
from payload.link.channel import LinkDownError, SocketChannel
from payload.link.security import KeyFileError, new_key
from payload.link.selftest import run_selftest
from payload.link.serial import SERIAL_PART_BYTES, open_port, split_serial
from payload.link.server import TcpServer, serve_channel
from payload.link.settings import LinkError, PayloadSettings
from payload.link.tcp import TCP_PART_BYTES, key_for, listen_tcp, split_tcp, tcp_address

EXIT_USER_ERROR = 2

OWN_CHILD = Limits(max_message_bytes=2**32 - 1)
"""Bounds of a caged child: its peer is its parent, and its memory is bounded by the cage."""


class ServingError(RuntimeError):
    """A payload that had started failed at its work: no mistake of a user's, and it dies of it."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0, 1 for a failed self-test, 2 for a user error."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        return int(options.run(options))
    except (ValueError, OSError, LinkDownError) as error:
        print(f"nephoscope-payload: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nephoscope-payload", description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="log every frame and refusal")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="answer on TCP or a serial line")
    _add_payload(serve)
    serve.add_argument("--timing", choices=("declared", "measured"), default="declared")
    where = serve.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", help="tcp://HOST:PORT or serial:///dev/tty...?baud=N")
    where.add_argument("--descriptor", type=int, help="an inherited, connected socket")
    serve.add_argument("--key-file", type=Path, help="demanded off loopback")
    serve.add_argument(
        "--allow-faults", action="store_true", help="let the peer inject faults (tests only)"
    )
    serve.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        help="seconds of the device per second of this machine, where it stands in for one",
    )
    serve.set_defaults(run=_serve)

    selftest = commands.add_parser("selftest", help="check this board before flight")
    _add_payload(selftest)
    selftest.add_argument("--json", action="store_true", help="print the report as JSON")
    selftest.set_defaults(run=_selftest, timing="measured", time_scale=1.0)

    key = commands.add_parser("new-key", help="make a key file that only you can read")
    key.add_argument("file", type=Path)
    key.set_defaults(run=_new_key)
    return parser


def _add_payload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="name of a model, or path of its card")
    parser.add_argument("--device", default="host", help="name or path of a device profile")
    parser.add_argument("--power-limit-w", type=float)
    parser.add_argument("--threads", type=int, default=1)


def _settings(options: argparse.Namespace) -> PayloadSettings:
    return PayloadSettings(
        options.model,
        options.device,
        timing=options.timing,
        power_limit_w=options.power_limit_w,
        threads=options.threads,
        time_scale=options.time_scale,
    )


def _serve(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if options.descriptor is not None:
        channel = SocketChannel(socket.socket(fileno=options.descriptor))
        board = _board(options, settings, TCP_PART_BYTES, limits=OWN_CHILD)
        try:
            serve_channel(channel, board, None)
        except (ValueError, OSError) as error:
            # The exit code of a user error would tell the watchdog that no restart can help.
            raise ServingError(f"the payload failed at its work: {error}") from error
        return 0
    if not options.listen.startswith(("tcp://", "serial:")):
        raise LinkError(
            f"--listen is {options.listen!r}; expected tcp://HOST:PORT or serial:///dev/tty...?baud=N"
        )
    if options.listen.startswith("serial:"):
        return _serve_serial(options, settings)
    return _serve_tcp(options, settings)


def _board(
    options: argparse.Namespace,
    settings: PayloadSettings,
    part_bytes: int,
    compact: bool = False,
    limits: Limits | None = None,
) -> Board:
    return Board(
        Box(settings),
        part_bytes=part_bytes,
        compact=compact,
        allow_faults=options.allow_faults,
        timing=settings.timing,
        power_limit_w=load_device(settings.device).binding_limit_w(settings.power_limit_w),
        limits=limits,
    )


def _serve_serial(options: argparse.Namespace, settings: PayloadSettings) -> int:
    port = split_serial(options.listen, "--listen")
    key = key_for("localhost", options.key_file)
    board = _board(options, settings, SERIAL_PART_BYTES, compact=True)
    channel = open_port(port)
    print(f"serving {options.model} on {port.device} at {port.baud} baud", flush=True)
    serve_channel(channel, board, key)
    return 0


def _serve_tcp(options: argparse.Namespace, settings: PayloadSettings) -> int:
    host, port = split_tcp(options.listen, "--listen")
    key = key_for(host, options.key_file)
    board = _board(options, settings, TCP_PART_BYTES)
    try:
        listener = listen_tcp(host, port)
    except OSError as error:
        raise LinkError(
            f"--listen {options.listen}: {error}; choose another host or port"
        ) from error
    where = tcp_address(host, listener.getsockname()[1])
    guard = "authenticated" if key else "in clear, loopback only"
    print(f"serving {options.model} on {where}, {guard}", flush=True)
    TcpServer(listener, board, key).serve()
    return 0


def _selftest(options: argparse.Namespace) -> int:
    report = run_selftest(_settings(options))
    print(report.as_json() if options.json else report.as_text())
    return 0 if report.passed else 1


def _new_key(options: argparse.Namespace) -> int:
    try:
        descriptor = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(
            f"key file {options.file}: exists already, and a key in use is not overwritten; "
            f"name another file, or remove this one"
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(new_key() + "\n")
    print(f"wrote {options.file}; copy it to the other side over a channel you trust")
    return 0


if __name__ == "__main__":
    sys.exit(main())
