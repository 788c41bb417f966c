"""ukis-csmask, a peer of the students, flown as a foreign ONNX by its card alone.

The package (extra `peers`, Apache-2.0, German Aerospace Center) ships its networks as ONNX inside
the wheel: U-Nets with an EfficientNet-B4 encoder, 19.5 M parameters, fixed tiles of 256 px, three
classes (background, cloud, cloud shadow), input normalised by the mean and standard deviation of
each band that lie beside the ONNX file. The cards name the file inside the installed package;
nothing of it is copied here.

The class is the largest of the three channels, as in the package. The package itself runs
overlapping tiles and blends them; on board a 512 px tile is cut into four without overlap. On the
labelled patches that moves the pooled Jaccard by up to 0.04, in either direction.

Reference: Wieland, Li, Martinis: Multi-sensor cloud and cloud shadow segmentation with a
convolutional neural network, Remote Sensing of Environment 230 (2019).

``python -m payload.baselines.ukis`` writes the cards again from the installed package.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Literal

from payload.baselines.complexity import macs_per_px, parameters
from payload.card import MODELS_DIR, InputSpec, ModelCard, OutputSpec, package_folder
from payload.card_file import save_unless_same
from payload.model import file_sha256

PACKAGE = "ukis_csmask"
CLASSES = ("background", "cloud", "cloud shadow")

Level = Literal["l1c", "l2a"]

LEVEL_MEANING = {
    "l1c": "top-of-atmosphere reflectance",
    "l2a": "surface reflectance",
}


def describe(level: Level, folder: Path = MODELS_DIR) -> ModelCard:
    """The card of the 4-band network for a product level, without what must be measured.

    Parameters
    ----------
    level : {"l1c", "l2a"}
        Top-of-atmosphere or surface reflectance.
    folder : Path
        Where the card is to lie.

    Raises
    ------
    ModelError
        The package ukis-csmask is not installed.
    """
    name = f"ukis-csmask-{level}"
    onnx = package_folder(PACKAGE, name) / f"model_4b_{level}.onnx"
    data = json.loads(onnx.with_suffix(".json").read_text(encoding="utf-8"))["data"]
    mean, std = data["dataset_statistics"]["img"]
    tile_px = data["target_size"][0]
    return ModelCard(
        name=name,
        description=f"Peer: ukis-csmask, 4 bands, for {LEVEL_MEANING[level]}.",
        onnx=onnx.name,
        package=PACKAGE,
        sha256=file_sha256(onnx),
        bytes=onnx.stat().st_size,
        parameters=parameters(onnx),
        macs_per_px=macs_per_px(onnx, tile_px),
        precision="fp32",
        tile_px=tile_px,
        training_data=(
            "by its authors: Sentinel-2 and Landsat-5, -7, -8, -9 scenes with cloud and shadow "
            "masks; see the ukis-csmask project"
        ),
        licence="Apache-2.0 (German Aerospace Center)",
        provenance=(
            f"ships in the Python package ukis-csmask {importlib.metadata.version('ukis-csmask')}; "
            "card written by python -m payload.baselines.ukis"
        ),
        notes=(
            "Cloud shadow is not cloud. Tiles of 256 px without overlap; the package overlaps "
            "and blends. Trained at about 30 m."
        ),
        input=InputSpec(
            name="input",
            bands=tuple(data["dataset_statistics"]["band_names"]),
            mean=tuple(mean),
            std=tuple(std),
            multiple_px=tile_px,
        ),
        output=OutputSpec(
            name="output",
            channels=len(CLASSES),
            cloud_channels=(CLASSES.index("cloud"),),
            activation="argmax",
        ),
        folder=folder,
    )


def main(folder: Path = MODELS_DIR) -> None:
    """Write both cards, where the installed files are other than the cards'."""
    save_unless_same(describe("l1c", folder))
    save_unless_same(describe("l2a", folder))


if __name__ == "__main__":
    main()
