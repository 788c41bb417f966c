"""The auditor: recomputes a run from its files, by other code than wrote them.

It shares no formula with the simulator: energy is balanced row by row, bytes are followed from
capture to ground, pixels are counted again from the pictures, geometry is computed again by plain
Skyfield, metrics by plain sums. A deleted or edited row breaks the hash of its file; most break
the physics as well.
"""

from __future__ import annotations

from simulator.telemetry.audit.findings import Finding
from simulator.telemetry.audit.report import AuditReport, CheckResult, audit

__all__ = ["AuditReport", "CheckResult", "Finding", "audit"]
