"""`nephoscope scenes`: what imagery there is, is it sound, and more of it from a catalogue."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from payload.scene_check import scene_problems
from payload.scenes import (
    Scene,
    SceneCollection,
    SceneError,
    collection_folders,
    read_collection,
)
from simulator.commands.display import out, print_json, refuse

app = typer.Typer(help="List, show, check and fetch scene collections.", no_args_is_help=True)

SCENES_VARIABLE = "NEPHOSCOPE_SCENES"
SHOWN_REFLECTANCE = (0.02, 0.6)
"""Reflectance drawn black and white; with the exponent below, ground and cloud both show."""
SHOWN_EXPONENT = 0.6
MASK_COLOURS = {
    0: (26, 30, 38), 1: (245, 247, 250), 2: (150, 175, 205), 3: (72, 60, 110), 255: (120, 20, 30),
}  # fmt: skip
"""Clear, cloud, thin cloud, shadow, no data."""

DAY = ["%Y-%m-%d"]

FolderOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--folder",
        help=f"Collection, or folder of collections; default: samples and ${SCENES_VARIABLE}.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.command("list")
def list_scenes(
    collection: Annotated[
        str | None, typer.Argument(help="Name of a collection: list its scenes.")
    ] = None,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Collections there are, or the scenes of one."""
    collections = _collections(folder)
    if collection is None:
        facts = [_facts_of_collection(c) for c in collections]
    else:
        facts = [_facts_of_scene(scene) for scene in _named(collections, collection)]
    if as_json:
        print_json(facts)
        return
    # Narrow screens: what says least stays in the JSON.
    shown = [{k: v for k, v in f.items() if k not in ("folder", "split", "date")} for f in facts]
    out().print(_table(shown, "Scene collections" if collection is None else collection))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="collection/scene, or the scene's name alone.")],
    folder: FolderOption = None,
    png: Annotated[
        Path | None, typer.Option(help="Where to write; default: the scene's name here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a scene beside its mask into a PNG file, and tell what is known of it."""
    scene = _find(_collections(folder), name)
    path = png or Path(f"{scene.collection}-{scene.name}.png")
    picture = draw_scene(scene)
    try:
        Image.fromarray(picture).save(path, format="PNG")
    except OSError as error:
        raise SceneError(
            f"--png {path}: cannot be written ({error.strerror}); name another file"
        ) from None
    facts = {**_facts_of_scene(scene), **_further_facts(scene), "png": str(path)}
    if as_json:
        print_json(facts)
        return
    table = Table(box=None, pad_edge=False, show_header=False, title=escape(scene.full_name))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        table.add_row(key, _text(value))
    out().print(table)


def _problems(folder: Path) -> Iterator[str]:
    """Of a collection: of its scenes, or why there is no telling."""
    try:
        yield from scene_problems(folder)
    except SceneError as error:
        yield str(error)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A collection, or a folder of collections.")],
    as_json: JsonOption = False,
) -> None:
    """Read every scene of a folder and say each problem; exit code 2 if there is one."""
    folders = collection_folders(folder)
    problems = [problem for found in folders for problem in _problems(found)]
    if as_json:
        print(json.dumps({"folders": [str(f) for f in folders], "problems": problems}, indent=2))
    else:
        console = out()
        for problem in problems:
            console.print(f"- {problem}", markup=False, soft_wrap=True)
        console.print(
            f"{len(problems)} problems in {len(folders)} collections"
            if problems
            else f"{sum(len(read_collection(f)) for f in folders)} scenes in {len(folders)} "
            "collections: no problem"
        )
    if problems:
        raise typer.Exit(2)


@app.command()
def fetch(
    scenario: Annotated[
        str, typer.Argument(help="A scenario file, or the name of a bundled one: whose targets.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder of the collection; added to if there.")],
    first_day: Annotated[datetime, typer.Option("--from", formats=DAY, help="First day.")],
    last_day: Annotated[datetime, typer.Option("--to", formats=DAY, help="Last day.")],
    collection: Annotated[
        str, typer.Option(help="sentinel-2-l2a or landsat-c2-l2.")
    ] = "sentinel-2-l2a",
    dates: Annotated[int, typer.Option(min=1, help="Images per target, at most.")] = 12,
    catalogue: Annotated[
        str, typer.Option(help="Address of a STAC API.")
    ] = "https://planetarycomputer.microsoft.com/api/stac/v1",
    as_json: JsonOption = False,
) -> None:
    """Bring real images of a scenario's own targets, for `scenes.strategy: stac`.

    Needs the extra `stac`. What is in the folder is not fetched again.
    """
    from simulator.catalogue import Wanted, fetch_scenes
    from simulator.scenario import load_scenario
    from simulator.scenario.targets import load_targets

    mission = load_scenario(scenario)
    targets = load_targets(mission)
    frames = [satellite.imager.frame_px for satellite in mission.satellites]
    wanted = Wanted(
        collection=collection,
        first_day=first_day.date(),
        last_day=last_day.date(),
        dates=dates,
        frame_px=(max(rows for rows, _ in frames), max(columns for _, columns in frames)),
        catalogue=catalogue,
    )
    with Progress(transient=True, disable=as_json) as progress:
        task = progress.add_task("targets", total=len(targets))
        fetched = fetch_scenes(
            targets, wanted, folder, lambda done: progress.update(task, completed=done)
        )
    if as_json:
        print_json({"folder": str(folder), **asdict(fetched)})
        return
    out().print(
        f"{folder}: {fetched.new} scenes fetched, {fetched.known} were there, of "
        f"{len(targets) - len(fetched.without)} of {len(targets)} targets",
        markup=False,
        soft_wrap=True,
    )
    if fetched.without:
        out().print(
            "no whole frame of: "
            + ", ".join(fetched.without)
            + "; ask for more days, or leave these targets out",
            markup=False,
            soft_wrap=True,
        )


def draw_scene(scene: Scene) -> NDArray[np.uint8]:
    """True colour, and beside it the mask where there is one; shape (H, W or 2 W, 3)."""
    reflectance = scene.reflectance()
    low, high = SHOWN_REFLECTANCE
    colour = np.clip((reflectance[[2, 1, 0]] - low) / (high - low), 0.0, 1.0) ** SHOWN_EXPONENT
    picture = (255.0 * colour + 0.5).astype(np.uint8).transpose(1, 2, 0)
    truth = scene.truth()
    if truth is None:
        return np.ascontiguousarray(picture)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for value, rgb in MASK_COLOURS.items():
        palette[value] = rgb
    return np.concatenate([picture, palette[truth]], axis=1)


def _collections(folders: Sequence[Path] | None) -> list[SceneCollection]:
    """Every collection that can be read; one that cannot is named on stderr and hides no other."""
    roots = [("--folder", folder) for folder in folders or ()]
    if not roots:
        roots = [("samples", Path(str(files("scenarios") / "samples")))]
        if os.environ.get(SCENES_VARIABLE):
            roots.append((SCENES_VARIABLE, Path(os.environ[SCENES_VARIABLE])))
    tried = [each for named_by, root in roots for each in _tried(named_by, root)]
    errors = [each for each in tried if isinstance(each, SceneError)]
    if errors and len(tried) == 1:
        raise errors[0]
    for error in errors:
        refuse(f"{error}; until it is mended this collection is left out")
    # A folder that is come upon twice is one collection.
    collections = {c.folder.resolve(): c for c in tried if isinstance(c, SceneCollection)}
    if not collections:
        raise SceneError("none of these collections can be read; mend one, or name another folder")
    return list(collections.values())


def _tried(named_by: str, root: Path) -> Iterator[SceneCollection | SceneError]:
    """Each collection at `root`, or why it cannot be read."""
    try:
        found = collection_folders(root)
    except SceneError as error:
        yield SceneError(f"{named_by} {error}")
        return
    for folder in found:
        try:
            yield read_collection(folder)
        except SceneError as error:
            yield error


def _named(collections: Sequence[SceneCollection], name: str) -> SceneCollection:
    found = [collection for collection in collections if collection.name == name]
    if not found:
        raise SceneError(
            f"collection {name!r} is not there; there are {', '.join(c.name for c in collections)}"
        )
    if len(found) > 1:
        raise SceneError(
            f"collection {name!r} is ambiguous: {_listed(c.folder for c in found)} have that "
            "name; name one with --folder"
        )
    return found[0]


def _find(collections: Sequence[SceneCollection], name: str) -> Scene:
    found = [s for c in collections for s in c if name in (s.name, s.full_name)]
    if not found:
        raise SceneError(f"scene {name!r} is not there; `nephoscope scenes list` tells what is")
    full_names = [scene.full_name for scene in found]
    if len(set(full_names)) < len(found):
        raise SceneError(
            f"scene {name!r} is ambiguous: it is in {_listed(s.path.parent for s in found)}; name "
            "one with --folder"
        )
    if len(found) > 1:
        raise SceneError(f"scene {name!r} is ambiguous; write one of {_listed(full_names)}")
    return found[0]


def _listed(names: Iterable[str | Path]) -> str:
    return ", ".join(map(str, names))


def _facts_of_collection(collection: SceneCollection) -> dict[str, Any]:
    def counts(values: Sequence[str]) -> str:
        return ", ".join(f"{value} {n}" for value, n in sorted(Counter(values).items()))

    scenes = collection.scenes
    return {
        "collection": collection.name,
        "scenes": len(scenes),
        "labels": counts([s.label for s in scenes]),
        "kinds": counts([s.kind for s in scenes]),
        "surfaces": counts([s.surface for s in scenes]),
        "folder": str(collection.folder),
    }


def _facts_of_scene(scene: Scene) -> dict[str, Any]:
    return {
        "name": scene.name,
        "surface": scene.surface,
        "cover": scene.cloud_fraction,
        "label": scene.label,
        "kind": scene.kind,
        "size_px": f"{scene.width_px} x {scene.height_px}",
        "gsd_m": scene.gsd_m,
        "level": scene.level,
        "split": scene.split,
        "date": scene.date,
    }


def _further_facts(scene: Scene) -> dict[str, Any]:
    return {
        "collection": scene.collection,
        "sensor": scene.sensor,
        "background": scene.background,
        "place": scene.place,
        "source": scene.source,
        "licence": scene.licence,
        "notes": scene.notes,
        "sha256": scene.sha256,
    }


def _table(facts: Sequence[dict[str, Any]], title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    for i, heading in enumerate(facts[0]):
        table.add_column(heading, overflow="fold", no_wrap=i == 0)
    for row in facts:
        table.add_row(*(_text(value) for value in row.values()))
    return table


def _text(value: object) -> str:
    """A manifest's value as a table shows it: brackets in it are text, not styles."""
    if value is None or value == "":
        return "-"
    return f"{value:g}" if isinstance(value, float) else escape(str(value))
