"""A link budget in flight: its MODCODs are logged, and the auditor works them out again."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder

RADIO = {
    "power_w": 5,
    "link_budget": {
        "eirp_dbw": 0,
        "frequency_ghz": 8.2,
        "bandwidth_mhz": 2,
        "g_over_t_db_k": 20,
        "atmosphere_zenith_db": 0.4,
    },
}


@pytest.fixture
def budgeted(fly):
    return fly(autonomy__policy="bent_pipe", satellites__0__radio=RADIO)


def test_a_pass_climbs_through_modcods_and_the_audit_agrees(budgeted):
    used = {name for row in budgeted.events("downlink").to_pylist() for name in row["modcod"]}
    assert len(used) > 3
    report = audit(budgeted)
    assert report.passed, report.text()


def test_near_the_horizon_a_thick_atmosphere_is_worth_decibels_within_a_step(fly):
    """Three decibels at the zenith are 34 at 5 degrees, and two or three more or less in 10 s."""
    thick = {
        "power_w": 12,
        "link_budget": {
            "eirp_dbw": 34,
            "frequency_ghz": 26,
            "bandwidth_mhz": 10,
            "g_over_t_db_k": 34,
            "atmosphere_zenith_db": 3,
        },
    }
    run = fly(
        autonomy__policy="bent_pipe",
        satellites__0__radio=thick,
        ground__stations=["svalsat"],
        ground__min_elevation_deg=5,
        duration_h=24,
    )
    assert len({name for row in run.events("downlink").to_pylist() for name in row["modcod"]}) > 1
    report = audit(run)
    assert report.passed, report.text()


@pytest.mark.parametrize("modcod", [["32APSK 9/10"], ["QPSK 1/4"], ["magic"], []])
def test_a_modcod_that_cannot_be_is_found(budgeted, tmp_path, modcod):
    shutil.copytree(budgeted.path, tmp_path / "copy")
    table = budgeted.events("downlink")
    rows = table.to_pylist()
    rows[0]["modcod"] = modcod
    path = tmp_path / "copy" / "events" / "downlink.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert not audit(RunFolder.open(tmp_path / "copy"), ("links",)).passed
