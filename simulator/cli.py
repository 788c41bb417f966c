"""The `nephoscope` command: names, options and help of every command, and nothing else.

What a command does is in `simulator.commands`. Whatever a user can get wrong arrives here as an
exception of ours with a complete sentence, is printed, and ends with exit code 2.
"""

from __future__ import annotations

import errno
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from simulator.commands import bundled, display, missions
from simulator.commands import compare as comparison
from simulator.commands.profile_device import profile_device

OUR_PACKAGES = ("simulator", "payload", "scenarios", "dashboard")

USER_ERROR = 2

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the file system says of a write, without naming the file."""


class Family(TyperGroup):
    """Commands with a name of their own, imported when one of them is called."""

    def __init__(self, name: str, module: str, meaning: str) -> None:
        super().__init__(name=name, help=meaning)
        self._module = module

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Hand over to the real commands."""
        family = typer.main.get_group(import_module(self._module).app)
        family.name = self.name
        return family.make_context(*arguments, **options)


FAMILIES = (
    Family("models", "simulator.commands.models", "List, evaluate, profile and show cloud models."),
    Family("train", "simulator.commands.train", "Train cloud models (needs the extra `train`)."),
    Family("scenes", "simulator.commands.scenes", "List, show, check and fetch scene collections."),
)


class Commands(TyperGroup):
    """The top group: has the families, and turns refusals into messages."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for family in FAMILIES:
            self.add_command(family)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a refusal of ours is printed, anything else is a bug and is shown."""
        try:
            return super().invoke(ctx)
        except ValueError as error:
            if type(error).__module__.split(".")[0] not in OUR_PACKAGES:
                raise
            _refuse(error)
            raise typer.Exit(USER_ERROR) from None
        except OSError as error:
            if error.filename is None and error.errno not in DISK_FULL:
                raise
            display.refuse(_of_file(error))
            raise typer.Exit(USER_ERROR) from None


def _of_file(error: OSError) -> str:
    """What the file system refused, as a sentence."""
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}; see to its place, or name another file or folder"


def _refuse(error: ValueError) -> None:
    problems = getattr(error, "problems", ())
    if problems:
        display.refuse_scenario(problems)
    else:
        display.refuse(str(error))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


ScenarioArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A scenario file, or the name of a bundled one such as first_light.",
        show_default=False,
    ),
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)
]
RunsArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of run folders.")]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where run folders go.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def _show_version(shown: bool) -> None:
    if shown:
        try:
            print(version("nephoscope"))
        except PackageNotFoundError:
            print("not installed: run from a source folder")
        raise typer.Exit


@app.callback()
def nephoscope(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Fly a cloud-detection model before launch: what reaches the ground, and at what cost.

    Start with [bold]nephoscope run first_light[/], then [bold]nephoscope dashboard[/].
    """


@app.command()
def run(
    scenario: ScenarioArgument,
    out: OutOption = Path("runs"),
    seed: Annotated[int | None, typer.Option(help="Another seed.", show_default=False)] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Another model: a name or the path of a card.", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Another device: a name or the path of a profile.", show_default=False),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="bent_pipe, discard, prune, prioritise, reschedule or oracle.", show_default=False
        ),
    ] = None,
    planner: Annotated[
        str | None, typer.Option(help="fifo, greedy or optimal.", show_default=False)
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            help="inprocess, subprocess, tcp://HOST:PORT, serial://DEVICE or replay:PATH.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print the run folder and nothing else.")
    ] = False,
) -> None:
    """Fly a mission and show what it was worth.

    Options replace fields of the scenario, for all its satellites.

    [dim]nephoscope run first_light[/]
    [dim]nephoscope run first_light --policy bent_pipe --seed 3[/]
    [dim]nephoscope run mine.yaml --model cards/mine.yaml --json > metrics.json[/]
    """
    options = {
        "seed": seed,
        "model": model,
        "device": device,
        "policy": policy,
        "planner": planner,
        "link": link,
    }
    raise typer.Exit(missions.run(scenario, options, out_dir=out, as_json=as_json, quiet=quiet))


@app.command()
def compare(
    scenario: ScenarioArgument,
    models: Annotated[
        str, typer.Option(metavar="A,B", help="Models to compare.", show_default=False)
    ] = "",
    devices: Annotated[
        str, typer.Option(metavar="A,B", help="Devices to compare.", show_default=False)
    ] = "",
    policies: Annotated[
        str, typer.Option(metavar="A,B", help="Policies to compare.", show_default=False)
    ] = "",
    seeds: Annotated[
        int, typer.Option(metavar="N", help="Seeds per variant, from the scenario's own.", min=1)
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Campaign folder (default: a free runs/compare-NAME)."
        ),
    ] = None,
    cluster: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Fly on the Dask cluster of this scheduler (needs the extra `cluster`).",
            show_default=False,
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Fly every combination with the same seeds, on all cores, and show the differences.

    Where nothing is named, the six policies are compared.

    [dim]nephoscope compare downlink_limited --policies bent_pipe,prune,reschedule --seeds 20[/]
    [dim]nephoscope compare first_light --models threshold,unet-distilled --json[/]
    """
    raise typer.Exit(
        comparison.compare(
            scenario,
            out,
            models=models,
            devices=devices,
            policies=policies,
            seeds=seeds,
            cluster=cluster,
            as_json=as_json,
        )
    )


@app.command()
def validate(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A scenario file, or a bundled name.", show_default=False
        ),
    ],
) -> None:
    """Check a scenario and everything it names: orbit, targets, scenes, model, device.

    Every problem is shown with its line, its reason and what to do about it.

    [dim]nephoscope validate mine.yaml[/]
    """
    raise typer.Exit(missions.validate(file))


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors.

    [dim]nephoscope schema > scenario.schema.json[/]

    With [dim]# yaml-language-server: $schema=scenario.schema.json[/] as its first line, a
    scenario is completed and checked while it is written.
    """
    raise typer.Exit(missions.schema())


@app.command()
def metrics(run: RunArgument, as_json: JsonOption = False) -> None:
    """Compute the metrics of a run from its events.

    [dim]nephoscope metrics runs/first_light-1a2b3c4d[/]
    """
    raise typer.Exit(missions.metrics(run, as_json=as_json))


@app.command()
def audit(run: RunArgument, as_json: JsonOption = False) -> None:
    """Recompute energy, bits, geometry and metrics of a run by other code than wrote it.

    Exit code 0: everything agrees. 1: something was deleted, edited or computed wrongly.

    [dim]nephoscope audit runs/first_light-1a2b3c4d[/]
    """
    raise typer.Exit(missions.audit(run, as_json=as_json))


@app.command()
def runs(directory: RunsArgument = Path("runs"), as_json: JsonOption = False) -> None:
    """List the runs in a folder: complete, running, interrupted or damaged.

    [dim]nephoscope runs[/]
    """
    raise typer.Exit(missions.runs(directory, as_json=as_json))


@app.command()
def dashboard(
    directory: RunsArgument = Path("runs"),
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 8501,
) -> None:
    """Open the dashboard on a folder of runs, for this machine only.

    [dim]nephoscope dashboard runs[/]
    """
    missions.dashboard(directory, port=port)


app.command()(bundled.scenarios)
app.command()(bundled.devices)
app.command()(bundled.stations)
app.command("profile-device")(profile_device)


def main() -> None:
    """Entry point of the `nephoscope` command."""
    app(prog_name="nephoscope")


if __name__ == "__main__":
    main()
