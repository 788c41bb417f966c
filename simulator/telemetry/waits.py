"""How long targets wait for a clear image, of which some still wait when the mission ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Wait:
    """Kaplan-Meier summary of a waiting time, hours. None where it cannot be told."""

    median_h: float | None
    restricted_mean_h: float | None


def time_to_clear(satisfied_s: list[float], targets: int, horizon_s: float) -> Wait:
    """Waiting time until a target is satisfied, from the epoch on.

    Targets that are not satisfied by the horizon are right-censored there. The restricted mean is
    the area under the survival curve up to the horizon (Irwin 1949): a mean without it would
    ignore the targets that still wait.

    Parameters
    ----------
    satisfied_s : list of float
        One time per satisfied target.
    targets : int
        All targets.
    horizon_s : float
        Simulated time that was observed.
    """
    waiting = targets - len(satisfied_s)
    if targets == 0 or horizon_s <= 0.0:
        return Wait(None, None)
    if not satisfied_s:
        return Wait(None, horizon_s / 3600)
    observed = stats.CensoredData(uncensored=satisfied_s, right=[horizon_s] * waiting)
    survival = stats.ecdf(observed).sf
    steps_s = np.concatenate([[0.0], survival.quantiles, [horizon_s]])
    levels = np.concatenate([[1.0], survival.probabilities])
    # None is censored before the horizon, so half is counted: the curve, a product of ratios, often
    # stays a rounding above one half where exactly half of the targets are satisfied.
    half = (targets + 1) // 2
    return Wait(
        sorted(satisfied_s)[half - 1] / 3600 if len(satisfied_s) >= half else None,
        float(np.sum(np.diff(steps_s) * levels)) / 3600,
    )
