"""A committed student, rebuilt from its card's command: the same file, the same figures?

Run from the repository's root (needs the extras ``train`` and ``peers``)::

    python tests/evidence/student_rebuild.py --scenes "$NEPHOSCOPE_SCENES" [--model unet-distilled]
        [--fresh-labels]

Runs the command in the card's provenance under another name, into a cache of its own, then scores
both students, fp32 and INT8, on the val patches a person labelled. Prints minutes, both SHA-256
and both Jaccards. ``--fresh-labels`` also has the peers make their labels and views again, as on a
machine that never did. The committed students stay as they are.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from payload.card import ModelCard
from payload.card_file import read_card
from payload.card_library import load_card
from payload.model import CloudModel
from payload.scenes import read_scenes
from payload.training.evaluation import ALL, evaluate, select_scenes
from payload.training.publication import INT8_SUFFIX
from payload.training.teacher import PSEUDO_LABELS, training_folder
from payload.training.views import VIEWS

REBUILT = "rebuilt"
REPORTED_DECIMALS = 3


def main(arguments: list[str] | None = None) -> int:
    """Rebuild, score and compare; 0 when every reported figure is the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True, help="folder of scene collections")
    parser.add_argument("--model", default="unet-distilled")
    parser.add_argument("--fresh-labels", action="store_true")
    asked = parser.parse_args(arguments)
    committed = [load_card(asked.model + suffix) for suffix in ("", INT8_SUFFIX)]
    with tempfile.TemporaryDirectory() as cache:
        if not asked.fresh_labels:
            _borrow_labels(Path(cache))
        began = time.perf_counter()
        _train(committed[0], asked.scenes, Path(cache))
        print(f"rebuilt in {(time.perf_counter() - began) / 60:.1f} min")
        folder = Path(cache) / "nephoscope" / "models"
        rebuilt = [read_card(folder / f"{REBUILT}{s}.yaml") for s in ("", INT8_SUFFIX)]
        return _compare(committed, rebuilt, asked.scenes)


def _borrow_labels(cache: Path) -> None:
    folder = cache / "nephoscope" / "training"
    folder.mkdir(parents=True)
    for name in (PSEUDO_LABELS, VIEWS):
        if (training_folder() / name).is_file():
            shutil.copy(training_folder() / name, folder / name)


def _train(card: ModelCard, scenes: Path, cache: Path) -> None:
    command = [*shlex.split(card.provenance), "--name", REBUILT, "--scenes", str(scenes)]
    print(shlex.join(command), flush=True)
    subprocess.run(command, check=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)})


def _compare(committed: list[ModelCard], rebuilt: list[ModelCard], root: Path) -> int:
    scenes = [s for s in select_scenes(read_scenes(root), "val") if s.label == "human"]
    same = True
    for before, after in zip(committed, rebuilt, strict=True):
        scores = [
            evaluate(CloudModel(card), scenes).group("human", ALL).figures["jaccard"].value
            for card in (before, after)
        ]
        print(f"{before.name}: Jaccard {scores[0]:.6f} committed, {scores[1]:.6f} rebuilt")
        print(f"  SHA-256 {before.sha256}\n          {after.sha256}")
        same &= round(scores[0], REPORTED_DECIMALS) == round(scores[1], REPORTED_DECIMALS)
    print("the same figures" if same else "OTHER figures")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
