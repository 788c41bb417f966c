"""Weather: the marginal, the memory, the freedom from order, and the growth of forecast error."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from simulator.environment.weather import Weather, WeatherError
from simulator.scenario.models import Weather as WeatherSection

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)
HOUR_S, DAY_S = 3600.0, 86400.0
TARGETS = [f"t{i}" for i in range(400)]
MEAN_TOLERANCE = 0.05  # 400 draws of standard deviation below 0.4: three standard errors are 0.06
CORRELATION_TOLERANCE = 0.15


def weather(**changes: object) -> Weather:
    return Weather(**{"seed": 7, "epoch": EPOCH, **changes})  # type: ignore[arg-type]


def covers(sky: Weather, t_s: float, latitude_deg: float = 45.0) -> np.ndarray:
    return np.array([sky.cover(name, latitude_deg, t_s) for name in TARGETS])


@pytest.mark.parametrize("mean", [0.2, 0.5, 0.67])
def test_the_marginal_has_the_mean_asked_and_is_u_shaped(mean: float) -> None:
    drawn = covers(weather(mean_cover=mean), 3 * DAY_S)
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    assert drawn.mean() == pytest.approx(mean, abs=MEAN_TOLERANCE)
    ends, middle = (drawn < 0.1) | (drawn > 0.9), (drawn > 0.4) & (drawn < 0.6)
    assert ends.mean() > 2.0 * middle.mean()  # both are 0.2 wide


def test_a_mean_of_zero_or_one_is_kept() -> None:
    assert weather(mean_cover=0.0).cover("a", 0.0, 0.0) == 0.0
    assert weather(mean_cover=1.0).cover("a", 0.0, 0.0) == 1.0


def test_climatology_is_dry_in_the_desert_belt_and_cloudy_in_storm_tracks() -> None:
    latitudes = np.array([-55.0, 0.0, 25.0, 60.0])
    tracks_south, tropics, desert, tracks_north = weather().mean(latitudes, np.zeros(4))
    assert desert < 0.45 < tropics
    assert desert < tracks_north < tracks_south
    assert tracks_south > 0.7


def test_the_season_moves_the_belts() -> None:
    latitude, half_a_year_s = np.array([12.0]), np.array([182.0 * DAY_S])
    sky = weather(epoch=datetime(2024, 7, 15, tzinfo=UTC))
    assert sky.mean(latitude, np.zeros(1))[0] > sky.mean(latitude, half_a_year_s)[0] + 0.03


@pytest.mark.parametrize("lag_h", [6.0, 18.0, 36.0])
def test_memory_falls_to_one_part_in_e_after_the_correlation_time(lag_h: float) -> None:
    sky = weather(mean_cover=0.5, correlation_h=18.0)
    # Undo the copula: the correlation asked for is that of the normal process.
    start, later = (
        special.ndtri(np.clip(_rank(covers(sky, t)), 1e-3, 1 - 1e-3))
        for t in (2 * DAY_S, 2 * DAY_S + lag_h * HOUR_S)
    )
    found = float(np.corrcoef(start, later)[0, 1])
    assert found == pytest.approx(np.exp(-lag_h / 18.0), abs=CORRELATION_TOLERANCE)


def _rank(values: np.ndarray) -> np.ndarray:
    return (np.argsort(np.argsort(values)) + 0.5) / len(values)


@given(
    asked=st.permutations([(n, t * HOUR_S) for n in ("a", "b") for t in (0.0, 5.5, 700.0, 3000.0)])
)
@settings(max_examples=10, deadline=None)
def test_the_sky_does_not_depend_on_the_order_of_questions(asked: list[tuple[str, float]]) -> None:
    fresh, used = weather(), weather()
    for name, t_s in asked:
        used.cover(name, 30.0, t_s)
        used.forecast(name, 30.0, t_s, t_s - DAY_S)
    name, t_s = asked[0]
    assert fresh.cover(name, 30.0, t_s) == used.cover(name, 30.0, t_s)
    assert fresh.forecast(name, 30.0, t_s, 0.0) == used.forecast(name, 30.0, t_s, 0.0)


def test_seed_and_target_make_the_sky() -> None:
    sky = weather()
    assert sky.cover("a", 45.0, DAY_S) != sky.cover("b", 45.0, DAY_S)
    assert sky.cover("a", 45.0, DAY_S) != weather(seed=8).cover("a", 45.0, DAY_S)


def test_a_forecast_errs_more_the_longer_it_looks_ahead() -> None:
    sky, at_s = weather(mean_cover=0.5, forecast_sigma_24h=0.2), 20 * DAY_S
    truth = covers(sky, at_s)

    def error(lead_h: float) -> float:
        told = sky.forecast_many(
            TARGETS, [45.0] * len(TARGETS), [at_s] * len(TARGETS), at_s - lead_h * HOUR_S
        )
        assert told.min() >= 0.0
        assert told.max() <= 1.0
        return float(np.sqrt(np.mean((told - truth) ** 2)))

    errors = [error(lead_h) for lead_h in (0.0, 6.0, 24.0, 72.0, 240.0)]
    assert errors[0] == pytest.approx(0.0, abs=1e-12)
    assert errors == sorted(errors)
    # Clipping to 0..1 takes from the error what points outside; the rest must be there.
    assert 0.1 < errors[2] < 0.22


def test_a_forecast_for_a_far_day_says_the_mean() -> None:
    sky, at_s = weather(mean_cover=0.4, forecast_sigma_24h=0.2), 60 * DAY_S
    told = sky.forecast_many(TARGETS, [45.0] * len(TARGETS), [at_s] * len(TARGETS), 0.0)
    assert told.std() < 0.05
    assert told.mean() == pytest.approx(0.4, abs=0.02)


def test_one_forecast_is_that_of_many() -> None:
    sky = weather()
    many = sky.forecast_many(["a", "b"], [10.0, 50.0], [DAY_S, 2 * DAY_S], 0.0)
    assert many[1] == sky.forecast("b", 50.0, 2 * DAY_S, 0.0)


def test_a_recorded_series_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "sky.csv"
    path.write_text("target,t_h,cover\na,0,0.1\na,6,0.8\nb,0,1\n")
    sky = weather(series_path=path)
    assert sky.cover("a", 0.0, 5.9 * HOUR_S) == 0.1
    assert sky.cover("a", 0.0, 6.0 * HOUR_S) == 0.8
    assert sky.cover("b", 0.0, 999.0 * HOUR_S) == 1.0
    with pytest.raises(WeatherError, match="no record of target 'c'"):
        sky.cover("c", 0.0, 0.0)


def test_forecasts_and_glances_err_about_a_record() -> None:
    def record(target: str, t_s: float) -> float:
        return 0.25 if target == "a" and t_s < DAY_S else 0.75

    sky = weather(record=record, forecast_sigma_24h=0.0, mean_cover=0.75)
    assert sky.cover("a", 0.0, 0.0) == 0.25
    assert sky.cover("a", 0.0, DAY_S) == 0.75
    assert sky.glance("a", 0.0, 0.0, 0.0) == (0.25, 0.25)
    told = sky.forecast_many(["a", "a", "b"], [0.0] * 3, [0.0, DAY_S, DAY_S], 0.0)
    assert told == pytest.approx([0.25, 0.75, 0.75])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target,cover\na,0.5\n", "expected target, t_h, cover"),
        ("target,t_h,cover\na,0,1.5\n", r"line 2: cover is 1.5"),
        ("target,t_h,cover\na,zero,0.5\n", "line 2: t_h is 'zero', not a number"),
        ("target,t_h,cover\na,0,0.5\na,nan,0.5\n", "line 3: t_h is 'nan', not a number"),
        ("target,t_h,cover\na,-inf,0.5\n", "line 2: t_h is '-inf', not a number"),
        ("target,t_h,cover\na,0\n", "line 2: cover is None, not a number"),
        (
            "target,t_h,cover\na,6,0.5\nb,6,0.5\na, 6.0,0.7\n",
            "line 4: t_h is 6 for a second time for target 'a'",
        ),
        ("target,t_h,cover\n", "there is no record"),
        (
            'target,t_h,cover\na,0,0.5\n"b,0,0.5\n' + "c,0,0.5\n" * 20_000,
            "after line 2 .*quotation",
        ),
    ],
)
def test_a_broken_series_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "sky.csv"
    path.write_text(text)
    with pytest.raises(WeatherError, match=said):
        weather(series_path=path)


def test_a_series_in_another_encoding_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "sky.csv"
    path.write_text("target,t_h,cover\nOrl\xe9ans,0,0.5\n", encoding="latin-1")
    with pytest.raises(WeatherError, match="no text in UTF-8; save it again"):
        weather(series_path=path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_series_from_a_spreadsheet_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "sky.csv"
    path.write_text("target, t_h, cover\nOrl\xe9ans , 0, 0.25\n", encoding=encoding)
    assert weather(series_path=path).cover("Orl\xe9ans", 0.0, 0.0) == 0.25


def test_a_missing_series_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeatherError, match="cannot be read"):
        weather(series_path=tmp_path / "absent.csv")


@pytest.mark.parametrize(("sigma", "error"), [(0.0, 0.07), (0.2, 0.17), (0.5, 0.33)])
def test_a_forecast_errs_by_what_the_scenario_says(sigma: float, error: float) -> None:
    sky = weather(mean_cover=0.5, forecast_sigma_24h=sigma)
    names = [f"t{number}" for number in range(2000)]
    forecast = sky.forecast_many(names, [0.0] * 2000, [2 * DAY_S] * 2000, DAY_S)
    truth = [sky.cover(name, 0.0, 2 * DAY_S) for name in names]
    assert np.std(forecast - truth) == pytest.approx(error, abs=0.01)
    said = WeatherSection.model_fields["forecast_sigma_24h"].description or ""
    assert f"{error:.2f} for {sigma:g}" in " ".join(said.split())


def test_cover_itself_is_correlated_a_little_less_than_its_process() -> None:
    sky = weather(mean_cover=0.5, correlation_h=18.0)
    pairs = [
        [sky.cover(f"t{number}", 0.0, t_s) for t_s in (0.0, 18.0 * HOUR_S)]
        for number in range(2000)
    ]
    correlation = np.corrcoef(np.transpose(pairs))[0, 1]
    assert correlation == pytest.approx(0.33, abs=0.05)
