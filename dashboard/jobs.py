"""Runs started from the dashboard: each a process of its own, so that no page ever waits for one.

A job is a `nephoscope run` or `nephoscope compare` in its own session, with its scenario, log and
description under ``<runs folder>/.dashboard/<job>/``. How far it came is read from the manifests
of the run folders it writes, like everything else here. Closing the browser or stopping the
dashboard leaves it running.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from dashboard.runs_folder import Folders, FoundRun
from simulator.telemetry.manifest import MANIFEST_NAME, Manifest

JOBS_FOLDER = ".dashboard"
LOG_TAIL_LINES = 30

SAME_PROCESS_S = 60.0
"""Two processes of one number do not start within this time; a clock may be set while one runs."""

# A process started from a background shell inherits an ignored SIGINT, and could not be cancelled
# in good order: the launcher takes the signal back before it becomes the command.
_LAUNCHER = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from simulator.cli import main; main()"
)


class JobError(ValueError):
    """A run that cannot be started from here; a complete sentence with the remedy."""


@dataclass(frozen=True)
class Job:
    """One started command.

    Attributes
    ----------
    job_id : str
        Name of its folder.
    title : str
        What was asked for, in words.
    arguments : tuple of str
        Arguments of ``nephoscope``.
    out : str
        Folder name below the runs folder that its runs go to; empty for the runs folder itself.
    expected_runs : int
        How many run folders it will write.
    pid, process_started_s
        Tell the process from a later one of the same number.
    started : str
        Wall clock, ISO 8601 UTC.
    """

    job_id: str
    title: str
    arguments: tuple[str, ...]
    out: str
    expected_runs: int
    pid: int
    process_started_s: float
    started: str


_processes: dict[str, subprocess.Popen[bytes]] = {}
"""Children of this server, to collect their exit codes."""


def why_not_into(root: Path) -> str:
    """Why nothing can be flown into `root`, as a sentence; empty where it can.

    A run is its files as they were written: a folder of jobs or of another run within it would
    make its audit fail, and what was flown into it would never be listed.
    """
    if not (root / MANIFEST_NAME).exists():
        return ""
    return (
        f"Nothing is flown into {root}: it is itself a run, and a run is never altered. Open the "
        f"dashboard on the folder above, {root.resolve().parent}, to fly from it."
    )


def start(
    root: Path,
    title: str,
    arguments: Sequence[str],
    *,
    out: str = "",
    expected_runs: int = 1,
    scenario_text: str | None = None,
    scenario_name: str = "scenario",
) -> Job:
    """Start a command in a process of its own.

    Parameters
    ----------
    root : Path
        The runs folder; created.
    arguments : sequence of str
        Arguments of ``nephoscope``; the word ``{scenario}`` stands for the file that
        `scenario_text` is written to, ``{out}`` for the output folder.
    out : str
        Folder below `root`, for a campaign.

    Raises
    ------
    JobError
        When the folder cannot be written, or is itself a run.
    """
    if refused := why_not_into(root):
        raise JobError(refused)
    # Before the process starts, so that none of its runs is older.
    started = datetime.now(UTC)
    job_id = started.strftime("%Y%m%dT%H%M%S-") + secrets.token_hex(3)
    folder = root / JOBS_FOLDER / job_id
    scenario = folder / f"{scenario_name}.yaml"
    try:
        folder.mkdir(parents=True)
        if scenario_text is not None:
            scenario.write_text(scenario_text, encoding="utf-8")
        places = {"{scenario}": str(scenario), "{out}": str(root / out)}
        full = tuple(places.get(word, word) for word in arguments)
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCHER, *full],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
            )
        job = Job(
            job_id, title, full, out, expected_runs, process.pid, _start_time(process.pid),
            started.isoformat(timespec="seconds"),
        )  # fmt: skip
        (folder / "job.json").write_text(json.dumps(asdict(job), indent=1), encoding="utf-8")
    except OSError as error:
        raise JobError(
            f"The run was not started: {folder} could not be written ({error.strerror}). Open the "
            "dashboard on a folder you may write to."
        ) from None
    _processes[job_id] = process
    return job


def list_jobs(root: Path) -> list[Job]:
    """All jobs of a runs folder, newest first; what is no job is left out."""
    found = []
    for path in sorted((root / JOBS_FOLDER).glob("*/job.json"), reverse=True):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            found.append(Job(**{**document, "arguments": tuple(document["arguments"])}))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def is_alive(job: Job) -> bool:
    """Whether its process still runs."""
    process = _processes.get(job.job_id)
    if process is not None:
        return process.poll() is None
    try:
        return psutil.Process(job.pid).create_time() == job.process_started_s
    except psutil.Error:
        return False


def outcome(job: Job, found: Folders) -> str:
    """``running``, ``complete``, ``interrupted`` or ``failed``."""
    if is_alive(job):
        return "running"
    process = _processes.get(job.job_id)
    runs = runs_of(job, found)
    if process is not None and process.returncode is not None:
        by_code = {0: "complete", 130: "interrupted", -signal.SIGINT: "interrupted"}
        by_code[-signal.SIGKILL] = "interrupted"
        return by_code.get(process.returncode, "failed")
    if len(runs) >= job.expected_runs and all(run.state == "complete" for run in runs):
        return "complete"
    return "interrupted" if runs else "failed"


def cancel(job: Job, *, force: bool = False) -> None:
    """Ask the command to stop, as Ctrl-C would; `force` ends it at once.

    What was simulated until then stays readable.
    """
    if not is_alive(job):
        return
    try:
        os.killpg(job.pid, signal.SIGKILL if force else signal.SIGINT)
    except ProcessLookupError:
        return


def runs_of(job: Job, found: Folders) -> list[FoundRun]:
    """Run folders that the job has begun to write."""
    if job.out:
        return [
            run
            for run in found.runs
            if run.campaign == job.out and run.manifest and run.manifest.created >= job.started
        ]
    return [run for run in found.runs if run.manifest and _wrote(job, run.manifest)]


def _wrote(job: Job, manifest: Manifest) -> bool:
    """Whether the job's process is the one that wrote a run: numbers of processes come again."""
    apart_s = abs(manifest.process_started_s - job.process_started_s)
    return manifest.pid == job.pid and apart_s < SAME_PROCESS_S


def progress(job: Job, found: Folders) -> float:
    """Simulated share of all its runs, 0..1."""
    done = sum(run.progress for run in runs_of(job, found))
    return min(1.0, done / max(1, job.expected_runs))


def log_tail(root: Path, job: Job) -> str:
    """The end of what the command printed."""
    path = root / JOBS_FOLDER / job.job_id / "log.txt"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_TAIL_LINES:])


def _start_time(pid: int) -> float:
    try:
        started_s: float = psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0
    return started_s
