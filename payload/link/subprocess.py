"""A payload in a caged process of this machine, restarted by a watchdog when it dies.

The child runs the same server as a board (`payload.link.serve`) over a socket pair, inside a cage
of `payload.limits`. Over its memory limit it really dies; the keeper sees the exit signal and the
cage's counter, and starts it again for the next frame.

The link is written ``subprocess``, or with options of the cage and the longest wait for a frame, s:
``subprocess?cage=rlimit&cpu_cores=0.5&affinity=0&frame_s=300``.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

from payload.card_library import load_card
from payload.device import load_device
from payload.frame import Capabilities
from payload.limits import Cage, CageKind, CageLimits, open_cage
from payload.link.channel import Channel, LinkDownError, SocketChannel
from payload.link.client import Death, WireLink
from payload.link.conversation import FRAME_OPTION, Timeouts, frame_timeouts
from payload.link.settings import LinkError, PayloadSettings, link_options
from payload.link.tcp import TCP_PART_BYTES, failure_cost
from payload.runtime import versions

EXIT_WAIT_S = 5.0
USER_ERROR_EXIT = 2
OPTIONS = ("affinity", "cage", "cpu_cores", FRAME_OPTION)


class SubprocessKeeper:
    """Starts, watches and restarts the payload process.

    Parameters
    ----------
    settings : PayloadSettings
        `memory_limit_mib` becomes the cage's.
    limits : CageLimits
    kind : str or None
        Kind of cage; the strongest to be had if None.
    allow_faults : bool
        Whether faults may be injected.
    """

    def __init__(
        self,
        settings: PayloadSettings,
        limits: CageLimits,
        kind: CageKind | None = None,
        allow_faults: bool = True,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._kind = kind
        self._allow_faults = allow_faults
        self._process: subprocess.Popen[bytes] | None = None
        self._cage: Cage | None = None
        self._channel: SocketChannel | None = None
        self._complaints = Path()
        self.starts = 0
        self.peak_mib = 0.0
        self.incident = ""

    @property
    def pid(self) -> int:
        """Process number of the running payload, 0 if none runs."""
        return self._process.pid if self._process is not None else 0

    def enforced(self) -> str:
        """What the cage enforces, in words."""
        return self._cage.enforced() if self._cage is not None else "nothing limited"

    def connect(self) -> Channel:
        """The line to the process; a process whose line was given up is restarted.

        Raises
        ------
        LinkDownError
            If the process is dead.
        """
        if self._channel is None:
            self.restart()
        channel, self._channel = self._channel, None
        if channel is None or self._process is None or self._process.poll() is not None:
            raise LinkDownError("the payload process is not running")
        return channel

    def death(self) -> Death | None:
        """Why the process died; None if it lives.

        Raises
        ------
        LinkError
            If it refused to start for a reason that a restart does not cure.
        """
        if self._process is None or self._cage is None:
            return None
        try:
            code = self._process.wait(EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            return None
        self.peak_mib = max(self.peak_mib, self._cage.peak_mib())
        kills = self._cage.oom_kills()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = self._last_complaint()
        said = f"; its last words: {last}" if last else ""
        self.incident = f"pid {self._process.pid} ended by {how}, {kills} kills for memory{said}"
        if kills:
            return Death("out_of_memory", f"ended by {how}; over {self._cage.enforced()}")
        if "MemoryError" in last or "bad_alloc" in last or "Failed to allocate" in last:
            return Death("out_of_memory", f"ended by {how}; over {self._cage.enforced()}")
        if code == USER_ERROR_EXIT:
            raise LinkError(f"payload link 'subprocess': {last}")
        return Death("crashed", f"the payload process ended by {how} and was restarted")

    def restart(self) -> None:
        """Kill the process, if one runs, and start it anew in a fresh cage."""
        self.stop()
        ours, theirs = socket.socketpair()
        self._cage = open_cage(self._limits, self._kind)
        descriptor, name = tempfile.mkstemp(prefix="nephoscope-payload-", suffix=".log")
        self._complaints = Path(name)
        with theirs, os.fdopen(descriptor, "wb") as complaints:
            self._process = subprocess.Popen(
                self._cage.command(self._command(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=(theirs.fileno(),),
                env=_child_environment(self._settings.threads),
            )
        self._cage.hold(self._process.pid)
        self._channel = SocketChannel(ours)
        self.starts += 1

    def stop(self) -> None:
        """Kill the process and give the cage back."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._complaints.unlink(missing_ok=True)
        if self._cage is not None:
            self.peak_mib = max(self.peak_mib, self._cage.peak_mib())
            self._cage.close()

    def _command(self, descriptor: int) -> list[str]:
        settings = self._settings
        command = [
            sys.executable,
            "-m",
            "payload.link.serve",
            "serve",
            f"--model={settings.model}",
            f"--device={settings.device}",
            f"--timing={settings.timing}",
            f"--threads={settings.threads}",
            f"--time-scale={settings.time_scale or 1.0!r}",
            f"--descriptor={descriptor}",
        ]
        if settings.power_limit_w is not None:
            command.append(f"--power-limit-w={settings.power_limit_w!r}")
        if self._allow_faults:
            command.append("--allow-faults")
        return command

    def _last_complaint(self) -> str:
        lines = self._complaints.read_text(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("nephoscope-payload: ") if lines else ""


class SubprocessLink(WireLink):
    """A payload in a caged process.

    Parameters
    ----------
    settings : PayloadSettings
    limits : CageLimits, optional
        Further limits; the memory limit is that of the settings.
    kind : str, optional
        Kind of cage.
    timeouts : Timeouts, optional

    Raises
    ------
    LinkError, CageError
        If the process refuses to start, or the cage cannot be had.
    """

    def __init__(
        self,
        settings: PayloadSettings,
        limits: CageLimits | None = None,
        kind: CageKind | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        card, device = load_card(settings.model), load_device(settings.device)
        limits = limits or CageLimits(memory_mib=settings.memory_limit_mib)
        if settings.timing == "measured" and settings.time_scale is None:
            # This machine stands in for the device.
            settings = dataclasses.replace(settings, time_scale=device.host_time_scale(card))
        self._subprocess = SubprocessKeeper(settings, limits, kind)
        self._subprocess.restart()
        try:
            super().__init__(
                "subprocess",
                self._subprocess.connect,
                model_sha256=card.sha256,
                part_bytes=TCP_PART_BYTES,
                timeouts=timeouts,
                cost=failure_cost(settings),
                keeper=self._subprocess,
                expected=Capabilities(
                    model=card.name,
                    model_sha256=card.sha256,
                    device=device.name,
                    link="subprocess",
                    active_power_w=device.active_power_w,
                    idle_power_w=device.idle_power_w,
                    peak_memory_mib=card.peak_memory_mib or 0.0,
                    versions=versions(),
                ),
            )
        except BaseException:
            self._subprocess.stop()
            raise

    @property
    def enforced(self) -> str:
        """Which cage is in force, in words."""
        return self._subprocess.enforced()

    @property
    def peak_mib(self) -> float:
        """Most memory any of the processes used up to its end, as its cage counted, MiB."""
        return self._subprocess.peak_mib

    def close(self) -> None:
        """Close the line and end the process."""
        super().close()
        self._subprocess.stop()


def open_subprocess(link: str, settings: PayloadSettings) -> SubprocessLink:
    """Open `subprocess` or `subprocess?cage=...&cpu_cores=...&affinity=0,1&frame_s=...`.

    Raises
    ------
    LinkError
        If an option is unknown, given twice, without a value or not a number.
    CageError
        If the cage cannot be had.
    """
    try:
        options = link_options(link.partition("?")[2], OPTIONS)
        timeouts = frame_timeouts(options)
    except LinkError as error:
        raise LinkError(f"payload.link {link!r}: {error}") from error
    try:
        cores = float(options["cpu_cores"]) if "cpu_cores" in options else None
        affinity = tuple(int(text) for text in options.get("affinity", "").split(",") if text)
    except ValueError as error:
        raise LinkError(f"payload.link {link!r}: {error}; expected a number") from error
    limits = CageLimits(settings.memory_limit_mib, cores, affinity)
    kind = cast("CageKind | None", options.get("cage"))
    return SubprocessLink(settings, limits, kind, timeouts)


def _child_environment(threads: int) -> dict[str, str]:
    """This process's environment, with the package found and no more threads than asked for."""
    package_parent = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
    return {
        **os.environ,
        "PYTHONPATH": search,
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
    }
