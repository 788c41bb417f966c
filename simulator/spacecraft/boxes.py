"""The payload of a mission as a box: recorded, watched, and made to fail as the scenario orders.

The simulation talks to a `PayloadLink` and cannot tell bodies apart. What it should not notice is
done here, around the link: every reply of a live body is recorded, so that `replay:PATH` gives the
same mission without the box; what the box says of itself (process numbers, restarts, which cage
is in force) goes to host events; and faults are drawn for each frame from the scenario's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from payload.card_library import load_card
from payload.device import load_device
from payload.frame import Capabilities, Frame, FrameResult, Health, PayloadLink
from payload.link import PayloadSettings, open_link
from payload.link.client import WireLink
from payload.link.faults import Exposure, FaultPlan, in_south_atlantic_anomaly
from payload.link.faulty import FaultyLink
from payload.link.subprocess import SubprocessLink
from payload.link.trace import RecordingLink, TraceError
from simulator.autonomy.policies import POLICIES
from simulator.geometry import Track
from simulator.scenario import Payload, PayloadFaults, Satellite, Scenario
from simulator.telemetry.events import Event
from simulator.telemetry.host_events import HostPayload
from simulator.telemetry.run_folder import RunWriter

REPLAY = "replay:"
TRACE_FOLDER = "trace"
"""Folder of a run folder with one trace per satellite."""


@dataclass(frozen=True)
class BoxPlace:
    """Where a box is: on which satellite, along which track, and whose clock and log it uses."""

    satellite: str
    track: Track
    now_s: Callable[[], float]
    log: Callable[[Event], None]


STILL_AT_WORK = "still at work on a frame and given up; the counts are those of its last report"
"""What is noted of a payload that had not answered when the mission ended."""


class WatchedBox:
    """A payload whose recorded, faulty life is logged.

    Parameters
    ----------
    link : PayloadLink
        As `payload.link.open_link` gave it.
    settings : PayloadSettings
        What it was opened with.
    place : BoxPlace
    plan : FaultPlan or None
        Faults in the box, if the scenario orders any.
    trace : Path or None
        Folder for the trace, if replies are recorded.
    weight_bytes : int
        Size of the model's weights: what upsets can hit.
    """

    def __init__(
        self,
        link: PayloadLink,
        settings: PayloadSettings,
        place: BoxPlace,
        *,
        plan: FaultPlan | None = None,
        trace: Path | None = None,
        weight_bytes: int = 0,
    ) -> None:
        self._place = place
        self._plan = plan
        self._weight_bytes = weight_bytes
        self._faulty: FaultyLink | None = None
        self._enforced = link.enforced if isinstance(link, SubprocessLink) else ""
        if plan is not None:
            injectable = link if isinstance(link, WireLink) else None
            link = self._faulty = FaultyLink(link, settings, plan, injectable)
        self._link: PayloadLink = (
            link if trace is None else RecordingLink(link, trace, settings.timing)
        )
        self._last_s = 0.0
        self._at_work = False
        self._health = Health(True, 0.0, 0, 0)
        self._anomaly_s = _time_in_anomaly_s(place.track)
        self._note("start")

    def describe(self) -> Capabilities:
        """What the payload says of itself."""
        return self._link.describe()

    def process(self, frame: Frame) -> FrameResult:
        """Have the frame processed, under whatever befalls it."""
        if self._faulty is not None and self._plan is not None:
            exposure = self._exposure(frame)
            self._faulty.suffer(
                self._plan.for_frame(
                    self._place.satellite,
                    frame.occasion or frame.frame_id,
                    exposure=exposure,
                    weight_bytes=self._weight_bytes,
                )
            )
        # Under real-time pace this runs in a worker thread: nothing may be logged here.
        self._at_work = True
        try:
            return self._link.process(frame)
        finally:
            self._at_work = False

    def health(self) -> Health:
        """Health of the payload."""
        return self._link.health()

    def reset(self) -> None:
        """Restart the payload."""
        self._link.reset()
        self._note("restart")

    def close(self) -> None:
        """Note how the payload ended, and release it.

        One that is still at work on a frame is not asked: its worker would take the answer.
        """
        self._note("end")
        self._link.close()

    def _exposure(self, frame: Frame) -> Exposure:
        """How long weights lay in memory since the last frame, and this frame before its turn."""
        now_s, track = self._place.now_s(), self._place.track
        inside_s = float(
            np.interp(now_s, track.t_s, self._anomaly_s)
            - np.interp(self._last_s, track.t_s, self._anomaly_s)
        )
        elapsed_s = max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        index = min(int(np.searchsorted(track.t_s, now_s)), len(track.t_s) - 1)
        return Exposure(
            quiet_s=max(elapsed_s - inside_s, 0.0),
            anomaly_s=inside_s,
            frame_s=FRAME_WAIT_S,
            frame_in_anomaly=in_south_atlantic_anomaly(
                float(track.latitude_deg[index]), float(track.longitude_deg[index])
            ),
            frame_bytes=frame.reflectance.nbytes,
        )

    def _note(self, moment: str) -> None:
        if self._at_work:
            health = replace(self._health, alive=False, rss_mib=0.0, detail=STILL_AT_WORK)
        else:
            health = self._health = self._link.health()
        self._place.log(
            HostPayload(
                t_s=self._place.now_s(),
                satellite=self._place.satellite,
                moment=moment,
                link=self._link.describe().link,
                alive=health.alive,
                rss_mib=health.rss_mib,
                frames=health.frames_processed,
                restarts=health.restarts,
                enforced=self._enforced,
                detail=health.detail,
            )
        )


FRAME_WAIT_S = 10.0
"""Time a frame lies in memory before its turn, for upsets in pixels. Assumed: between the exposure
and the end of processing a frame is moved, queued and read once; no source was found."""


def _time_in_anomaly_s(track: Track) -> np.ndarray:
    """Cumulative time inside the South Atlantic Anomaly at each point of a track, s."""
    inside = np.array(
        [
            in_south_atlantic_anomaly(latitude, longitude)
            for latitude, longitude in zip(
                track.latitude_deg.tolist(), track.longitude_deg.tolist(), strict=True
            )
        ]
    )
    steps_s = np.diff(track.t_s, prepend=track.t_s[0])
    return np.cumsum(np.where(inside, steps_s, 0.0))


def open_payloads(scenario: Scenario, stack: ExitStack) -> dict[str, PayloadLink]:
    """One payload per satellite, where the policy has a model on board; closed by `stack`.

    Raises
    ------
    LinkError, ModelError, DeviceError, PayloadError, CageError
        When a payload cannot be had as the scenario asks.
    """
    if POLICIES[scenario.autonomy.policy].detector != "model":
        return {}
    links: dict[str, PayloadLink] = {}
    for satellite in scenario.satellites:
        settings = settings_of(scenario, satellite.payload)
        link = open_link(
            placed_link(scenario, satellite.payload.link, satellite.name),
            model=settings.model,
            device=settings.device,
            timing=settings.timing,
            memory_limit_mib=settings.memory_limit_mib,
            power_limit_w=settings.power_limit_w,
        )
        stack.callback(link.close)
        links[satellite.name] = link
    return links


def box_payloads(
    scenario: Scenario,
    tracks: Mapping[str, Track],
    links: Mapping[str, PayloadLink],
    now_s: Callable[[], float],
    writer: RunWriter,
) -> dict[str, WatchedBox]:
    """Put every payload into its box: watched, recorded if it is live, faulty if ordered."""
    boxes = {}
    for satellite in scenario.satellites:
        if satellite.name not in links:
            continue
        settings = settings_of(scenario, satellite.payload)
        replayed = satellite.payload.link.startswith(REPLAY)
        boxes[satellite.name] = WatchedBox(
            links[satellite.name],
            settings,
            BoxPlace(satellite.name, tracks[satellite.name], now_s, writer.write),
            plan=None if replayed else fault_plan(scenario, satellite.name),
            trace=None if replayed else writer.folder / TRACE_FOLDER / satellite.name,
            weight_bytes=load_card(settings.model).bytes,
        )
    return boxes


def settings_of(scenario: Scenario, payload: Payload) -> PayloadSettings:
    """What a scenario asks of a payload; paths are relative to the scenario file."""
    return PayloadSettings(
        model=scenario.name_or_path(payload.model),
        device=scenario.name_or_path(payload.device),
        timing=payload.timing,
        memory_limit_mib=payload.memory_limit_mib,
        power_limit_w=payload.power_limit_w,
    )


def placed_link(scenario: Scenario, link: str, satellite: str) -> str:
    """A link whose trace, if it is a replay, is found relative to the scenario file.

    A run folder may be named instead of a trace: each satellite then replays its own.

    Raises
    ------
    payload.link.trace.TraceError
        The run has no trace of this satellite.
    """
    if not link.startswith(REPLAY):
        return link
    named = scenario.resolve(link.removeprefix(REPLAY))
    traces = named / TRACE_FOLDER
    own = traces / satellite
    if traces.is_dir() and not own.exists():
        recorded = ", ".join(sorted(trace.name for trace in traces.iterdir()))
        raise TraceError(
            f"link: {named} is a run with traces of {recorded}, and none of {satellite}; name one "
            f"of them, such as {REPLAY}{traces / recorded.split(', ')[0]}"
        )
    trace = own if own.exists() else named
    return f"{REPLAY}{trace}" if trace.exists() else link


def frame_energy_wh(scenario: Scenario, satellite: Satellite) -> float:
    """Energy of the payload's work on one frame by its device profile, Wh.

    A frame that takes longer than its deadline is given up then.
    """
    card = load_card(scenario.name_or_path(satellite.payload.model))
    device = load_device(scenario.name_or_path(satellite.payload.device))
    work_s = device.latency_s(card, satellite.imager.tiles)
    return device.energy_wh(min(work_s, satellite.payload.frame_deadline_s))


def fault_plan(scenario: Scenario, satellite: str) -> FaultPlan | None:
    """The faults in one satellite's box, if the scenario orders any."""
    for fault in scenario.faults:
        if isinstance(fault, PayloadFaults) and fault.satellite in (None, satellite):
            return FaultPlan(
                seed=scenario.seed,
                **fault.model_dump(exclude={"kind", "satellite"}),
            )
    return None


def ordered_reboots_s(scenario: Scenario, satellite: str) -> dict[str, float]:
    """Time one satellite's payload is away after a crash or a hang, by the scenario's faults.

    The scenario decides, not the box: a replay has no faults of its own and is away as long.
    """
    plan = fault_plan(scenario, satellite)
    return {} if plan is None else {"crashed": plan.reboot_s, "timeout": plan.reboot_s}
