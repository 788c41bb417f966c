"""One visual language: a thing has one colour and one name on every page.

The colours are those of Okabe and Ito (2008), which people with any common colour blindness tell
apart, without its black and yellow, which vanish on dark and on white paper. Loss of any kind
(dropped, failed) is vermillion, gain (clear ground, sunlight kept) green and blue.
"""

from __future__ import annotations

from plotly.colors import sample_colorscale

CLEAR = "#009E73"
CLOUDY = "#8C929C"
DROPPED = "#D55E00"
DELIVERED = "#0072B2"
STORED = "#56B4E9"
WAITING = "#E69F00"
REACQUIRED = "#CC79A7"
FAULT = DROPPED
MISSED_CLOUD = REACQUIRED

NEUTRAL = "rgba(128, 136, 150, 0.75)"
FAINT = "rgba(128, 136, 150, 0.28)"
NIGHT = "rgba(96, 122, 196, 0.34)"

TOO_LATE = "came too late"
"""A state that only targets with a deadline have."""

TARGET_STATES = {
    "waiting": WAITING,
    "cloudy": CLOUDY,
    "reacquired": REACQUIRED,
    "stored clear": STORED,
    "delivered clear": DELIVERED,
    TOO_LATE: DROPPED,
}
"""What became of a target, in the order of a target's life."""

TARGET_MEANINGS = {
    "waiting": "not imaged yet",
    "cloudy": "imaged once, too cloudy or lost",
    "reacquired": "imaged again, still too cloudy or lost",
    "stored clear": "a clear image waits on board",
    "delivered clear": "a clear image is on the ground",
    TOO_LATE: "a clear image came down after the deadline",
}

ACTIONS = {"keep": CLEAR, "prune": STORED, "drop": DROPPED}
"""What the policy did with a frame; other actions are drawn in `NEUTRAL`."""

LOADS = {"bus": CLOUDY, "imager": WAITING, "payload": REACQUIRED, "radio": DELIVERED}
"""Consumers of power."""

SERIES = (DELIVERED, WAITING, CLEAR, REACQUIRED, STORED, DROPPED, CLOUDY)
"""For things without a meaning of their own (satellites, models), in this order."""


def series_colour(index: int) -> str:
    """Colour of the n-th thing without a meaning of its own."""
    return SERIES[index % len(SERIES)]


def ranked_colour(rank: int, ranks: int) -> str:
    """Colour of one of an ordered few, the highest the brightest: Cividis, made for any eye."""
    place = 0.15 + 0.85 * rank / max(1, ranks - 1)
    return str(sample_colorscale("Cividis", [place])[0])


def translucent(colour: str, opacity: float) -> str:
    """A ``#rrggbb`` colour as ``rgba(...)``."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def rgb(colour: str) -> tuple[int, int, int]:
    """A ``#rrggbb`` colour as three levels 0..255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
