"""The four ways to write an orbit lead to the same satellite."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from simulator.geometry import OrbitError
from simulator.scenario import bundled_scenarios, load_scenario
from simulator.scenario.orbits import orbit_of, read_omm

ORBITS = bundled_scenarios()["first_light"].parent / "orbits"

DIGITS_OF_A_TLE_KM = 0.05
"""What the rounding of angles (1e-4 deg) and mean motion (1e-8 rev/day) to TLE columns can do in
a week: 12 m each per angle, 7 days x 1e-8 rev x 43,000 km = 3 m."""

T_S = np.linspace(0.0, 7 * 86400.0, 60)


def positions(mission: Path, orbit: dict[str, object]) -> np.ndarray:
    scenario = load_scenario(mission / "scenario.yaml", {"satellites.0.orbit": orbit})
    return orbit_of(scenario, scenario.satellites[0]).itrs(T_S)[0]


def _xml(message: dict[str, object]) -> str:
    groups = {"metadata": (), "meanElements": (), "tleParameters": ()}
    mean = {"EPOCH", "MEAN_MOTION", "ECCENTRICITY", "INCLINATION", "RA_OF_ASC_NODE",
            "ARG_OF_PERICENTER", "MEAN_ANOMALY"}  # fmt: skip
    about = {"OBJECT_NAME", "OBJECT_ID", "CENTER_NAME", "REF_FRAME", "TIME_SYSTEM",
             "MEAN_ELEMENT_THEORY"}  # fmt: skip
    for key in message:
        group = "meanElements" if key in mean else "metadata" if key in about else "tleParameters"
        groups[group] += (f"<{key}>{message[key]}</{key}>",)
    metadata, elements, parameters = ("".join(groups[name]) for name in groups)
    return (
        f"<omm><segment><metadata>{metadata}</metadata><data><meanElements>{elements}"
        f"</meanElements><tleParameters>{parameters}</tleParameters></data></segment></omm>"
    )


def test_tle_omm_and_elements_give_the_same_positions(mission: Path) -> None:
    message = json.loads((ORBITS / "neph-1.omm.json").read_text(encoding="utf-8"))
    (mission / "one.xml").write_text(_xml(message), encoding="utf-8")
    table = io.StringIO()
    writer = csv.DictWriter(table, message)
    writer.writeheader()
    writer.writerow(message)
    (mission / "one.csv").write_text(table.getvalue(), encoding="utf-8")
    (mission / "list.json").write_text(json.dumps([message]), encoding="utf-8")
    expected = positions(mission, {"sun_synchronous": {"altitude_km": 510, "ltan_h": 10.5}})
    lines = (ORBITS / "neph-1.tle").read_text(encoding="utf-8").splitlines()
    for orbit in (
        {"tle": str(ORBITS / "neph-1.tle")},
        {"tle": lines[1:]},
        {"tle": "\n".join(lines) + "\n"},
        {"tle": "\n".join(lines[1:])},
        {"omm": str(ORBITS / "neph-1.omm.json")},
        {"omm": "list.json"},
        {"omm": "one.xml"},
        {"omm": "one.csv"},
    ):
        found = positions(mission, orbit)
        assert np.abs(found - expected).max() < DIGITS_OF_A_TLE_KM


def test_keplerian_elements_fly(mission: Path) -> None:
    elements = {"semi_major_axis_km": 6888, "eccentricity": 0.001, "inclination_deg": 97.4,
                "raan_deg": 10, "arg_perigee_deg": 0, "mean_anomaly_deg": 0}  # fmt: skip
    radius_km = np.linalg.norm(positions(mission, {"keplerian": elements}), axis=1)
    assert 6860 < radius_km.min() < radius_km.max() < 6915


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.json", "{", "no OMM in JSON"),
        ("a.xml", "<omm>", "no OMM in XML"),
        ("a.xml", "<omm><segment/></omm>", "no OMM in XML"),
        ("a.json", "[]", "0 messages found"),
        ("a.csv", "", "0 messages found"),
        ("none.json", None, "no such file"),
    ],
)
def test_an_omm_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, text: str | None, reason: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(OrbitError, match=reason):
        read_omm(tmp_path / name)


def test_a_file_of_many_satellites_is_refused(mission: Path) -> None:
    text = (ORBITS / "neph-1.tle").read_text(encoding="utf-8")
    (mission / "many.tle").write_text(text * 2, encoding="utf-8")
    with pytest.raises(OrbitError, match="keep the satellite that is to fly"):
        positions(mission, {"tle": "many.tle"})
