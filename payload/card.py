"""The model card: everything the payload must know to fly a cloud model, in one small YAML file.

A card `<name>.yaml` lies beside its ONNX file. With the house contract (below) a card is mostly
a record: what the model is, what it costs, how good it was measured to be. For a foreign ONNX,
the optional groups `input` and `output` say how to feed it and how to read it; nothing else is
needed to fly it.

House contract: input `reflectance` float32 N x 4 x H x W (blue, green, red, nir; reflectance 0..1
and above; H and W multiples of 32), output `cloud_probability` float32 N x 1 x H x W with 0.5 the
operating point; normalisation inside the graph.

The format, with every field (those marked * must be given)::

    name: unet-distilled              # * equals the file's stem
    description: One sentence.        # *
    onnx: unet-distilled.onnx         # * file beside the card ...
    package: ukis_csmask              #   ... or inside this installed Python package
    sha256: 0f3a...                   # * of the ONNX file, checked when the model is opened; it
                                      #   says nothing of weights in a file beside it: keep them
                                      #   inside
    bytes: 492134                     # * size of the ONNX file
    parameters: 122113                # * trained weights
    macs_per_px: 2300.5               # * multiply-accumulates per pixel of a full tile
    precision: fp32                   # * fp32 | int8
    tile_px: 512                      #   largest edge given to the graph at once (default 512)
    peak_memory_mib: 96.4             #   peak resident memory of a fresh process that opens the
                                      #   model and detects one 512 px tile at one thread
    peak_memory_provenance: measured  #   measured | modelled | declared
    peak_memory_host: AMD EPYC, ...   #   where, with which ONNX Runtime
    training_data: What it learnt from.                         # *
    licence: Apache-2.0                                         # *
    provenance: Which script made it from what, with which seed. # *
    notes: Anything else; what it is bad at.
    jaccard:                          # sum of intersections / sum of unions where pooled
      - data_set: l8biome             # *
        split: val                    # *
        label: human                  # * kind of label: human | s2cloudless | scl | composite ...
        protocol: pooled over 5 patches of 256 px, threshold 0.5, thin cloud is cloud   # *
        value: 0.885                  # *
        ci95: [0.81, 0.93]            #   bootstrap over patches
    measurements: {}                  # free-form record of what `models profile` measured
    input:                            # foreign ONNX only
      name: input                     # default reflectance
      layout: NCHW                    # NCHW | NHWC
      bands: [blue, green, red, nir]  # order the graph wants; a subset is allowed
      scale: 1.0                      # x = (reflectance * scale + offset - mean) / std
      offset: 0.0
      mean: [0.0, 0.0, 0.0, 0.0]      # per band, in the order of `bands`
      std: [1.0, 1.0, 1.0, 1.0]
      multiple_px: 32                 # edges are padded to a multiple of this;
                                      # equal to tile_px for a graph of fixed size
    output:                           # foreign ONNX only
      name: output                    # default cloud_probability
      channels: 3                     # how many the graph gives
      cloud_channels: [1]             # those that mean cloud; their probabilities are summed
      activation: softmax             # softmax | sigmoid | argmax | none: what turns channels
                                      # into probability; argmax: cloud where a cloud channel is
                                      # the largest, graded by its lead over the best other one
      threshold: 0.5                  # probability that is mapped to the operating point 0.5
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from payload.fields import Fields, nearest, read_mapping
from payload.frame import BANDS, TILE_PX, Provenance
from payload.whole_file import finished_or_nothing

MODELS_DIR = Path(__file__).parent / "models"
"""Where the committed models and their cards lie."""

Precision = Literal["fp32", "int8"]
Layout = Literal["NCHW", "NHWC"]
Activation = Literal["softmax", "sigmoid", "argmax", "none"]


class ModelError(ValueError):
    """A model cannot be used: its card, its file or its graph is not what it must be."""


@dataclass(frozen=True)
class JaccardRecord:
    """How well a model did on one data set, never without saying how that was measured."""

    data_set: str
    split: str
    label: str
    protocol: str
    value: float
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class InputSpec:
    """How to feed the graph: x = (reflectance * scale + offset - mean) / std, per band."""

    name: str = "reflectance"
    layout: Layout = "NCHW"
    bands: tuple[str, ...] = BANDS
    scale: float = 1.0
    offset: float = 0.0
    mean: tuple[float, ...] = (0.0,) * len(BANDS)
    std: tuple[float, ...] = (1.0,) * len(BANDS)
    multiple_px: int = 32


@dataclass(frozen=True)
class OutputSpec:
    """How to read cloud from what the graph gives."""

    name: str = "cloud_probability"
    channels: int = 1
    cloud_channels: tuple[int, ...] = (0,)
    activation: Activation = "none"
    threshold: float = 0.5


@dataclass(frozen=True)
class ModelCard:
    """A cloud model as the payload knows it. The fields are those of the module's format.

    `folder` is where the card was read from; it is not part of the file.
    """

    name: str
    description: str
    onnx: str
    sha256: str
    bytes: int
    parameters: int
    macs_per_px: float
    precision: Precision
    training_data: str
    licence: str
    provenance: str
    package: str = ""
    tile_px: int = TILE_PX
    peak_memory_mib: float | None = None
    peak_memory_provenance: Provenance = "measured"
    peak_memory_host: str = ""
    notes: str = ""
    jaccard: tuple[JaccardRecord, ...] = ()
    measurements: dict[str, Any] = field(default_factory=dict)
    input: InputSpec = InputSpec()
    output: OutputSpec = OutputSpec()
    folder: Path = MODELS_DIR

    @property
    def path(self) -> Path:
        """The card's own file."""
        return self.folder / f"{self.name}.yaml"

    @property
    def onnx_path(self) -> Path:
        """The ONNX file: beside the card, inside the installed package, or in the user's cache.

        The cache is where a model too large to commit lies, such as the teacher.

        Raises
        ------
        ModelError
            The package is not installed, or the file is not there.
        """
        folder = package_folder(self.package, self.name) if self.package else self.folder
        for path in (folder / self.onnx, cache_dir() / self.onnx):
            if path.is_file():
                return path
        raise ModelError(
            f"model {self.name!r}: the ONNX file {folder / self.onnx} does not exist, nor is it in "
            f"{cache_dir()}; make it again as the card's provenance says"
        )

    @property
    def foreign(self) -> bool:
        """Whether the graph departs from the house contract."""
        return self.input != InputSpec() or self.output != OutputSpec()

    def computed_px(self, edge_px: int) -> int:
        """Pixels that go through the graph for a square of that edge.

        More than the square has where it is cut into windows that need padding: a graph of fixed
        384 px sees a tile of 512 px as four windows.
        """
        whole, rest = divmod(edge_px, self.tile_px)
        padded_px = whole * self.tile_px + rest + -rest % self.input.multiple_px
        return padded_px**2


def cache_dir() -> Path:
    """Where a user's own models are looked for: `$XDG_CACHE_HOME/nephoscope/models`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "nephoscope" / "models"


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


def package_folder(package: str, model: str) -> Path:
    """Folder of an installed Python package, found without importing it.

    Raises
    ------
    ModelError
        It is not installed; `model` is who needs it.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # of a parent that is not there, or a name that is none
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {model!r}: its ONNX file ships in the Python package {package!r}, "
            f"which is not installed; install it with: pip install 'nephoscope[peers]'"
        )
    return Path(spec.submodule_search_locations[0])


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
