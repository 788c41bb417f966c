"""Geometry again, by plain Skyfield on the elements kept with the run.

Every pass's ends, every capture's line of sight and Sun, and the whole mission scanned on a grid
for passes and eclipses that are missing or false. The grid is bounded, so a long mission is
scanned more coarsely; rows are taken evenly when there are too many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from skyfield.api import EarthSatellite, load, load_file, wgs84
from skyfield.framelib import itrs
from skyfield.timelib import Timescale

from simulator.telemetry.audit.findings import Finding, RunLog, at
from simulator.telemetry.audit.limb import PENUMBRA, SUNLIT, UMBRA, darkness_bounds
from simulator.telemetry.events import Capture, Eclipse, Glance, Pass
from simulator.telemetry.run_folder import RunFolder

MOST_ROWS = 400
"""Rows of a type and satellite that are recomputed."""

SCAN_SAMPLES = 6000
"""Grid over the mission, per satellite: 100 s apart for a week."""

PASS_TOLERANCE_DEG = 0.01
"""Elevation at AOS and LOS; the satellite climbs 0.1 deg and more in half a second."""

MAX_ELEVATION_TOLERANCE_DEG = 0.05
PASS_SAMPLES = 61
CULMINATION_STEP_S = 0.02
"""Near the zenith of a low orbit the elevation changes by up to 2 deg in a second."""

ANGLE_TOLERANCES_DEG = {
    "off_nadir_deg": 0.02,
    "pitch_deg": 0.02,
    "roll_deg": 0.02,
    "sun_elevation_deg": 0.05,
}
"""Lines of sight are interpolated to 0.01 deg; Skyfield's Sun has aberration, 0.006 deg."""

EARTH_RATE_RAD_S = 7.292115e-5
"""Rotation of the Earth (WGS84, NGA.STND.0036)."""

ECLIPSE_LEVELS = {"penumbra": PENUMBRA, "umbra": UMBRA}
DARKNESS = {SUNLIT: "sunlit", PENUMBRA: "partly dark", UMBRA: "dark"}

J2000_JD = 2451545.0
J2000_UTC = datetime(2000, 1, 1, 12, tzinfo=UTC)

NEVER_DAYS = 1e6
"""So long after it is due a leap second is in no mission."""

T = TypeVar("T")


def check_geometry(log: RunLog) -> Iterator[Finding]:
    """Recompute passes, captures and eclipses of every satellite."""
    elements = log.run.orbits()
    epoch = datetime.fromisoformat(log.run.manifest.epoch)
    for name in log.sections:
        if name not in elements:
            yield Finding("orbits.json", f"satellite {name} is missing")
            continue
        sky = Sky(elements[name], epoch)
        passes = [row for row in log.passes if row.satellite == name]
        stations = {s["name"]: s for s in log.scenario["ground"]["stations"]}
        general_deg = log.scenario["ground"]["min_elevation_deg"]
        for station in stations.values():
            mask = station.get("min_elevation_deg")
            over = [row for row in passes if row.station == station["name"]]
            mask_deg = general_deg if mask is None else mask
            yield from _ends(sky, station, mask_deg, over, log.run.horizon_s)
            yield from _scan_passes(sky, station, mask_deg, over, log.run)
        for row in passes:
            if row.station not in stations:
                yield Finding(at(row), f"there is no station {row.station!r}")
        yield from _captures(sky, [row for row in log.captures if row.satellite == name])
        yield from _glances(sky, [row for row in log.glances if row.satellite == name])
        eclipses = [row for row in log.eclipses if row.satellite == name]
        yield from _eclipse_chain(eclipses)
        yield from _eclipse_ends(sky, eclipses, log.run.manifest.duration_s)
        yield from _scan_eclipses(sky, eclipses, log.run.horizon_s)


class Sky:
    """One satellite and the Sun, seen from the Earth.

    Parameters
    ----------
    elements : mapping
        OMM fields.
    epoch : datetime
        Aware UTC time at which ``t_s`` is 0.
    """

    def __init__(self, elements: Mapping[str, Any], epoch: datetime) -> None:
        self._timescale = _timescale_of(epoch)
        self._start = self._timescale.from_datetime(epoch)
        self.satellite = EarthSatellite.from_omm(self._timescale, dict(elements))
        self._grid: dict[float, Any] = {}

    def times(self, t_s: NDArray[np.float64] | Sequence[float]) -> Any:
        """Skyfield times of elapsed seconds."""
        days = np.asarray(t_s, dtype=float) / 86400.0
        return self._timescale.tt_jd(self._start.whole, self._start.tt_fraction + days)

    def grid(self, horizon_s: float) -> tuple[NDArray[np.float64], Any]:
        """The scanning grid and the satellite on it, computed once."""
        t_s = np.linspace(0.0, horizon_s, SCAN_SAMPLES)
        if horizon_s not in self._grid:
            self._grid[horizon_s] = self.satellite.at(self.times(t_s))
        return t_s, self._grid[horizon_s]

    def elevation_deg(self, station: Mapping[str, Any], position: Any) -> NDArray[np.float64]:
        """Geometric elevation of satellite positions over a station."""
        return self.elevation_and_range(station, position)[0]

    def elevation_and_range(
        self, station: Mapping[str, Any], position: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Geometric elevation, deg, and distance, km, of satellite positions over a station."""
        place = _place(station["latitude_deg"], station["longitude_deg"], station["altitude_m"])
        elevation, _, distance = (position - place.at(position.t)).altaz()
        return np.asarray(elevation.degrees), np.asarray(distance.km)

    def darkness(self, position: Any) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Least and greatest level of darkness at satellite positions, see `darkness_bounds`."""
        ephemeris = _ephemeris()
        # The apparent Sun: shadows are cast by light that left it eight minutes ago.
        sun = ephemeris["earth"].at(position.t).observe(ephemeris["sun"]).apparent()
        return darkness_bounds(position.frame_xyz(itrs).km.T, sun.frame_xyz(itrs).km.T)

    def in_reach(
        self,
        latitude_deg: float,
        longitude_deg: float,
        imager: Mapping[str, Any],
        t_s: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Whether an imager may look at a place at these times: near enough to nadir, and lit."""
        times = self.times(t_s)
        position = self.satellite.at(times)
        axes, satellite_km = _axes(position)
        place = _place(latitude_deg, longitude_deg, 0.0)
        line = place.itrs_xyz.km - satellite_km
        down = np.einsum("ni,ni->n", axes[:, 2], line / np.linalg.norm(line, axis=1)[:, None])
        off_nadir_deg = np.degrees(np.arccos(np.minimum(1.0, down)))
        ephemeris = _ephemeris()
        sun = (ephemeris["earth"] + place).at(times).observe(ephemeris["sun"]).apparent()
        near = imager["max_off_nadir_deg"] + ANGLE_TOLERANCES_DEG["off_nadir_deg"]
        lit = imager["min_sun_elevation_deg"] - ANGLE_TOLERANCES_DEG["sun_elevation_deg"]
        above = (position - place.at(times)).altaz()[0].degrees > 0.0
        return np.asarray(above & (off_nadir_deg <= near) & (sun.altaz()[0].degrees >= lit))


def _timescale_of(epoch: datetime) -> Timescale:
    """Skyfield's timescale with the epoch's count of leap seconds for good.

    SGP4 is asked by UTC Julian date, which stands still in a leap second: one inside the mission
    would stop the satellite for its length. Later ones are put off until no mission flies.
    """
    full = load.timescale(builtin=True)
    later = full.leap_dates > J2000_JD + (epoch - J2000_UTC) / timedelta(days=1)
    return Timescale(full.delta_t_function, full.leap_dates + NEVER_DAYS * later, full.leap_offsets)


def nodal_period_s(elements: Mapping[str, Any]) -> float:
    """Time between ascending nodes, by SGP4's secular rates of anomaly and perigee."""
    model = EarthSatellite.from_omm(load.timescale(builtin=True), dict(elements)).model
    return float(2.0 * math.pi / (model.mdot + model.argpdot) * 60.0)


def _ends(
    sky: Sky, station: Mapping[str, Any], mask_deg: float, rows: Sequence[Pass], horizon_s: float
) -> Iterator[Finding]:
    rows = _evenly(rows)
    if not rows:
        return
    edges = np.array([(row.aos_s, row.los_s) for row in rows])
    elevation = sky.elevation_deg(station, sky.satellite.at(sky.times(edges.ravel())))
    for row, pair in zip(rows, elevation.reshape(-1, 2), strict=True):
        for t_s, found_deg in zip((row.aos_s, row.los_s), pair, strict=True):
            clipped = t_s in (0.0, horizon_s) and found_deg > mask_deg
            if not clipped and abs(found_deg - mask_deg) > PASS_TOLERANCE_DEG:
                yield Finding(
                    at(row), f"elevation at {t_s:.3f} s is {found_deg:.3f}, the mask {mask_deg} deg"
                )
        highest_deg = _culmination_deg(sky, station, row.aos_s, row.los_s)
        if abs(row.max_elevation_deg - highest_deg) > MAX_ELEVATION_TOLERANCE_DEG:
            yield Finding(
                at(row),
                f"max_elevation_deg is {row.max_elevation_deg:.3f}, found {highest_deg:.3f}",
            )


def _culmination_deg(sky: Sky, station: Mapping[str, Any], start_s: float, end_s: float) -> float:
    """Largest elevation: of samples, then of closer ones around the highest, and so on."""
    step_s = math.inf
    while step_s > CULMINATION_STEP_S:
        t_s, step_s = np.linspace(start_s, end_s, PASS_SAMPLES, retstep=True)
        elevation = sky.elevation_deg(station, sky.satellite.at(sky.times(t_s)))
        highest = int(elevation.argmax())
        start_s, end_s = t_s[max(highest - 1, 0)], t_s[min(highest + 1, PASS_SAMPLES - 1)]
    return float(elevation[highest])


def _scan_passes(
    sky: Sky, station: Mapping[str, Any], mask_deg: float, rows: Sequence[Pass], run: RunFolder
) -> Iterator[Finding]:
    t_s, position = sky.grid(run.horizon_s)
    elevation = sky.elevation_deg(station, position)
    listed = _inside(t_s, [(row.aos_s, row.los_s) for row in rows])
    wrong = listed != (elevation > mask_deg)
    if not run.complete:  # a pass is written at its end: one may have been under way
        wrong[np.flatnonzero(elevation <= mask_deg).max(initial=-1) + 1 :] = False
    for index in np.flatnonzero(wrong):
        if abs(elevation[index] - mask_deg) > PASS_TOLERANCE_DEG:
            word = "no pass is listed" if not listed[index] else "a pass is listed"
            yield Finding(
                f"pass over {station['name']} at {t_s[index]:.0f} s",
                f"{word}, the satellite stands at {elevation[index]:.2f} deg",
            )


def _captures(sky: Sky, rows: Sequence[Capture]) -> Iterator[Finding]:
    rows = _evenly(rows)
    if not rows:
        return
    times = sky.times([row.t_s for row in rows])
    axes, satellite_km = _axes(sky.satellite.at(times))
    ephemeris = _ephemeris()
    for index, row in enumerate(rows):
        target = _place(row.latitude_deg, row.longitude_deg, 0.0)
        line = target.itrs_xyz.km - satellite_km[index]
        forward, right, down = axes[index] @ (line / np.linalg.norm(line))
        sun = (ephemeris["earth"] + target).at(times[index]).observe(ephemeris["sun"])
        found = {
            "off_nadir_deg": math.degrees(math.acos(min(1.0, down))),
            "pitch_deg": math.degrees(math.asin(forward)),
            "roll_deg": math.degrees(math.atan2(right, down)),
            "sun_elevation_deg": float(sun.apparent().altaz()[0].degrees),
        }
        for name, angle_deg in found.items():
            if abs(angle_deg - getattr(row, name)) > ANGLE_TOLERANCES_DEG[name]:
                yield Finding(at(row), f"{name} is {getattr(row, name):.4f}, found {angle_deg:.4f}")


def _glances(sky: Sky, rows: Sequence[Glance]) -> Iterator[Finding]:
    """The line of sight of the look-ahead camera at the moment of each picture."""
    rows = _evenly(rows)
    if not rows:
        return
    axes, satellite_km = _axes(sky.satellite.at(sky.times([row.looked_s for row in rows])))
    for index, row in enumerate(rows):
        target = _place(row.latitude_deg, row.longitude_deg, 0.0)
        line = target.itrs_xyz.km - satellite_km[index]
        forward, right, down = axes[index] @ (line / np.linalg.norm(line))
        found = {
            "off_nadir_deg": math.degrees(math.acos(min(1.0, down))),
            "pitch_deg": math.degrees(math.asin(forward)),
            "roll_deg": math.degrees(math.atan2(right, down)),
        }
        for name, angle_deg in found.items():
            if abs(angle_deg - getattr(row, name)) > ANGLE_TOLERANCES_DEG[name]:
                yield Finding(at(row), f"{name} is {getattr(row, name):.4f}, found {angle_deg:.4f}")


def _axes(position: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Forward, right and down of a satellite in Earth-fixed axes, (n, 3, 3), and its place, km.

    Forward is the direction of inertial flight, made level.
    """
    place, velocity = position.frame_xyz_and_velocity(itrs)
    place_km = place.km.T
    inertial = velocity.km_per_s.T + np.cross([0.0, 0.0, EARTH_RATE_RAD_S], place_km)
    below = wgs84.geographic_position_of(position)
    down = -_vertical(below.latitude.radians, below.longitude.radians)
    right = np.cross(down, inertial)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([np.cross(right, down), right, down], axis=1), place_km


def _eclipse_chain(rows: Sequence[Eclipse]) -> Iterator[Finding]:
    """An umbra has a penumbra on either side, and nothing overlaps."""
    ordered = sorted(rows, key=lambda row: row.start_s)
    for index, row in enumerate(ordered):
        if row.t_s != row.start_s or row.end_s <= row.start_s:
            yield Finding(at(row), f"it lasts from {row.start_s} to {row.end_s}")
        if row.kind not in ("umbra", "penumbra"):
            yield Finding(at(row), f"kind is {row.kind!r}")
        after = ordered[index + 1] if index + 1 < len(ordered) else None
        if after is not None and after.start_s < row.end_s:
            yield Finding(at(after), "it overlaps the one before")
        if row.kind == "umbra" and 0 < index < len(ordered) - 1:
            before = ordered[index - 1]
            joined = before.end_s == row.start_s and after is not None
            if not joined or after is None or after.start_s != row.end_s:
                yield Finding(at(row), "an umbra without penumbrae on both sides")


def _eclipse_ends(sky: Sky, rows: Sequence[Eclipse], duration_s: float) -> Iterator[Finding]:
    """Each eclipse at its start, middle and end: a short one falls between the scan's samples."""
    flown = []
    for row in rows:
        if not (row.start_s >= 0.0 and row.end_s <= duration_s):
            yield Finding(at(row), f"it lasts from {row.start_s} to {row.end_s}")
        elif row.kind in ECLIPSE_LEVELS:
            flown.append(row)
    flown = list(_evenly(flown))
    if not flown:
        return
    t_s = np.concatenate([np.linspace(row.start_s, row.end_s, 3) for row in flown])
    levels = np.repeat([ECLIPSE_LEVELS[row.kind] for row in flown], 3)
    for index, words in _contradictions(levels, sky.darkness(sky.satellite.at(sky.times(t_s)))):
        yield Finding(at(flown[index // 3]), f"{words} at {t_s[index]:.3f} s")


def _scan_eclipses(sky: Sky, rows: Sequence[Eclipse], horizon_s: float) -> Iterator[Finding]:
    t_s, position = sky.grid(horizon_s)
    levels = np.full(t_s.shape, SUNLIT)
    for kind, level in ECLIPSE_LEVELS.items():
        spans = [(row.start_s, row.end_s) for row in rows if row.kind == kind]
        levels[_inside(t_s, spans)] = level
    for index, words in _contradictions(levels, sky.darkness(position)):
        yield Finding(f"eclipse of {sky.satellite.name} at {t_s[index]:.0f} s", words)


def _contradictions(
    levels: NDArray[np.int_], bounds: tuple[NDArray[np.int_], NDArray[np.int_]]
) -> Iterator[tuple[int, str]]:
    """Where a listed level of darkness is outside the bounds on it, and what is wrong there."""
    kinds = {level: kind for kind, level in ECLIPSE_LEVELS.items()}
    found = np.clip(levels, *bounds)
    for index in np.flatnonzero(found != levels):
        kind, truth = kinds.get(int(levels[index])), DARKNESS[int(found[index])]
        words = f"listed as {kind}, but {truth}" if kind else f"{truth}, but no eclipse is listed"
        yield int(index), words


def _inside(t_s: NDArray[np.float64], spans: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Which times lie in any of the spans (which do not overlap)."""
    ordered = sorted(span for span in spans if span[1] > span[0])
    if not ordered:
        return np.zeros(t_s.shape, dtype=bool)
    starts, ends = np.array(ordered).T
    index = np.searchsorted(starts, t_s, side="right") - 1
    return np.asarray((index >= 0) & (t_s <= ends[np.maximum(index, 0)]))


def _evenly(rows: Sequence[T]) -> Sequence[T]:
    """At most `MOST_ROWS` of the rows, evenly spaced."""
    if len(rows) <= MOST_ROWS:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int)]


def _place(latitude_deg: float, longitude_deg: float, altitude_m: float) -> Any:
    return wgs84.latlon(latitude_deg, longitude_deg, elevation_m=altitude_m)


def _vertical(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Any:
    """Outward normals of the ellipsoid, shape (n, 3)."""
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=-1,
    )


@cache
def _ephemeris() -> Any:
    # By path, because the function of skyfield_data warns about the age of files not used here.
    with resources.as_file(resources.files("skyfield_data") / "data" / "de421.bsp") as path:
        return load_file(str(path))
