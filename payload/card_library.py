"""Which models there are: the committed cards, and the user's own in the cache, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from payload.card import MODELS_DIR, ModelCard, ModelError, cache_dir
from payload.card_file import read_card
from payload.fields import nearest


def card_paths() -> dict[str, Path]:
    """Every card that has a name: the committed ones, then the user's.

    A committed card wins, unless its ONNX file is too large to be beside it and the user has made
    the model anew: the user's card then knows the user's file.
    """
    found = {path.stem: path for path in sorted(MODELS_DIR.glob("*.yaml"))}
    for path in sorted(cache_dir().glob("*.yaml")):
        if path.stem not in found or not found[path.stem].with_suffix(".onnx").is_file():
            found[path.stem] = path
    return found


def list_cards(broken: Callable[[ModelError], None] | None = None) -> tuple[ModelCard, ...]:
    """All cards that can be named, in the order of their names.

    Parameters
    ----------
    broken : callable, optional
        Is told why a card cannot be read, which is then left out and hides no other.

    Raises
    ------
    ModelError
        A card cannot be read, and nobody is to be told.
    """
    cards = []
    for _, path in sorted(card_paths().items()):
        try:
            cards.append(read_card(path))
        except ModelError as error:
            if broken is None:
                raise
            broken(error)
    return tuple(cards)


def load_card(name_or_path: str | Path) -> ModelCard:
    """The card of a model.

    Parameters
    ----------
    name_or_path : str or Path
        A name among `card_paths`, or the path of a card (or of an ONNX file with its card
        beside it).

    Raises
    ------
    ModelError
        No such model (the nearest name is given), or the card is wrong (field and reason).
    """
    text = str(name_or_path)
    path = Path(text)
    if path.suffix == ".onnx":
        path = path.with_suffix(".yaml")
    if path.suffix in (".yaml", ".yml") or path.parent != Path():
        if not path.is_file():
            raise ModelError(
                f"model {text!r}: there is no card {path}; a model flies by its card "
                f"(format: top of payload/card.py)"
            )
        return read_card(path)
    paths = card_paths()
    if text not in paths:
        raise ModelError(f"unknown model {text!r}; {nearest(text, paths)}, or the path of a card")
    return read_card(paths[text])
