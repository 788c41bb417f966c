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
    """

    name: str
    meaning: str
    findings: tuple[Finding, ...]
    more: bool = False

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(frozen=True)
class AuditReport:
    """The outcome of an audit."""

    checks: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the checks."""
        return tuple(finding for check in self.checks for finding in check.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {"passed": self.passed, "checks": checks}

    def text(self) -> str:
        """One line per check, its findings below it, and the outcome."""
        lines = []
        for check in self.checks:
            lines.append(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<11} {check.meaning}")
            lines += [f"      {found.where}: {found.message}" for found in check.findings]
            lines += ["      and more of the same"] if check.more else []
        failed = sum(not check.passed for check in self.checks)
        outcome = f"failed: {failed} of {len(self.checks)} checks" if failed else "passed"
        return "\n".join([*lines, f"audit {outcome}"])


def audit(run: RunFolder, checks: Sequence[str] = tuple(CHECKS)) -> AuditReport:
    """Audit a run.

    Parameters
    ----------
    run : RunFolder
        A complete run; one that is not is reported as such and checked as far as it goes.
    checks : sequence of str
        Names from `CHECKS`; all by default.

    Returns
    -------
    AuditReport
    """
    log = RunLog(run)
    return AuditReport(tuple(_result(name, log) for name in checks))


def _result(name: str, log: RunLog) -> CheckResult:
    meaning, check = CHECKS[name]
    findings: list[Finding] = []
    try:
        findings.extend(islice(check(log), MOST_FINDINGS + 1))
    except RunFolderError as error:
        findings.append(Finding(name, str(error)))
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        # Rows that contradict each other so far that nothing can be computed from them.
        findings.append(Finding(name, f"could not be computed: {type(error).__name__}: {error}"))
    return CheckResult(
        name, meaning, tuple(findings[:MOST_FINDINGS]), len(findings) > MOST_FINDINGS
    )
