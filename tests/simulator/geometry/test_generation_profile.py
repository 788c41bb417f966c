"""Panel power: the straight lines between knots carry the energy of the exact curve."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from geometry_reference import DAY_S, even_disc, rays_hidden
from scipy import integrate

from simulator.geometry import (
    GenerationProfile,
    Orbit,
    PanelError,
    generation_profile,
    ground_track,
    illumination,
    shadows,
)
from simulator.geometry.ellipsoid import vertical
from simulator.geometry.sun import sun_itrs

ENERGY_TOLERANCE = 1e-3
PENUMBRA_ENERGY_TOLERANCE = 5e-3
AU_KM = 149_597_870.7


def _incidence(orbit: Orbit, t_s: np.ndarray, pointing: str) -> np.ndarray:
    """Cosines from the Earth-fixed track, along other ways than the package's."""
    sun = sun_itrs(orbit.epoch, t_s)
    sun /= np.linalg.norm(sun, axis=1, keepdims=True)
    if pointing == "sun":
        return np.ones_like(t_s)
    track = ground_track(orbit, t_s[-1], t_s[1] - t_s[0])
    zenith = vertical(track.latitude_deg, track.longitude_deg)
    up = np.sum(zenith * sun, axis=1)
    if pointing == "nadir":
        return np.maximum(0.0, up)
    position, velocity = orbit.itrs(t_s)
    inertial = velocity + np.cross([0.0, 0.0, 7.292115e-5], position)
    side = np.cross(inertial, zenith)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    ahead = np.sum(np.cross(zenith, side) * sun, axis=1)
    return np.abs(up) + np.abs(np.sum(side * sun, axis=1)) + np.abs(ahead)


def _fine(orbit: Orbit, duration_s: float, pointing: str) -> tuple[np.ndarray, np.ndarray]:
    t_s = np.linspace(0.0, duration_s, int(duration_s) + 1)
    distance = np.linalg.norm(sun_itrs(orbit.epoch, t_s), axis=1)
    exact = illumination(orbit, t_s) * _incidence(orbit, t_s, pointing) * (AU_KM / distance) ** 2
    return t_s, exact


@pytest.mark.parametrize("pointing", ["sun", "nadir", "body"])
def test_energy_of_orbits_is_right(sun_synchronous: Orbit, pointing: str) -> None:
    duration_s = 6 * 5700.0
    profile = generation_profile(sun_synchronous, duration_s, pointing)
    t_s, exact = _fine(sun_synchronous, duration_s, pointing)
    energy = integrate.trapezoid(profile.fraction, profile.t_s)
    assert energy == pytest.approx(integrate.trapezoid(exact, t_s), rel=ENERGY_TOLERANCE)
    # No moment is far off either, so that the state of charge is right inside the orbit too.
    between = np.interp(t_s, profile.t_s, profile.fraction)
    assert np.abs(between - exact).max() < 0.02


def test_energy_inside_a_penumbra_is_right(sun_synchronous: Orbit) -> None:
    penumbra = next(s for s in shadows(sun_synchronous, DAY_S) if s.kind == "penumbra")
    profile = generation_profile(sun_synchronous, DAY_S, "sun")
    t_s = np.linspace(penumbra.start_s, penumbra.end_s, 200)
    rays = 1.0 - rays_hidden(sun_synchronous, t_s, even_disc(2000)).mean(axis=1)
    scale = profile.fraction.max()
    found = integrate.trapezoid(np.interp(t_s, profile.t_s, profile.fraction), t_s)
    assert found == pytest.approx(
        scale * integrate.trapezoid(rays, t_s), rel=PENUMBRA_ENERGY_TOLERANCE
    )


@pytest.mark.parametrize("pointing", ["sun", "nadir", "body"])
def test_knots_are_in_order_and_meet_every_edge(inclined: Orbit, pointing: str) -> None:
    profile = generation_profile(inclined, DAY_S, pointing)
    found = shadows(inclined, DAY_S)
    assert (np.diff(profile.t_s) > 0.0).all()
    assert profile.t_s[0] == 0.0
    assert profile.t_s[-1] == DAY_S
    assert np.isin([t for s in found for t in (s.start_s, s.end_s)], profile.t_s).all()
    for shadow in found:
        if shadow.kind == "umbra":
            inside = (profile.t_s >= shadow.start_s) & (profile.t_s <= shadow.end_s)
            assert (profile.fraction[inside] == 0.0).all()


def test_power_follows_the_distance_of_the_sun() -> None:
    january, july = (
        generation_profile(
            Orbit.from_sun_synchronous(
                datetime(2024, month, 4, tzinfo=UTC), altitude_km=1400.0, ltan_h=6.0
            ),
            3600.0,
            "sun",
        )
        for month in (1, 7)
    )
    # Perihelion at 0.98331 AU, aphelion at 1.01673 AU.
    assert january.fraction.max() == pytest.approx(1.0342, abs=2e-4)
    assert july.fraction.max() == pytest.approx(0.9674, abs=2e-4)


def test_a_mission_wholly_in_the_dark_generates_nothing(sun_synchronous: Orbit) -> None:
    orbit = Orbit.from_sun_synchronous(sun_synchronous.epoch, altitude_km=500.0, ltan_h=0.0)
    profile = generation_profile(orbit, 60.0, "body")
    assert isinstance(profile, GenerationProfile)
    assert profile.t_s.tolist() == [0.0, 60.0]
    assert profile.fraction.tolist() == [0.0, 0.0]


def test_an_unknown_pointing_is_refused(sun_synchronous: Orbit) -> None:
    with pytest.raises(PanelError, match="'moon' is unknown, expected one of sun, nadir, body"):
        generation_profile(sun_synchronous, 60.0, "moon")  # type: ignore[arg-type]
