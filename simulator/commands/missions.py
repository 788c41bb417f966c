"""Commands that fly missions and look at what they left: run, compare, validate, audit, ...

Modules that take long to import are imported where they are used, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.markup import escape

from simulator.commands import display

if TYPE_CHECKING:
    from simulator.scenario import Scenario, ScenarioError

OVERRIDES = {
    "seed": "seed",
    "model": "satellites.*.payload.model",
    "device": "satellites.*.payload.device",
    "policy": "autonomy.policy",
    "planner": "autonomy.planner",
    "link": "satellites.*.payload.link",
}
"""Options of ``run`` and the scenario fields they replace."""


class CommandError(ValueError):
    """A command that cannot be carried out as asked; a complete sentence with the remedy."""


def load(
    scenario: str, options: Mapping[str, object], spelt: Mapping[str, str] | None = None
) -> Scenario:
    """Load a scenario with the options of the command line in place of its fields.

    Parameters
    ----------
    scenario : str
    options : mapping
        Values by the names of `OVERRIDES`; None for one that was not given.
    spelt : mapping, optional
        What an option is called on the command line, where that is another name.

    Raises
    ------
    ScenarioError
        With every problem found; a value that came from an option is said to.
    """
    from simulator.scenario import ScenarioError, load_scenario

    overrides = {
        OVERRIDES[option]: from_here(value)
        for option, value in options.items()
        if value is not None
    }
    try:
        return load_scenario(scenario, overrides)
    except ScenarioError as error:
        raise _told_by_option(error, spelt or {}) from None


def checked(
    scenario: str, options: Mapping[str, object], spelt: Mapping[str, str] | None = None
) -> tuple[Scenario, tuple[str, ...]]:
    """Load a scenario as `load` and open everything it names; also return the notes of the check.

    Raises
    ------
    ScenarioError
        With every problem found.
    """
    from simulator.scenario import ScenarioError
    from simulator.scenario.checks import check_scenario

    loaded = load(scenario, options, spelt)
    try:
        return loaded, check_scenario(loaded).notes
    except ScenarioError as error:
        raise _told_by_option(error, spelt or {}) from None


def _told_by_option(error: ScenarioError, spelt: Mapping[str, str]) -> ScenarioError:
    """Name the option where a message names the field it overrides."""
    options = {
        f"override {field}": f"option --{spelt.get(name, name)}"
        for name, field in OVERRIDES.items()
    }
    return type(error)([replace(p, file=options.get(p.file, p.file)) for p in error.problems])


def from_here(value: object) -> object:
    """Make a path given as an option absolute: it starts where the command is given."""
    if not isinstance(value, str) or "://" in value:
        return value
    kind, colon, recording = value.partition(":")
    if kind == "replay" and colon:
        return f"replay:{Path(recording).expanduser().resolve()}"
    path = Path(value).expanduser()
    is_path = len(path.parts) > 1 or path.suffix in (".yaml", ".yml", ".onnx")
    return str(path.resolve()) if is_path else value


def run(
    scenario: str, options: Mapping[str, object], *, out_dir: Path, as_json: bool, quiet: bool
) -> int:
    """Fly a mission, show its metrics and where the run folder is; return the exit code."""
    flown, notes = checked(scenario, options)
    from simulator.mission import run_mission

    if not quiet:
        show_notes(notes)
    try:
        with display.progress_bar(shown=not (quiet or as_json)) as report:
            folder = run_mission(flown, out_dir, progress=report)
    except KeyboardInterrupt:
        _say_interrupted(out_dir)
        return 130
    if quiet and not as_json:
        print(folder)
        return 0
    _show_run(folder, out_dir, as_json=as_json)
    return 0


def show_notes(notes: Sequence[str]) -> None:
    """Print on stderr what may surprise."""
    for note in notes:
        display.err().print(f"[yellow]note:[/] {escape(note)}")


def _say_interrupted(out_dir: Path) -> None:
    """Print where the events of the run that was stopped are, if it came that far."""
    from simulator.telemetry.runs import list_runs

    runs = list_runs(out_dir) if out_dir.is_dir() else []
    ours = [run.path for run in runs if run.manifest and run.manifest.pid == os.getpid()]
    where = (
        f"What was simulated until then is in {ours[0]}."
        if ours
        else "Nothing had been simulated yet."
    )
    display.err().print(f"[yellow]Interrupted.[/] {escape(where)}", soft_wrap=True)


def _show_run(folder: Path, out_dir: Path, *, as_json: bool) -> None:
    values = show_metrics(folder, as_json=as_json)
    if as_json:
        display.print_json({"run": str(folder), "metrics": values})
        return
    console = display.out()
    console.print()
    console.print(f"run folder  {escape(str(folder))}", soft_wrap=True)
    console.print(
        f"go on with  [bold]nephoscope dashboard {escape(str(out_dir))}[/]", soft_wrap=True
    )


def show_metrics(folder: Path, *, as_json: bool) -> dict[str, Any]:
    """Compute the metrics of a run folder; print them as a table unless they go to JSON."""
    from simulator.telemetry.metrics import METRICS, compute_metrics
    from simulator.telemetry.run_folder import RunFolder

    opened = RunFolder.open(folder)
    values = compute_metrics(opened).to_dict()
    if not as_json:
        manifest = opened.manifest
        hours = f"{opened.horizon_s / 3600:g} of {manifest.duration_s / 3600:g} h"
        title = f"{manifest.name}, seed {manifest.seed}, {manifest.state}, {hours}"
        display.out().print(display.metrics_table(values, METRICS, title))
    return values


def metrics(folder: Path, *, as_json: bool) -> int:
    """Show the metrics of a run folder; return the exit code."""
    values = show_metrics(folder, as_json=as_json)
    if as_json:
        display.print_json({"run": str(folder), "metrics": values})
    return 0


def validate(scenario: str) -> int:
    """Check a scenario and everything it names; return the exit code."""
    from simulator.scenario.checks import check_scenario

    loaded = load(scenario, {})
    found = check_scenario(loaded, pixels=True)
    show_notes(found.notes)
    counts = {
        "satellite": len(loaded.satellites),
        "station": len(loaded.ground.stations),
        "target": found.targets,
        "scene": found.scenes,
    }
    listed = ", ".join(f"{count} {noun}{'s' * (count != 1)}" for noun, count in counts.items())
    display.out().print(
        f"[green]valid[/]  {escape(loaded.name)}: {loaded.duration_h:g} h, {listed}"
    )
    return 0


def schema() -> int:
    """Print the JSON Schema of scenario files; return the exit code."""
    from simulator.scenario.explain import json_schema

    display.print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema()})
    return 0


def audit(folder: Path, *, as_json: bool) -> int:
    """Audit a run folder; return 0 when everything agrees, else 1."""
    from simulator.telemetry.audit import audit as audit_run
    from simulator.telemetry.run_folder import RunFolder

    report = audit_run(RunFolder.open(folder))
    if as_json:
        display.print_json({"run": str(folder), **report.to_dict()})
    else:
        display.out().print(report.text(), soft_wrap=True, markup=False)
    return 0 if report.passed else 1


def runs(folder: Path, *, as_json: bool) -> int:
    """List the run folders below a folder; return the exit code."""
    from simulator.telemetry.runs import list_campaigns, list_runs

    found, campaigns = list_runs(folder), list_campaigns(folder)
    if as_json:
        display.print_json(
            [
                {
                    "run": str(run.path),
                    "state": run.state,
                    "detail": run.detail,
                    "scenario": run.manifest.name if run.manifest else None,
                    "seed": run.manifest.seed if run.manifest else None,
                    "policy": run.setup.policy or None,
                    "models": list(run.setup.models),
                    "devices": list(run.setup.devices),
                    "started": run.manifest.created if run.manifest else None,
                }
                for run in found
            ]
        )
        return 0
    if found:
        display.out().print(f"runs in {escape(str(folder))}", soft_wrap=True)
        display.print_runs(found)
    elif not campaigns:
        display.out().print(f"No run folder in {escape(str(folder))}.")
    for campaign in campaigns:
        display.out().print(f"a campaign: nephoscope runs {escape(str(campaign))}", soft_wrap=True)
    return 0


def dashboard(folder: Path, *, port: int) -> NoReturn:
    """Serve the dashboard on this machine until it is stopped.

    The server takes this process's place: whoever stops the command stops the server.
    """
    from simulator.telemetry.runs import list_runs

    list_runs(folder)
    package = find_spec("dashboard")
    if package is None or package.origin is None or find_spec("streamlit") is None:
        raise CommandError(
            "The dashboard is not installed with this environment; run `pip install nephoscope`."
        )
    page = Path(package.origin).with_name("app.py")
    command = [sys.executable, "-m", "streamlit", "run", str(page)]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port)]
    command += ["--browser.gatherUsageStats", "false", "--", str(folder.resolve())]
    os.execv(sys.executable, command)
