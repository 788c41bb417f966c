"""What the spacecraft does with a frame's data: region, compression, preview, shares of memory.

The policy says which frames and blocks are worth keeping (`autonomy`); this section says how what
is kept is stored and sent. Everything is off by default.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.scenario.problems import rejected
from simulator.scenario.spacecraft import Fraction, Section

LARGEST_JPEG2000_BITS = 16
"""Deepest samples GDAL's JP2OpenJPEG driver stores without loss as unsigned integers."""


class StorageQuota(Section):
    """A share of the memory that targets up to a priority may fill together."""

    max_priority: float = Field(gt=0, le=100)
    """The quota holds for targets of this priority and below."""
    fraction: Fraction
    """Their captures and products together hold at most this share of `storage_gib`."""

    def holds_for(self, priority: float) -> bool:
        """Whether captures of a target of that priority count."""
        return priority <= self.max_priority


class DataHandling(Section):
    """How what the policy keeps is stored and sent."""

    region_of_interest_km: (
        tuple[Annotated[float, Field(gt=0, le=10_000)], Annotated[float, Field(gt=0, le=10_000)]]
        | None
    ) = None
    """Along and across track, centred on the target: the 256 px blocks it touches are cropped out
    of the frame, and only they are judged, kept and sent; the whole frame when left out."""
    compression: Literal["none", "jpeg2000"] = "none"
    """jpeg2000: each kept block is really compressed without loss, and costs those bytes."""
    preview: Literal["none", "mask", "thumbnail"] = "none"
    """mask, thumbnail: this goes down first and the pixels stay on board until the ground asks for
    them. A frame without a mask sends its pixels at once where masks are asked for."""
    thumbnail_px: int = Field(default=128, ge=16, le=1024)
    """Longest edge of a thumbnail."""
    request_max_cloud_fraction: Fraction = 0.5
    """The ground asks for pixels whose preview shows no more than this part of the region not
    clear; the others are released."""
    request_delay_h: float = Field(default=1, ge=0, le=8784)
    """From a preview's pass to the ground's answer ready for uplink, hours."""
    storage_quotas: tuple[StorageQuota, ...] = ()
    """Shares of the memory by priority, such as [{max_priority: 1, fraction: 0.5}]."""

    @model_validator(mode="after")
    def _quotas_nest(self) -> Self:
        levels = [quota.max_priority for quota in self.storage_quotas]
        if levels != sorted(set(levels)):
            raise rejected(
                f"the priorities {levels} do not rise from row to row",
                field="storage_quotas",
                remedy="sort the rows by max_priority and give each priority once",
            )
        return self
