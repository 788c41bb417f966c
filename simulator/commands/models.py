"""`nephoscope models`: list, evaluate, profile and show cloud models.

Models are named by their cards; figures come from cards or are measured now. The work is done in
`payload.training.evaluation`, `case_pictures` and `profiling`, which need neither torch nor the
extra ``train``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress

from payload.card import ModelCard, ModelError
from payload.card_file import save_card
from payload.card_library import list_cards, load_card
from payload.model import CloudModel
from payload.scenes import Scene, read_scenes
from payload.training import evaluation, profiling
from payload.training.case_pictures import draw_cases, worst_and_best
from payload.training.evaluation import Evaluation, EvaluationError
from simulator.commands import model_tables
from simulator.commands.display import print_uncut, refuse

app = typer.Typer(help="List, evaluate, profile and show cloud models.", no_args_is_help=True)

SCENES_VARIABLE = "NEPHOSCOPE_SCENES"
CASES_EACH = 4

NameArgument = Annotated[str, typer.Argument(help="Name of a model, or path of its card.")]
NamesArgument = Annotated[list[str], typer.Argument(help="Names of models, or paths of cards.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
RecordOption = Annotated[
    bool, typer.Option("--record", help="Write what was found into the model's card.")
]


@app.command("list")
def list_models(
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option(help="Print the table as Markdown.")] = False,
) -> None:
    """All models that have a card, with what the cards say."""
    cards = list_cards(lambda why: refuse(f"{why}; until it is mended this card is left out"))
    if as_json:
        print(json.dumps([_card_as_plain(card) for card in cards], indent=2, default=str))
        return
    if markdown:
        print(model_tables.cards_markdown(cards))
        return
    print_uncut(model_tables.cards_table(cards))
    print("All scores of a model: nephoscope models card NAME")
    if away := ", ".join(card.name for card in cards if not card.is_here):
        print(f"By card only, the ONNX file is not on this machine: {away}")


@app.command()
def evaluate(
    names: NamesArgument,
    scenes: Annotated[
        Path | None,
        typer.Option(help=f"Folder of scene collections; default: ${SCENES_VARIABLE}."),
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="Only this collection; repeat for more.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the scenes, or `any`.")] = "val",
    pictures: Annotated[
        Path | None,
        typer.Option(help="Write the best and worst cases of the first model to this PNG."),
    ] = None,
    record: RecordOption = False,
    threads: Annotated[int, typer.Option(help="Processor threads.", min=1)] = 2,
    as_json: JsonOption = False,
) -> None:
    """Score models on labelled scenes, human and machine-made labels apart.

    Several models are compared on the same patches, each with the first.
    """
    cards = _cards(names)
    if pictures is not None and pictures.suffix.lower() != ".png":
        raise EvaluationError(f"--pictures is {pictures}, expected the name of a .png file")
    chosen = evaluation.select_scenes(
        read_scenes(_scenes_root(scenes)), None if split == "any" else split, collection or ()
    )
    # All are opened first: the last must not be found missing after the others have worked.
    models = [CloudModel(card, threads=threads) for card in cards]
    with Progress(transient=True, disable=as_json) as progress:
        results = [_evaluated(model, chosen, progress) for model in models]
    if record:
        for card, result in zip(cards, results, strict=True):
            _record_jaccard(card, result, split, whole=not collection)
    if pictures is not None:
        pictures.parent.mkdir(parents=True, exist_ok=True)
        draw_cases(worst_and_best(results[0].patches, CASES_EACH), pictures)
    if len(results) == 1:
        (result,) = results
        if as_json:
            print(json.dumps(evaluation.as_plain(result), indent=2))
        else:
            for table in model_tables.evaluation_tables(result, split):
                print_uncut(table)
        return
    differences = model_tables.differences_to_first(results)
    if as_json:
        print(json.dumps(model_tables.as_plain(results, differences), indent=2))
    else:
        for table in model_tables.comparison_tables(results, differences, split):
            print_uncut(table)


def _evaluated(model: CloudModel, scenes: Sequence[Scene], progress: Progress) -> Evaluation:
    task = progress.add_task(f"evaluating {escape(model.card.name)}", total=len(scenes))
    return evaluation.evaluate(
        model, scenes, lambda done, _all: progress.update(task, completed=done)
    )


@app.command()
def profile(
    names: NamesArgument,
    rounds: Annotated[int, typer.Option(help="Runs of each model per thread number.", min=1)] = (
        profiling.ROUNDS
    ),
    s2cloudless: Annotated[
        bool, typer.Option("--s2cloudless", help="Time the peer s2cloudless as well.")
    ] = False,
    record: RecordOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure models on this machine: latency, speed, memory. Several are run in turn."""
    cards = _cards(names)
    peers = {"s2cloudless": profiling.s2cloudless_work()} if s2cloudless else {}
    profiles, peer_latency = profiling.profile_beside(cards, peers, rounds)
    if record:
        for card, measured in zip(cards, profiles, strict=True):
            save_card(profiling.recorded(card, measured), card.path)
    if as_json:
        plain = {p.model: profiling.as_plain(p) for p in profiles}
        plain.update((name, dataclasses.asdict(found)) for name, found in peer_latency.items())
        print(json.dumps(plain, indent=2))
        return
    _print_profiles(profiles, peer_latency)


@app.command()
def card(name: NameArgument) -> None:
    """Print a model's card as it is on disk."""
    found = load_card(name)
    print(found.path.read_text(encoding="utf-8"), end="")


def _cards(names: Sequence[str]) -> list[ModelCard]:
    """The models named; results are told apart by name, so no two may share one."""
    cards: dict[str, ModelCard] = {}
    for card in map(load_card, names):
        if card.name in cards:
            raise ModelError(
                f"model {card.name!r} is named twice ({cards[card.name].path} and {card.path}); "
                "name it once, or copy one card and its ONNX file under another name"
            )
        cards[card.name] = card
    return list(cards.values())


def _scenes_root(given: Path | None) -> Path:
    named = given or os.environ.get(SCENES_VARIABLE)
    if not named:
        raise EvaluationError(
            f"--scenes is not given and {SCENES_VARIABLE} is not set; name a folder of labelled "
            "scene collections"
        )
    return Path(named)


def _card_as_plain(card: ModelCard) -> dict[str, object]:
    plain = dataclasses.asdict(card)
    plain["folder"] = str(card.folder)
    return plain


def _record_jaccard(card: ModelCard, result: Evaluation, split: str, whole: bool) -> None:
    """Replace what the card said of the same data sets, split and protocol; keep the rest.

    A score of some collections only is no score of all together, and is not recorded as such.
    """
    found = evaluation.jaccard_records(result, split)
    new = [record for record in found if whole or record.data_set != evaluation.ALL]
    replaced = {(r.data_set, r.split, r.label, r.protocol) for r in new}
    kept = [r for r in card.jaccard if (r.data_set, r.split, r.label, r.protocol) not in replaced]
    updated = dataclasses.replace(card, jaccard=(*kept, *new))
    save_card(updated, card.path)


def _print_profiles(profiles: list[profiling.Profile], peers: dict[str, profiling.Latency]) -> None:
    print_uncut(model_tables.profile_table(profiles))
    for name, latency in peers.items():
        print(
            f"{name}, all threads: {1000 * latency.least_s:.0f} ms, "
            f"{1000 * latency.processor_s:.0f} ms of processor time"
        )
