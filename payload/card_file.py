"""Card files: YAML in, a checked `ModelCard` out, and back.

The format is at the top of `payload.card`. Whatever is missing, unknown or contradicts itself is
refused by the name of its field; a card that is written is there whole or not at all.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, cast

import yaml

from payload.card import (
    Activation,
    InputSpec,
    JaccardRecord,
    Layout,
    ModelCard,
    ModelError,
    OutputSpec,
    Precision,
)
from payload.fields import Fields, nearest, read_mapping
from payload.frame import BANDS, TILE_PX, Provenance
from payload.whole_file import finished_or_nothing


def read_card(path: Path) -> ModelCard:
    """Read one card file.

    Raises
    ------
    ModelError
        A field is missing, unknown or wrong.
    """
    fields = Fields(read_mapping(path, ModelError), str(path), ModelError)
    card = ModelCard(
        name=fields.text("name"),
        description=fields.text("description"),
        onnx=fields.text("onnx"),
        sha256=fields.sha256("sha256"),
        bytes=fields.count("bytes"),
        parameters=fields.count("parameters"),
        macs_per_px=fields.at_least("macs_per_px", 0),
        precision=cast("Precision", fields.choice("precision", ("fp32", "int8"))),
        training_data=fields.text("training_data"),
        licence=fields.text("licence"),
        provenance=fields.text("provenance"),
        package=fields.text("package", ""),
        tile_px=fields.count("tile_px", TILE_PX, minimum=1),
        peak_memory_mib=fields.optional_number("peak_memory_mib", above=0),
        peak_memory_provenance=_provenance(fields, "peak_memory_provenance"),
        peak_memory_host=fields.text("peak_memory_host", ""),
        notes=fields.text("notes", ""),
        jaccard=tuple(_read_jaccard(item) for item in fields.groups("jaccard")),
        measurements=_read_measurements(fields),
        input=_read_input(fields.group("input")),
        output=_read_output(fields.group("output")),
        folder=path.parent,
    )
    fields.finish()
    if card.name != path.stem:
        raise ModelError(f"{path}: name is {card.name!r}, expected the file's stem {path.stem!r}")
    if card.path != path:
        raise ModelError(f"{path}: a card's file ends in .yaml; rename it {card.path.name}")
    if card.tile_px % card.input.multiple_px:
        raise ModelError(
            f"{path}: tile_px is {card.tile_px}, expected a multiple of input.multiple_px "
            f"({card.input.multiple_px})"
        )
    return card


def save_card(card: ModelCard, path: str | Path) -> None:
    """Write a card; `read_card` gives it back. Groups and fields at their defaults are left out.

    An interrupted write leaves the card that was there.
    """
    content = dataclasses.asdict(card)
    del content["folder"]
    defaults = {f.name: f.default for f in dataclasses.fields(ModelCard)}
    for name in ("package", "peak_memory_host", "notes", "peak_memory_mib"):
        if content[name] == defaults[name]:
            del content[name]
    if card.peak_memory_mib is None:
        del content["peak_memory_provenance"]
    for name in ("jaccard", "measurements"):
        if not content[name]:
            del content[name]
    if not card.foreign:
        del content["input"], content["output"]
    text = yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True, width=96)
    with finished_or_nothing(Path(path)) as file:
        file.write(text.encode("utf-8"))


def save_unless_same(card: ModelCard) -> None:
    """Write a new card where none describes this very ONNX file.

    A card that does keeps what has been measured of the file since.
    """
    if not card.path.is_file() or read_card(card.path).sha256 != card.sha256:
        save_card(card, card.path)


def _provenance(fields: Fields, name: str) -> Provenance:
    valid = ("measured", "modelled", "declared")
    return cast("Provenance", fields.choice(name, valid, "measured"))


def _read_jaccard(fields: Fields) -> JaccardRecord:
    ci95 = fields.numbers("ci95", ())
    if len(ci95) not in (0, 2):
        raise ModelError(f"{fields.where}: ci95 is {list(ci95)}, expected [low, high]")
    record = JaccardRecord(
        data_set=fields.text("data_set"),
        split=fields.text("split"),
        label=fields.text("label"),
        protocol=fields.text("protocol"),
        value=fields.at_least("value", 0),
        ci95=(ci95[0], ci95[1]) if ci95 else None,
    )
    fields.finish()
    return record


def _read_measurements(fields: Fields) -> dict[str, Any]:
    value = fields.skip("measurements")
    if value is not None and not isinstance(value, dict):
        raise ModelError(f"{fields.where}: measurements is {value!r}, expected a mapping")
    return dict(value or {})


def _read_input(fields: Fields | None) -> InputSpec:
    if fields is None:
        return InputSpec()
    house = InputSpec()
    bands = fields.texts("bands", house.bands)
    if not bands:
        raise ModelError(f"{fields.where}: bands is [], expected some of {', '.join(BANDS)}")
    for band in bands:
        if band not in BANDS:
            raise ModelError(f"{fields.where}: bands has {band!r}; {nearest(band, BANDS)}")
    spec = InputSpec(
        name=fields.text("name", house.name),
        layout=cast("Layout", fields.choice("layout", ("NCHW", "NHWC"), house.layout)),
        bands=bands,
        scale=fields.number("scale", house.scale),
        offset=fields.number("offset", house.offset),
        mean=fields.numbers("mean", (0.0,) * len(bands)),
        std=fields.numbers("std", (1.0,) * len(bands)),
        multiple_px=fields.count("multiple_px", house.multiple_px, minimum=1),
    )
    fields.finish()
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) != len(bands):
            raise ModelError(
                f"{fields.where}: {name} has {len(values)} values, expected one for each of the "
                f"{len(bands)} bands"
            )
    if min(spec.std) <= 0:
        raise ModelError(f"{fields.where}: std is {list(spec.std)}, expected values above 0")
    return spec


def _read_output(fields: Fields | None) -> OutputSpec:
    if fields is None:
        return OutputSpec()
    house = OutputSpec()
    activations = ("softmax", "sigmoid", "argmax", "none")
    spec = OutputSpec(
        name=fields.text("name", house.name),
        channels=fields.count("channels", house.channels, minimum=1),
        cloud_channels=fields.counts("cloud_channels", house.cloud_channels),
        activation=cast("Activation", fields.choice("activation", activations, house.activation)),
        threshold=fields.number("threshold", house.threshold),
    )
    fields.finish()
    if not spec.cloud_channels or max(spec.cloud_channels) >= spec.channels:
        raise ModelError(
            f"{fields.where}: cloud_channels is {list(spec.cloud_channels)}, expected at least "
            f"one channel between 0 and {spec.channels - 1}"
        )
    if len(set(spec.cloud_channels)) < len(spec.cloud_channels):
        raise ModelError(
            f"{fields.where}: cloud_channels is {list(spec.cloud_channels)}, expected each channel "
            f"once: their probabilities are summed"
        )
    if spec.activation == "argmax" and len(set(spec.cloud_channels)) >= spec.channels:
        raise ModelError(
            f"{fields.where}: activation is 'argmax' but all {spec.channels} channels mean cloud, "
            f"expected another one to hold them against"
        )
    if not 0 < spec.threshold < 1:
        raise ModelError(
            f"{fields.where}: threshold is {spec.threshold:g}, expected a probability between "
            f"0 and 1"
        )
    return spec


def _plain(value: Any) -> Any:
    """Tuples as lists and NumPy scalars as numbers, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ModelError(f"a card cannot hold the value {value}")
    return value
