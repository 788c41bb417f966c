"""A satellite's geometry over the mission: computed once, before anything is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.geometry import (
    Access,
    GenerationProfile,
    Glance,
    Orbit,
    Shadow,
    Track,
    accesses,
    generation_profile,
    glances,
    ground_track,
    passes,
    shadows,
)
from simulator.ground.link_rates import rate_profile
from simulator.scenario import Satellite, Scenario, StationOutage
from simulator.scenario.orbits import orbit_of
from simulator.scenario.targets import Target
from simulator.spacecraft.radio import PlannedPass, plan_pass


@dataclass(frozen=True)
class Flight:
    """What the orbit brings: track, shadow, generation, passes, accesses and glances ahead."""

    orbit: Orbit
    track: Track
    shadows: tuple[Shadow, ...]
    generation: GenerationProfile
    passes: tuple[PlannedPass, ...]
    accesses: tuple[Access, ...]
    glances: tuple[Glance, ...] = ()

    @property
    def period_s(self) -> float:
        """Nodal period of the orbit, s."""
        return self.orbit.period_s


def fly(scenario: Scenario, satellite: Satellite, targets: Sequence[Target]) -> Flight:
    """Compute a satellite's geometry for the whole mission.

    Raises
    ------
    OrbitError
        When the orbit cannot be built or decays during the mission.
    """
    orbit = orbit_of(scenario, satellite)
    duration_s = scenario.duration_s
    imager, look_ahead = satellite.imager, satellite.look_ahead
    found = accesses(
        orbit,
        [target.name for target in targets],
        [target.latitude_deg for target in targets],
        [target.longitude_deg for target in targets],
        max_off_nadir_deg=imager.max_off_nadir_deg,
        min_sun_elevation_deg=imager.min_sun_elevation_deg,
        duration_s=duration_s,
    )
    return Flight(
        orbit=orbit,
        track=ground_track(orbit, duration_s),
        shadows=tuple(shadows(orbit, duration_s)),
        generation=generation_profile(orbit, duration_s, satellite.power.pointing),
        passes=_planned_passes(scenario, satellite, orbit),
        accesses=tuple(found),
        glances=()
        if look_ahead is None
        else tuple(
            glances(
                orbit,
                found,
                {target.name: (target.latitude_deg, target.longitude_deg) for target in targets},
                pitch_deg=look_ahead.pitch_deg,
                half_swath_deg=look_ahead.half_swath_deg,
            )
        ),
    )


def _planned_passes(
    scenario: Scenario, satellite: Satellite, orbit: Orbit
) -> tuple[PlannedPass, ...]:
    """Passes over all stations by AOS, with rates and the windows that can be used."""
    planned = []
    for station in scenario.ground.stations:
        outages_s = tuple(
            (fault.from_h * 3600.0, fault.to_h * 3600.0)
            for fault in scenario.faults
            if isinstance(fault, StationOutage) and fault.station == station.name
        )
        mask_deg = scenario.ground.mask_deg(station)
        for contact in passes(orbit, station, mask_deg, scenario.duration_s):
            rates = rate_profile(satellite.radio, contact)
            planned.append(plan_pass(contact, rates, satellite.radio.acquisition_s, outages_s))
    return tuple(sorted(planned, key=lambda p: (p.contact.aos_s, p.contact.station)))
