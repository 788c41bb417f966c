"""The README's commands work as they stand, and what it shows is not out of date."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import __file__ as scenarios_file

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which the commands find what a clone has."""
    (tmp_path / "scenarios").symlink_to(Path(scenarios_file).parent)
    return tmp_path


def test_the_commands_of_the_readme_work_one_after_another(clone):
    for command in COMMANDS:
        words = shlex.split(command.split(">")[0])
        assert words[0] == "nephoscope"
        done = subprocess.run(
            [sys.executable, "-m", "simulator.cli", *words[1:]],
            cwd=clone,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_there_are_commands_to_try():
    assert len(COMMANDS) >= 6


def test_the_readme_names_every_bundled_scenario():
    bundled = {path.stem for path in Path(scenarios_file).parent.glob("*.yaml")}
    assert not {name for name in bundled if f"`{name}`" not in README}


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_to_files(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize(
    ("off_nadir_deg", "said"),
    [(20, "1.23 times at 20"), (35, "1.98 times at 35"), (45, "3.37 times")],
)
def test_the_ground_of_an_oblique_pixel_is_what_is_said(off_nadir_deg, said):
    altitude_km, radius_km = 510.0, 6378.137
    view = math.radians(off_nadir_deg)
    incidence = math.asin((radius_km + altitude_km) / radius_km * math.sin(view))
    slant_range_km = radius_km * math.sin(incidence - view) / math.sin(view)
    factor = (slant_range_km / altitude_km) ** 2 / math.cos(incidence)
    assert factor == pytest.approx(float(said.split()[0]), abs=0.005)
    assert said in README
