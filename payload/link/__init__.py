"""Links: every body a payload can have, behind the one protocol of :mod:`payload.frame`.

===========================  =======================================================
link                         body
===========================  =======================================================
``inprocess``                a plain object in the simulator's process
``subprocess``               a caged process on this machine; ``subprocess?cage=rlimit&...``
``tcp://HOST:PORT``          a board, or a server, across a network
``serial://DEVICE?baud=N``   a board across a serial line
``replay:PATH``              a recorded trace of any of these
===========================  =======================================================

The three with a line take the option ``frame_s``: the longest wait for a frame, wall seconds (60).
A body is imported when it is asked for, so a serial line costs nothing to those who have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from payload.frame import PayloadLink
from payload.link.settings import LinkError, PayloadSettings

__all__ = ["LINK_FORMS", "LinkError", "PayloadSettings", "open_link"]

LINK_FORMS = (
    "inprocess",
    "subprocess",
    "tcp://HOST:PORT",
    "serial://DEVICE?baud=N",
    "replay:PATH",
)
"""What a link may look like."""


def open_link(
    link: str,
    *,
    model: str,
    device: str,
    timing: Literal["declared", "measured"] = "declared",
    memory_limit_mib: float | None = None,
    power_limit_w: float | None = None,
    threads: int = 1,
    time_scale: float | None = None,
    trace: Path | None = None,
) -> PayloadLink:
    """Open a payload.

    Parameters
    ----------
    link : str
        One of `LINK_FORMS`.
    model, device, timing, memory_limit_mib, power_limit_w, threads, time_scale
        As in `PayloadSettings`. A board and a replay bring their own model and are held against
        what is asked here.
    trace : Path, optional
        Folder in which to record every reply, so that ``replay:PATH`` gives the same mission
        without the payload. A replay is not recorded again.

    Raises
    ------
    LinkError
        `link` has no such form, or what answers is not what was asked for.
    ModelError, DeviceError, PayloadError
        The payload cannot be set up as asked.
    """
    settings = PayloadSettings(
        model, device, timing, memory_limit_mib, power_limit_w, threads, time_scale
    )
    if link.startswith("replay:"):
        from payload.link.replay import ReplayLink

        return ReplayLink(link.removeprefix("replay:"), settings)
    live = _open_live(link, settings)
    if trace is None:
        return live
    from payload.link.trace import RecordingLink

    return RecordingLink(live, trace, timing)


def _open_live(link: str, settings: PayloadSettings) -> PayloadLink:
    if link == "inprocess":
        from payload.link.inprocess import InProcessLink

        return InProcessLink(settings)
    if link.partition("?")[0] == "subprocess":
        from payload.link.subprocess import open_subprocess

        return open_subprocess(link, settings)
    if link.startswith("tcp://"):
        from payload.link.tcp import open_tcp

        return open_tcp(link, settings)
    if link.startswith("serial://"):
        from payload.link.serial import open_serial

        return open_serial(link, settings)
    raise LinkError(f"payload.link is {link!r}; valid forms: {', '.join(LINK_FORMS)}")
