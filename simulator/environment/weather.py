"""Cloud cover over time at each target, and what a forecast says of it.

Cover is U-shaped: mostly clear or mostly overcast (Beta marginal with both parameters below one).
Its mean follows latitude and season, or is one number. In time it is an Ornstein-Uhlenbeck
process seen through a Gaussian copula: a normal series, correlated over `correlation_h`, is
turned into cover by the quantile function of the Beta marginal. The normal draws lie on a fixed
grid of times and are keyed by (seed, purpose, target, place on the grid), so that a value never
depends on what was asked before: two policies under one seed see the same weather.

A recorded series (CSV with columns ``target``, ``t_h``, ``cover``), or any record by target and
time, can stand in for the process; forecasts then err about the record.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special

Floats = NDArray[np.float64]

CONCENTRATION: Final = 0.8
"""Sum of the Beta parameters. Below 1 every marginal is U-shaped, as frame-sized cover is."""

NODES_PER_CORRELATION: Final = 8
MEMORY_NODES: Final = 8 * NODES_PER_CORRELATION
"""Nodes an innovation is carried on for; what is left then is exp(-8) = 0.03 % of it."""
CHUNK_NODES: Final = 512

FORECAST_MEMORY_H: Final = 120.0
"""Lead time at which a forecast has lost 63 % of its skill against climatology, h: useful skill in
cloudiness ends after about five days."""

_LATITUDES_DEG: Final = (-90.0, -60.0, -45.0, -25.0, -15.0, 0.0, 10.0, 25.0, 40.0, 60.0, 75.0, 90.0)
_LAND_COVER: Final = (0.55, 0.85, 0.70, 0.42, 0.50, 0.70, 0.62, 0.36, 0.52, 0.70, 0.68, 0.65)
"""Mean cloud fraction over land by latitude. Shape and level after MODIS 2000-2011 (King et al.
2013: land mean 0.55, deserts lowest, storm tracks and tropics highest), figures from memory."""
_SEASONAL_SHIFT_DEG: Final = 6.0
"""How far the belts follow the sun north and south over the year."""
_DAY_OF_NORTHERN_SUMMER: Final = 202.0


class WeatherError(ValueError):
    """A recorded series cannot be used."""


class Weather:
    """Cover and forecasts for any target and time.

    Parameters
    ----------
    seed : int
    epoch : datetime
        Start of the mission; the season is counted from it.
    mean_cover : float or "climatology"
        Mean of the marginal: one number for every target, or by latitude and season.
    correlation_h : float
        Time after which the correlation of the underlying normal process is 1/e, h; that of cover
        is a little lower.
    forecast_sigma_24h : float
        Standard deviation of the normal draw that is added to the true cover in a forecast at 24 h
        lead; it grows with the root of lead time. The error of the forecast is another, because
        that sum falls back to the mean and is clipped to 0..1.
    series_path : Path, optional
        Recorded covers in place of the process; held between records.
    record : callable, optional
        ``record(target, t_s) -> cover`` in place of the process, such as the covers of the scenes
        that a camera will see.

    Raises
    ------
    WeatherError
        When the series is missing, broken, or empty.
    """

    def __init__(
        self,
        *,
        seed: int,
        epoch: datetime,
        mean_cover: float | str = "climatology",
        correlation_h: float = 18.0,
        forecast_sigma_24h: float = 0.2,
        series_path: Path | None = None,
        record: Callable[[str, float], float] | None = None,
    ) -> None:
        self._seed, self._epoch, self._mean_cover = seed, epoch, mean_cover
        self._node_s = correlation_h * 3600.0 / NODES_PER_CORRELATION
        self._sigma_24h = forecast_sigma_24h
        self._series = None if series_path is None else read_series(series_path)
        self._record = record
        self._normal_chunk = lru_cache(maxsize=8192)(self._make_chunk)

    def cover(self, target: str, latitude_deg: float, t_s: float) -> float:
        """Cloud fraction over a target at `t_s`, 0..1."""
        return float(self._covers(target, np.array([latitude_deg]), np.array([t_s]))[0])

    def glance(
        self, target: str, latitude_deg: float, t_s: float, sigma: float
    ) -> tuple[float, float]:
        """Cover over a target, and what a low-resolution picture of it says.

        The error is a normal draw per target and hour times `sigma`. What is seen is rounded to
        1 %, as every cover is on which something is decided.
        """
        true = self.cover(target, latitude_deg, t_s)
        hour = math.floor(t_s / 3600.0)
        draw = _keyed_normals(self._seed, "glance", target, hour // CHUNK_NODES)[hour % CHUNK_NODES]
        return true, round(min(1.0, max(0.0, true + sigma * float(draw))), 2)

    def forecast(self, target: str, latitude_deg: float, t_s: float, issued_s: float) -> float:
        """What a forecast issued at `issued_s` says of the cover at `t_s`."""
        return float(self.forecast_many([target], [latitude_deg], [t_s], issued_s)[0])

    def forecast_many(
        self,
        targets: Sequence[str],
        latitude_deg: Sequence[float],
        t_s: Sequence[float],
        issued_s: float,
    ) -> Floats:
        """Forecast cover for many targets and times, shape (n,).

        The error is a draw per target and hour times a spread that grows with the root of lead
        time, so that later forecasts of one hour close in on the truth; with lead time the
        forecast also falls back to the mean.
        """
        latitudes, times = np.asarray(latitude_deg, float), np.asarray(t_s, float)
        truth = np.array(
            [
                self._covers(name, latitudes[i : i + 1], times[i : i + 1])[0]
                for i, name in enumerate(targets)
            ]
        )
        lead_h = np.maximum(times - issued_s, 0.0) / 3600.0
        draws = np.array(
            [
                self._error_draw(name, math.floor(t / 3600.0))
                for name, t in zip(targets, times, strict=True)
            ]
        )
        seen = truth + self._sigma_24h * np.sqrt(lead_h / 24.0) * draws
        skill = np.exp(-lead_h / FORECAST_MEMORY_H)
        mean = self.mean(latitudes, times)
        return np.asarray(np.clip(skill * seen + (1.0 - skill) * mean, 0.0, 1.0))

    def mean(self, latitude_deg: Floats, t_s: Floats) -> Floats:
        """Mean cover of the marginal, shape (n,)."""
        if not isinstance(self._mean_cover, str):
            return np.full(len(latitude_deg), float(self._mean_cover))
        start = self._epoch - datetime(self._epoch.year, 1, 1, tzinfo=self._epoch.tzinfo)
        day = start / timedelta(days=1) + t_s / 86400.0
        shift = _SEASONAL_SHIFT_DEG * np.cos(
            2.0 * math.pi * (day - _DAY_OF_NORTHERN_SUMMER) / 365.25
        )
        return np.asarray(np.interp(latitude_deg - shift, _LATITUDES_DEG, _LAND_COVER))

    def _covers(self, target: str, latitude_deg: Floats, t_s: Floats) -> Floats:
        if self._record is not None:
            return np.array([self._record(target, float(t)) for t in t_s])
        if self._series is not None:
            return self._recorded(target, t_s)
        mean = self.mean(latitude_deg, t_s)
        fraction = special.ndtr(self._normal(target, t_s))
        covers = special.betaincinv(CONCENTRATION * mean, CONCENTRATION * (1.0 - mean), fraction)
        # A mean of exactly 0 or 1 leaves no distribution to draw from.
        return np.where((mean <= 0.0) | (mean >= 1.0), mean, covers)

    def _normal(self, target: str, t_s: Floats) -> Floats:
        """The underlying normal process, interpolated between nodes at unit variance."""
        place = t_s / self._node_s
        node = np.floor(place).astype(np.int64)
        share = place - node
        before = self._nodes(target, node)
        after = self._nodes(target, node + 1)
        rho = math.exp(-1.0 / NODES_PER_CORRELATION)
        spread = np.sqrt((1 - share) ** 2 + share**2 + 2 * share * (1 - share) * rho)
        return np.asarray(((1.0 - share) * before + share * after) / spread)

    def _nodes(self, target: str, node: NDArray[np.int64]) -> Floats:
        return np.array(
            [self._normal_chunk(target, int(n) // CHUNK_NODES)[int(n) % CHUNK_NODES] for n in node]
        )

    def _make_chunk(self, target: str, chunk: int) -> Floats:
        """Nodes of one chunk: its innovations and the tail of the chunk before, filtered."""
        innovations = np.concatenate(
            [
                self._draws("weather", target, chunk - 1)[-MEMORY_NODES:],
                self._draws("weather", target, chunk),
            ]
        )
        rho = math.exp(-1.0 / NODES_PER_CORRELATION)
        series = signal.lfilter([math.sqrt(1.0 - rho * rho)], [1.0, -rho], innovations)
        return np.asarray(series[MEMORY_NODES:], dtype=np.float64)

    def _error_draw(self, target: str, hour: int) -> float:
        chunk = self._error_chunk(target, hour // CHUNK_NODES)
        return float(chunk[hour % CHUNK_NODES])

    def _error_chunk(self, target: str, chunk: int) -> Floats:
        return _keyed_normals(self._seed, "forecast", target, chunk)

    def _draws(self, purpose: str, target: str, chunk: int) -> Floats:
        return _keyed_normals(self._seed, purpose, target, chunk)

    def _recorded(self, target: str, t_s: Floats) -> Floats:
        series = (self._series or {}).get(target)
        if series is None:
            raise WeatherError(
                f"weather.series: there is no record of target {target!r}; add rows for it, or "
                "set weather.model: stochastic"
            )
        times_s, covers = series
        index = np.clip(np.searchsorted(times_s, t_s, side="right") - 1, 0, len(times_s) - 1)
        return np.asarray(covers[index])


@lru_cache(maxsize=16384)
def _keyed_normals(seed: int, purpose: str, target: str, chunk: int) -> Floats:
    """Standard normal draws that depend on nothing but the key."""
    key = hashlib.sha256(f"{seed}|{purpose}|{target}|{chunk}".encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
    return generator.standard_normal(CHUNK_NODES)


def read_series(path: Path) -> dict[str, tuple[Floats, Floats]]:
    """Recorded covers by target: times in seconds (increasing) and covers.

    Raises
    ------
    WeatherError
        With file and line of what is wrong.
    """
    records: dict[str, dict[float, float]] = {}
    for where, row in _series_rows(path):
        t_h, cover = _finite(row, "t_h", where), _finite(row, "cover", where)
        if not 0.0 <= cover <= 1.0:
            raise WeatherError(f"{where}: cover is {cover}, expected 0 to 1; correct the row")
        target = (row["target"] or "").strip()
        of_target = records.setdefault(target, {})
        if t_h in of_target:
            raise WeatherError(
                f"{where}: t_h is {t_h:g} for a second time for target {target!r}; leave one of "
                "the rows"
            )
        of_target[t_h] = cover
    if not records:
        raise WeatherError(f"{path}: there is no record; add rows, or use the stochastic model")
    series = {}
    for target, of_target in records.items():
        table = np.array(sorted(of_target.items()))
        series[target] = (table[:, 0] * 3600.0, table[:, 1])
    return series


def _series_rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Rows of a series, each with its file and line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            if not {"target", "t_h", "cover"} <= set(reader.fieldnames):
                raise WeatherError(
                    f"{path}: columns are {reader.fieldnames}, expected target, t_h, cover; name "
                    "them in the first line"
                )
            for row in reader:
                yield f"{path}, line {reader.line_num}", row
    except OSError as error:
        raise WeatherError(
            f"weather.series: {path} cannot be read ({error.strerror}); correct the path"
        ) from None
    except UnicodeDecodeError:
        raise WeatherError(
            f"{path}: the file is no text in UTF-8; save it again as CSV in UTF-8"
        ) from None
    except csv.Error as error:
        raise WeatherError(
            f"{path}: cannot be read as CSV after line {reader.line_num} ({error}); correct what "
            "follows, most likely a quotation mark that is not closed"
        ) from None


def _finite(row: Mapping[str, str | None], column: str, where: str) -> float:
    try:
        number = float(row[column] or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WeatherError(f"{where}: {column} is {row[column]!r}, not a number; correct the row")
    return number
