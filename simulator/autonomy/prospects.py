"""What the sky over a target is believed to be, and what an image is worth under that belief.

Two things tell of the clouds to come: the forecast last uplinked, and what the payload found when
it last looked. Each is right in its own time: a look is exact when it is made and knows less and
less as clouds move on, a forecast reaches far and is never exact. They are weighed by how far each
may be off, so that within the hour a look outweighs every forecast and after a day hardly counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.autonomy.tasking import Task

PARTIAL_WORTH = 0.1
"""Worth of the clear part of an image that does not satisfy, relative to one that does."""

PATIENCE_PER_DAY = 0.85
"""Value of a capture one day from now, relative to the same capture now."""

COVER_SIGMA = 0.37
"""Standard deviation of the cover of a frame whose mean is one half: frames are mostly clear or
mostly overcast (Beta marginal, its parameters' sum 0.8 as in `simulator.environment.weather`:
``sqrt(0.25 / 1.8)``)."""


FORGOTTEN = 20.0
"""Correlation times after which a look says nothing: the square of what is left is 4e-18."""


@dataclass(frozen=True)
class Look:
    """What the payload found over a target, and when."""

    t_s: float
    cover: float


@dataclass(frozen=True)
class Belief:
    """Expected cover and its standard deviation."""

    cover: float
    sigma: float


@dataclass(frozen=True)
class Prospects:
    """What forecasts and looks are worth to this mission.

    Attributes
    ----------
    target_cloud_fraction : float
        Cover below which a target is satisfied, unless it has a limit of its own.
    forecast_sigma_24h : float
        Spread of the draw that a forecast adds to the truth at 24 h lead time, which grows with the
        square root; the planner takes it for that of the forecast's error.
    correlation_h : float
        Time after which the correlation of cover is taken to have fallen to 1/e, h.
    glance_sigma : float
        Standard deviation of the error of a cover that the look-ahead camera saw.
    """

    target_cloud_fraction: float
    forecast_sigma_24h: float
    correlation_h: float
    glance_sigma: float = 0.0

    def believed(
        self, forecast_cover: float, lead_s: float, look: Look | None, t_s: float
    ) -> Belief:
        """Cover at `t_s` by a forecast of this lead time and by the last look, if there is one.

        The mean of both, weighed by the inverse of their error variances (optimal interpolation).
        That of a forecast is ``forecast_sigma_24h^2 lead / 24 h``. That of a look is
        ``COVER_SIGMA^2 (1 / r^2 - 1)`` with ``r = exp(-t / correlation_h)``, which of a Gaussian
        series with that correlation is the information the look still has: all of it at once, none
        in the end, when the forecast is believed as if nothing had been seen.
        """
        forecast = self.forecast_sigma_24h**2 * max(lead_s, 0.0) / 86400.0
        if look is None:
            return Belief(forecast_cover, math.sqrt(forecast))
        correlations = max(t_s - look.t_s, 0.0) / 3600.0 / self.correlation_h
        if correlations > FORGOTTEN:
            return Belief(forecast_cover, math.sqrt(forecast))
        persistence = COVER_SIGMA**2 * math.expm1(2.0 * correlations)
        both = forecast + persistence
        if both == 0.0:
            return Belief(forecast_cover, 0.0)
        cover = (persistence * forecast_cover + forecast * look.cover) / both
        return Belief(cover, math.sqrt(forecast * persistence / both))

    def chance(self, task: Task, belief: Belief) -> float:
        """Probability that the cover turns out below the target's limit (normal error)."""
        own = task.target.max_cloud_fraction
        margin = (self.target_cloud_fraction if own is None else own) - belief.cover
        if belief.sigma == 0.0:
            return float(margin > 0.0)
        return 0.5 * math.erfc(-margin / (belief.sigma * math.sqrt(2.0)))

    def value(self, task: Task, expected_cover: float, chance: float, wait_s: float) -> float:
        """Priority x (chance of satisfaction + a little for partial clarity), less for waiting."""
        patience: float = PATIENCE_PER_DAY ** (max(wait_s, 0.0) / 86400.0)
        worth = chance + PARTIAL_WORTH * (1.0 - chance) * (1.0 - expected_cover)
        return task.target.priority * worth * patience
