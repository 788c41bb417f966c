"""Look-ahead: a low-resolution camera sees the clouds over a target before the satellite is there.

The camera looks along a line ahead of the satellite, by a mirror of its own, so that slews of the
imager do not move it. When a target that is still wanted crosses the line, camera and processing
draw power until the cover is known, which is soon enough to point elsewhere, or to point here after
all (dynamic targeting). What is read off a low-resolution picture is the cover with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import simpy

from simulator.autonomy.onboard import OnboardPlanner
from simulator.autonomy.tasking import TaskKey
from simulator.geometry import Glance
from simulator.scenario import LookAhead
from simulator.scenario.targets import Target
from simulator.spacecraft.power import PowerSubsystem
from simulator.telemetry.events import Event
from simulator.telemetry.events import Glance as GlanceEvent

TOGETHER_S = 2.0
"""What is seen within so long makes one new plan: a line of sight sweeps over many targets."""

NO_COVER = -1.0
"""Written in place of a cover that is not known."""

CloudsSeen = Callable[[Target, float, float], tuple[float, float]]
"""``clouds(target, t_s, sigma) -> (true cover, cover as seen with an error of that spread)``."""


class LookAheadCamera:
    """The forward-looking camera of one satellite.

    Parameters
    ----------
    env : simpy.Environment
    satellite : str
    section : LookAhead
    glances : sequence of Glance
        By time.
    power : PowerSubsystem
    planner : OnboardPlanner
        Told what was seen.
    clouds : callable
        See `CloudsSeen`.
    replan : callable
        Makes the plan anew.
    log : callable
        Receives `Glance` events.
    """

    def __init__(
        self,
        env: simpy.Environment,
        satellite: str,
        section: LookAhead,
        glances: Sequence[Glance],
        power: PowerSubsystem,
        planner: OnboardPlanner,
        *,
        clouds: CloudsSeen,
        replan: Callable[[str], None],
        log: Callable[[Event], None],
    ) -> None:
        self._env, self._satellite, self._section = env, satellite, section
        self._glances, self._power, self._planner = glances, power, planner
        self._clouds, self._replan, self._log = clouds, replan, log
        self._busy = 0
        self._news = False

    def run(self) -> Generator[simpy.Event, None, None]:
        """The process: look at each wanted target as it crosses the line."""
        for glance in self._glances:
            yield self._env.timeout(max(glance.t_s - self._env.now, 0.0))
            key = self._planner.wanted(glance.access)
            if key is not None and not self._power.low_power:
                self._env.process(self._look(glance, key))

    def _look(self, glance: Glance, key: TaskKey) -> Generator[simpy.Event, None, None]:
        """One glance: power until the decision, then the news to the planner."""
        looked_s = self._env.now
        target = self._planner.tasks[key].target
        believed = self._planner.believed(glance.access)
        true, seen = self._clouds(target, looked_s, self._section.cover_sigma)
        self._busy += 1
        self._power.switch("look_ahead", self._section.power_w, f"look-ahead to {target.name}")
        yield self._power.shed | self._env.timeout(self._section.decide_s)
        self._busy -= 1
        shed = self._power.low_power
        if shed or not self._busy:
            self._power.switch("look_ahead", 0.0, "look-ahead shed" if shed else "look-ahead off")
        self._log(
            GlanceEvent(
                t_s=self._env.now,
                satellite=self._satellite,
                target=target.name,
                period=key[1],
                latitude_deg=target.latitude_deg,
                longitude_deg=target.longitude_deg,
                looked_s=looked_s,
                closest_s=glance.access.closest_s,
                lead_s=glance.access.closest_s - looked_s,
                roll_deg=glance.roll_deg,
                pitch_deg=glance.pitch_deg,
                off_nadir_deg=glance.off_nadir_deg,
                forecast_cover=believed.cover if believed else NO_COVER,
                weather_cover=true,
                cover_seen=NO_COVER if shed else seen,
                outcome="shed" if shed else "seen",
            )
        )
        if not shed:
            self._planner.glanced(glance.access, seen)
            if not self._news:
                self._env.process(self._tell())

    def _tell(self) -> Generator[simpy.Event, None, None]:
        """Make one new plan of all that is seen within `TOGETHER_S`."""
        self._news = True
        yield self._env.timeout(TOGETHER_S)
        self._news = False
        self._replan("glance")
