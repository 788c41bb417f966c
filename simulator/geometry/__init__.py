"""Geometry of a mission: orbit, track, shadow, passes and accesses, computed before anything runs.

Times are seconds since the scenario's epoch. Nothing here knows of SimPy or of the rest of the
simulator.
"""

from __future__ import annotations

from simulator.geometry.accesses import Access, AccessError, accesses
from simulator.geometry.elements import OrbitError
from simulator.geometry.glances import Glance, glances
from simulator.geometry.lvlh import Pointed, Pointing, slew_angle_deg
from simulator.geometry.orbit import Orbit
from simulator.geometry.panels import GenerationProfile, PanelError, generation_profile
from simulator.geometry.passes import Pass, Station, passes
from simulator.geometry.sun import SunError, sun_elevation
from simulator.geometry.sunlight import Shadow, illumination, shadows
from simulator.geometry.track import Track, ground_track

__all__ = [
    "Access",
    "AccessError",
    "GenerationProfile",
    "Glance",
    "Orbit",
    "OrbitError",
    "PanelError",
    "Pass",
    "Pointed",
    "Pointing",
    "Shadow",
    "Station",
    "SunError",
    "Track",
    "accesses",
    "generation_profile",
    "glances",
    "ground_track",
    "illumination",
    "passes",
    "shadows",
    "slew_angle_deg",
    "sun_elevation",
]
