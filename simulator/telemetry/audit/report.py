"""Run every check over a run and gather what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from simulator.telemetry.audit.accounts import check_metrics
from simulator.telemetry.audit.areas import check_areas
from simulator.telemetry.audit.contacts import check_contacts
from simulator.telemetry.audit.energy import check_energy
from simulator.telemetry.audit.findings import Finding, RunLog
from simulator.telemetry.audit.imaging import check_imaging
from simulator.telemetry.audit.integrity import check_inputs, check_integrity, check_schema
from simulator.telemetry.audit.links import check_links
from simulator.telemetry.audit.look_ahead import check_look_ahead
from simulator.telemetry.audit.loop import check_loop
from simulator.telemetry.audit.pixels import check_pixels
from simulator.telemetry.audit.processing import check_processing
from simulator.telemetry.audit.skies import check_geometry
from simulator.telemetry.audit.storage import check_storage
from simulator.telemetry.manifest import RunFolderError
from simulator.telemetry.run_folder import RunFolder

MOST_FINDINGS = 20
"""Findings kept per check; one defect can break every later row."""

Check = Callable[[RunLog], Iterator[Finding]]

CHECKS: dict[str, tuple[str, Check]] = {
    "integrity": ("every file is as it was when the run completed", check_integrity),
    "inputs": ("scenario and manifest agree", check_inputs),
    "schema": ("event files hold their columns, in order of time", check_schema),
    "energy": ("generated = consumed + stored + curtailed, row by row", check_energy),
    "storage": ("captured = stored + sent + dropped, row by row", check_storage),
    "imaging": ("captures within reach, lit, powered, in time for the slew", check_imaging),
    "pixels": ("cover, masks and decisions counted again from the pictures", check_pixels),
    "processing": ("one frame at a time, one decision each, within the limits", check_processing),
    "contacts": ("bytes sent inside passes, one product at a time", check_contacts),
    "loop": ("news, tasking, plan and faults rest on what happened", check_loop),
    "look-ahead": ("glances on the line ahead, powered, in time to decide", check_look_ahead),
    "areas": ("captures in their periods, coverage counted again", check_areas),
    "geometry": ("passes, pointing, Sun and shadow again by plain Skyfield", check_geometry),
    "links": ("rates and MODCODs again from range and elevation", check_links),
    "metrics": ("metrics.json equals its recomputation", check_metrics),
}
"""Meaning and code of every check, in the order they run."""

OF_WHOLE_RUNS = ("integrity", "metrics")
"""Checks against what a run writes down when it is complete."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes
    ----------
    name, meaning : str
        As in `CHECKS`.
    findings : tuple of Finding
        At most `MOST_FINDINGS`.
    more : bool
        Whether there were more.
    unchecked : bool
        Whether there is nothing yet to check against: the run is not complete.
    """

    name: str
    meaning: str
    findings: tuple[Finding, ...]
    more: bool = False
    unchecked: bool = False

    @property
    def passed(self) -> bool:
        """Whether it was checked and nothing was found."""
        return not (self.findings or self.unchecked)

    @property
    def sign(self) -> str:
        """What stands before it in a list."""
        return "FAIL" if self.findings else "-" if self.unchecked else "ok"


@dataclass(frozen=True)
class AuditReport:
    """The outcome of an audit.

    Attributes
    ----------
    checks : tuple of CheckResult
    stopped_short : str
        How far a run came that is not complete, as words; empty for a complete one.
    """

    checks: tuple[CheckResult, ...]
    stopped_short: str = ""

    @property
    def passed(self) -> bool:
        """Whether the run is complete and every check passed."""
        return not self.stopped_short and all(check.passed for check in self.checks)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the checks."""
        return tuple(finding for check in self.checks for finding in check.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {"passed": self.passed, "stopped_short": self.stopped_short, "checks": checks}

    def text(self) -> str:
        """One line per check, its findings below it, and the outcome."""
        lines = []
        for check in self.checks:
            lines.append(f"{check.sign:<4}  {check.name:<11} {check.meaning}")
            lines += [f"      {found.where}: {found.message}" for found in check.findings]
            lines += ["      and more of the same"] if check.more else []
        return "\n".join([*lines, f"audit {self._outcome()}"])

    def _outcome(self) -> str:
        checked = [check for check in self.checks if not check.unchecked]
        failed = sum(not check.passed for check in checked)
        found = f"{failed} of {len(checked)} checks" if failed else ""
        if not self.stopped_short:
            return f"failed: {found}" if failed else "passed"
        so_far = f"fails {found}" if failed else f"passes {len(checked)} checks"
        return f"incomplete: the run is {self.stopped_short}; what it wrote until then {so_far}"


def audit(run: RunFolder, checks: Sequence[str] = tuple(CHECKS)) -> AuditReport:
    """Audit a run.

    Parameters
    ----------
    run : RunFolder
        One that is not complete is reported as such and checked as far as it goes.
    checks : sequence of str
        Names from `CHECKS`; all by default.

    Returns
    -------
    AuditReport
    """
    log = RunLog(run)
    results = tuple(_result(name, log) for name in checks)
    return AuditReport(results, "" if run.complete else _how_far(run))


def _how_far(run: RunFolder) -> str:
    manifest = run.manifest
    hours = f"{run.horizon_s / 3600:.1f} of {manifest.duration_s / 3600:.1f} h"
    return f"{manifest.state} at {hours}"


def _result(name: str, log: RunLog) -> CheckResult:
    meaning, check = CHECKS[name]
    if name in OF_WHOLE_RUNS and not log.run.complete:
        return CheckResult(name, meaning, (), unchecked=True)
    findings: list[Finding] = []
    try:
        findings.extend(islice(check(log), MOST_FINDINGS + 1))
    except RunFolderError as error:
        findings.append(Finding(name, str(error)))
    except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        # Rows that contradict each other so far that nothing can be computed from them.
        findings.append(Finding(name, f"could not be computed: {type(error).__name__}: {error}"))
    return CheckResult(
        name, meaning, tuple(findings[:MOST_FINDINGS]), len(findings) > MOST_FINDINGS
    )
