"""Reader of the public On Cloud N layout (DrivenData competition 83; Radiant Earth, CC BY 4.0).

The data as published::

    train_metadata.csv               chip_id, location, datetime, cloudpath
    train_features/<chip_id>/B02.tif B03.tif B04.tif B08.tif    uint16, 512 x 512, 10 m
    train_labels/<chip_id>.tif       uint8: 1 cloud, 0 clear

`import_chips` turns it into a scene collection, the one format that training, evaluation and
simulation read. Digital numbers of this Sentinel-2 L2A data are reflectance x 10000. Chips are
split by place: neighbours must not sit on both sides, be they labelled or not.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.scene_writer import SceneRow, write_collection, write_image, write_mask
from payload.scenes import NO_DATA
from payload.training.published_data import read_band, split_of, truth_where_seen

BAND_FILES: tuple[str, ...] = ("B02.tif", "B03.tif", "B04.tif", "B08.tif")
"""Files of blue, green, red and near infrared."""

FEATURES, LABELS, METADATA = "train_features", "train_labels", "train_metadata.csv"
GSD_M = 10.0


class OnCloudNError(ValueError):
    """The folder is not in the published layout; the message names what is missing."""


@dataclass(frozen=True)
class Chip:
    """One chip of the data set.

    Attributes
    ----------
    chip_id : str
    location : str
        Name of the place, as in the metadata; empty without metadata.
    datetime : str
    folder : Path
        Holds the four bands.
    label_path : Path or None
        None for test chips.
    """

    chip_id: str
    location: str
    datetime: str
    folder: Path
    label_path: Path | None

    def digital_number(self) -> NDArray[np.uint16]:
        """Reflectance x 10000 of blue, green, red and near infrared, shape (4, H, W).

        Raises
        ------
        OnCloudNError
            A band is missing, cannot be read, or differs in size from the others.
        """
        bands = [read_band(self.folder / name, OnCloudNError) for name in BAND_FILES]
        for name, band in zip(BAND_FILES, bands, strict=True):
            if band.shape != bands[0].shape:
                raise OnCloudNError(
                    f"{self.folder / name}: is {band.shape} px, {BAND_FILES[0]} is "
                    f"{bands[0].shape}; the chip is damaged, unpack it again"
                )
        return np.stack(bands).astype(np.uint16)

    def mask(self) -> NDArray[np.uint8] | None:
        """1 cloud, 0 clear, 255 elsewhere, shape (H, W); None for a chip without label.

        Raises
        ------
        OnCloudNError
            The label cannot be read, or is of another size than the chip.
        """
        if self.label_path is None:
            return None
        label = read_band(self.label_path, OnCloudNError)
        shape = read_band(self.folder / BAND_FILES[0], OnCloudNError).shape
        if label.shape != shape:
            raise OnCloudNError(
                f"{self.label_path}: is {label.shape} px, {BAND_FILES[0]} of the chip is {shape}; "
                "the label is damaged, unpack it again"
            )
        return np.where(np.isin(label, (0, 1)), label, NO_DATA).astype(np.uint8)


def read_chips(root: Path | str) -> Iterator[Chip]:
    """Chips of a published folder, in the order of their names.

    Parameters
    ----------
    root : path
        Holds ``train_features`` and, for labelled data, ``train_labels`` and the metadata.

    Raises
    ------
    OnCloudNError
        There is no ``train_features`` folder, it holds no chip, or the metadata name none.
    """
    root = Path(root)
    features = root / FEATURES
    folders = sorted(path for path in features.glob("*") if path.is_dir())
    if not folders:
        raise OnCloudNError(
            f"{features}: holds no chips; unpack the competition's data so that "
            f"{FEATURES}/<chip>/{BAND_FILES[0]} exists"
        )
    metadata = _metadata(root / METADATA)
    for folder in folders:
        row = metadata.get(folder.name, {})
        label_path = root / LABELS / f"{folder.name}.tif"
        yield Chip(
            chip_id=folder.name,
            location=row.get("location", ""),
            datetime=row.get("datetime", ""),
            folder=folder,
            label_path=label_path if label_path.is_file() else None,
        )


def import_chips(root: Path | str, target: Path) -> int:
    """Write the chips as a scene collection.

    Parameters
    ----------
    root : path
        The published folder.
    target : Path
        Folder of the new collection.

    Returns
    -------
    int
        Number of scenes written.

    Raises
    ------
    OnCloudNError
        As `read_chips` and `Chip.digital_number`; or the place of a labelled chip is not known.
    """
    chips = tuple(read_chips(root))
    for chip in chips:
        _check_place(chip, root)
    rows = []
    for chip in chips:
        image = chip.digital_number()
        label = chip.mask()
        mask = None if label is None else truth_where_seen(label, image)
        write_image(target / f"{chip.chip_id}.tif", image)
        if mask is not None:
            write_mask(target / f"{chip.chip_id}.mask.tif", mask)
        rows.append(
            SceneRow.of(
                name=chip.chip_id,
                sensor="Sentinel-2 MSI",
                level="L2A",
                gsd_m=GSD_M,
                image=image,
                mask=mask,
                label="human",
                split=_split(chip),
                place=chip.location,
                date=chip.datetime,
                source="Sentinel-2 Cloud Cover Segmentation (On Cloud N), doi 10.34911/rdnt.hfq6m7",
                licence="CC BY 4.0",
            )
        )
    write_collection(target, rows)
    return len(rows)


def _check_place(chip: Chip, root: Path | str) -> None:
    if chip.label_path is not None and not chip.location:
        raise OnCloudNError(
            f"{Path(root) / METADATA}: gives no location for chip {chip.chip_id}, so it cannot be "
            f"kept from being validated on beside its neighbours; take the {METADATA} that the "
            "data came with"
        )


def _split(chip: Chip) -> str:
    """Split of a chip's place; without a label nothing is validated, and train is unlabelled."""
    split = split_of(chip.location or chip.chip_id)
    return "unlabelled" if split == "train" and chip.label_path is None else split


def _metadata(path: Path) -> Mapping[str, Mapping[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        if "chip_id" not in (rows.fieldnames or ()):
            raise OnCloudNError(
                f"{path}: has no column chip_id; take the {METADATA} that the data came with"
            )
        return {row["chip_id"]: row for row in rows}
