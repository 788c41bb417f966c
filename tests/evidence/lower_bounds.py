"""Do the lower bounds of pyproject.toml hold? The suite, with the oldest versions they allow.

Run from the repository's root (needs the network, and 10 to 20 minutes)::

    python tests/evidence/lower_bounds.py --folder /tmp/oldest [PYTEST_ARGUMENTS ...]

Makes a virtual environment of this Python in the folder, installs of every package that the project
and its extra ``test`` name the series of its lower bound (``numpy>=1.26`` is taken as 1.26.*), then
the project, and runs the tests. What those packages need in turn is as new as they allow. Leaves
with the exit code of pytest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Make the environment, say what is in it, run the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="gets the environment")
    asked, of_pytest = parser.parse_known_args(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    constraints = asked.folder / "oldest.txt"
    asked.folder.mkdir(parents=True, exist_ok=True)
    constraints.write_text("\n".join(oldest(named)) + "\n", encoding="utf-8")
    print(*oldest(named), sep="  ")
    environment = asked.folder / "environment"
    venv.create(environment, with_pip=True, clear=True)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "--prefer-binary"]
    subprocess.run([*install, "-r", constraints], check=True)
    subprocess.run([*install, "-c", constraints, "-e", f"{ROOT}[test]"], check=True)
    return subprocess.run([python, "-m", "pytest", *of_pytest], cwd=ROOT, check=False).returncode


def oldest(requirements: Iterable[str]) -> list[str]:
    """Each requirement that counts on this machine, as the series of its lower bound."""
    series = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        for bound in requirement.specifier:
            if bound.operator == ">=":
                exact = bound.version.count(".") >= 2
                version = bound.version if exact else f"{bound.version}.*"
                series.append(f"{requirement.name}=={version}")
    return series


if __name__ == "__main__":
    sys.exit(main())
