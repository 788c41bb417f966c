"""What is believed of the clouds to come: a look while it is fresh, the forecast after that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.autonomy.prospects import COVER_SIGMA, Belief, Look, Prospects

SIGMA_24H, CORRELATION_H, HOUR_S = 0.2, 18.0, 3600.0
PROSPECTS = Prospects(0.2, SIGMA_24H, CORRELATION_H)
SAME = 1e-12
SAMPLING = 0.02

covers = st.floats(0.0, 1.0)


@given(forecast=covers, seen=covers, lead_h=st.floats(0.0, 96.0), waited_h=st.floats(0.0, 96.0))
def test_a_belief_lies_between_forecast_and_look_and_is_surer_than_either(
    forecast: float, seen: float, lead_h: float, waited_h: float
) -> None:
    t_s = waited_h * HOUR_S
    alone = PROSPECTS.believed(forecast, lead_h * HOUR_S, None, t_s)
    both = PROSPECTS.believed(forecast, lead_h * HOUR_S, Look(0.0, seen), t_s)
    assert alone.cover == forecast
    assert alone.sigma == pytest.approx(SIGMA_24H * math.sqrt(lead_h / 24.0), abs=SAME)
    assert min(forecast, seen) - SAME <= both.cover <= max(forecast, seen) + SAME
    assert both.sigma <= alone.sigma + SAME


def test_a_look_fades() -> None:
    weights = [
        PROSPECTS.believed(0.0, 12 * HOUR_S, Look(0.0, 1.0), waited_h * HOUR_S).cover
        for waited_h in (0.0, 0.1, 1.0, 6.0, 24.0, 72.0)
    ]
    assert weights[0] == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)
    assert weights[2] > 0.5, "within the hour a look outweighs a forecast of half a day"
    assert weights[-1] < 0.1


def test_a_perfect_forecast_is_believed_whatever_was_seen() -> None:
    belief = Prospects(0.2, 0.0, CORRELATION_H).believed(0.1, HOUR_S, Look(0.0, 0.9), HOUR_S)
    assert belief == Belief(0.1, 0.0)


def test_against_a_simulated_series() -> None:
    """Of a correlated series that was seen once and forecast, the mean square error is as said.

    The prior is the forecast alone, so the look is told as what it adds to a flat prior: the
    series at the time of the look, over the correlation.
    """
    rng = np.random.default_rng(5)
    lead_h, waited_h, draws = 10.0, 5.0, 400_000
    rho = math.exp(-waited_h / CORRELATION_H)
    sigma_forecast = SIGMA_24H * math.sqrt(lead_h / 24.0)
    then = rng.normal(0.0, COVER_SIGMA, draws)
    seen = rho * then + rng.normal(0.0, COVER_SIGMA * math.sqrt(1.0 - rho**2), draws)
    forecast = then + rng.normal(0.0, sigma_forecast, draws)
    shares = np.linspace(0.0, 1.0, 201)
    errors = [np.std(share * seen / rho + (1.0 - share) * forecast - then) for share in shares]
    belief = PROSPECTS.believed(0.0, lead_h * HOUR_S, Look(0.0, 1.0), waited_h * HOUR_S)
    assert belief.cover == pytest.approx(shares[int(np.argmin(errors))], abs=SAMPLING)
    assert belief.sigma == pytest.approx(min(errors), rel=SAMPLING)


def test_a_look_of_long_ago_leaves_the_forecast_alone() -> None:
    """However little the forecast is worth: a target found cloudy once is not given up."""
    vague = Prospects(0.2, 1.0, CORRELATION_H)
    day_s, year_s = 24 * HOUR_S, 365 * 24 * HOUR_S
    alone = vague.believed(0.3, day_s, None, day_s)
    assert vague.believed(0.3, day_s, Look(0.0, 1.0), year_s) == alone
    after_days = vague.believed(0.3, day_s, Look(0.0, 1.0), 3 * day_s)
    assert after_days.cover == pytest.approx(alone.cover, abs=0.02)
    assert after_days.sigma == pytest.approx(alone.sigma, rel=0.02)
