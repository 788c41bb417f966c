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

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from payload.frame import BANDS, TILE_PX, Provenance

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
    def is_here(self) -> bool:
        """Whether the network that the card describes can be opened on this machine."""
        try:
            return self.onnx_path.is_file()
        except ModelError:
            return False

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
