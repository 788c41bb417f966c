"""The payload as a box in a mission: other bodies and replays leave the same log, faults show."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import simulator.mission
from payload.device import load_device
from payload.link.faults import FaultPlan, FrameFaults
from payload.link.trace import TraceError
from simulator.mission import run_mission
from simulator.scenario import Scenario, ScenarioError
from simulator.spacecraft.boxes import STILL_AT_WORK
from simulator.spacecraft.computer import WATCHDOG_RESTART_S
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder

HOURS = 12
LINK = "satellites__*__payload__link"
NAME = "satellites__0__name"

FAULTS = {
    "kind": "payload_faults",
    "crash_per_frame": 0.3,
    "link_loss_per_frame": 0.3,
    "slow_down_per_frame": 0.2,
    "upsets_per_bit_day": 1e-5,
    "saa_factor": 10,
    "reboot_s": 20,
}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "events").glob("*.parquet"))
    }


def statuses(folder: Path) -> Counter[str]:
    return Counter(RunFolder.open(folder).events("inference").column("status").to_pylist())


@pytest.fixture(scope="module")
def at_hand(
    small_scenario: Callable[..., Scenario], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return run_mission(small_scenario(duration_h=HOURS), tmp_path_factory.mktemp("at-hand"))


def test_a_caged_payload_and_its_replay_leave_the_log_of_one_at_hand(
    at_hand: Path, small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    caged = run_mission(small_scenario(duration_h=HOURS, **{LINK: "subprocess"}), tmp_path)
    assert digests(caged) == digests(at_hand)
    moments = RunFolder.open(caged).host_events("payload").to_pylist()
    assert [row["moment"] for row in moments] == ["start", "end"]
    assert "memory 512 MiB by" in moments[0]["enforced"]
    assert moments[1]["frames"] == sum(statuses(at_hand).values())
    trace = next((caged / "trace").iterdir())
    replay = run_mission(small_scenario(duration_h=HOURS, **{LINK: f"replay:{trace}"}), tmp_path)
    assert digests(replay) == digests(at_hand)
    assert not (replay / "trace").exists()


def test_a_payload_at_hand_is_recorded_too_and_replayed_from_the_run_folder(
    at_hand: Path, small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    again = small_scenario(duration_h=HOURS, **{LINK: f"replay:{at_hand}"})
    replay = run_mission(again, tmp_path)
    assert digests(replay) == digests(at_hand)
    moments = RunFolder.open(replay).host_events("payload").to_pylist()
    assert {row["link"] for row in moments} == {"replay"}
    masks = list((at_hand / "trace").glob("*/masks/*.npz"))
    assert 0 < len(masks) <= sum(statuses(at_hand).values())


def test_a_run_without_a_trace_of_the_satellite_says_whose_it_has(
    at_hand: Path, small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    other = small_scenario(duration_h=HOURS, **{LINK: f"replay:{at_hand}"}, **{NAME: "other"})
    with pytest.raises(TraceError, match="with traces of neph-1, and none of other"):
        run_mission(other, tmp_path)


def test_measured_time_decides_once_and_is_replayed_to_the_bit(
    small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    timing = {"satellites__*__payload__timing": "measured"}
    live = run_mission(small_scenario(duration_h=6, **timing, **{LINK: "subprocess"}), tmp_path)
    trace = next((live / "trace").iterdir())
    replay = run_mission(
        small_scenario(duration_h=6, **timing, **{LINK: f"replay:{trace}"}), tmp_path
    )
    assert digests(replay) == digests(live)
    inferences = RunFolder.open(replay).events("inference").to_pylist()
    assert {row["provenance"] for row in inferences} == {"modelled"}, "a stand-in"
    assert len({row["latency_s"] for row in inferences}) > 1


def test_over_its_memory_the_caged_payload_dies_and_the_mission_goes_on(
    small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    changes = {LINK: "subprocess", "satellites__*__payload__memory_limit_mib": 40}
    run = run_mission(small_scenario(duration_h=4, **changes), tmp_path)
    assert set(statuses(run)) == {"out_of_memory"}
    restarts = [
        row["detail"]
        for row in RunFolder.open(run).host_events("payload").to_pylist()
        if row["moment"] == "restart"
    ]
    assert len(restarts) == sum(statuses(run).values())
    assert "ended by signal SIGKILL, 1 kills for memory; restarted as pid" in restarts[0]
    faults = RunFolder.open(run).events("fault").to_pylist()
    assert {row["kind"] for row in faults} == {"out_of_memory"}
    assert {row["end_s"] - row["t_s"] for row in faults} == {WATCHDOG_RESTART_S}


def test_faults_in_the_box_show_and_repeat(
    at_hand: Path, small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    faulty = small_scenario(duration_h=HOURS, faults=[FAULTS])
    one = run_mission(faulty, tmp_path / "one")
    other = run_mission(faulty, tmp_path / "other")
    assert digests(one) == digests(other)
    assert digests(one) != digests(at_hand)
    found = statuses(one)
    assert found["crashed"] > 0
    assert found["link_lost"] > 0
    assert found["ok"] > 0
    assert sum(found.values()) == RunFolder.open(one).events("capture").num_rows


@pytest.mark.parametrize("reboot_s", [0.0, 30.0, 300.0])
@pytest.mark.parametrize(("fault", "status"), [("crash", "crashed"), ("hang", "timeout")])
def test_after_a_fault_the_payload_is_away_for_its_reboot_and_no_longer(
    small_scenario: Callable[..., Scenario],
    tmp_path: Path,
    fault: str,
    status: str,
    reboot_s: float,
) -> None:
    faults = {"kind": "payload_faults", f"{fault}_per_frame": 1, "reboot_s": reboot_s}
    run = RunFolder.open(run_mission(small_scenario(duration_h=6, faults=[faults]), tmp_path))
    inferences = run.events("inference").to_pylist()
    died_s = [row["t_s"] for row in inferences if row["status"] == status]
    fallen = run.events("fault").to_pylist()
    assert [row["t_s"] for row in fallen] == died_s
    assert died_s
    assert all(row["end_s"] - row["t_s"] == pytest.approx(reboot_s) for row in fallen)
    hung_s = FaultPlan().hang_s if fault == "hang" else 0.0
    assert all(hung_s <= row["latency_s"] < hung_s + 1 for row in inferences)
    drawn_w = {
        row["t_s"]: row["payload_w"] for row in run.events("power").to_pylist()
    }  # the last row of each instant
    idle_power_w = load_device("myriad2").idle_power_w
    assert {drawn_w[t_s] for t_s in died_s} == {idle_power_w}
    assert audit(run).passed


def test_lost_frames_keep_the_power_limit(
    small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    lost = {f"{fault}_per_frame": 0.5 for fault in ("crash", "hang", "link_loss")}
    changes = {"satellites__*__payload__power_limit_w": 1.0}
    faults = [{"kind": "payload_faults"} | lost]
    run = run_mission(small_scenario(duration_h=HOURS, faults=faults, **changes), tmp_path)
    assert {"crashed", "timeout", "link_lost"} <= set(statuses(run))
    assert audit(RunFolder.open(run)).passed


def test_faults_on_a_stranger_are_refused(small_scenario: Callable[..., Scenario]) -> None:
    with pytest.raises(ScenarioError, match="satellite"):
        small_scenario(faults=[FAULTS | {"satellite": "nobody"}])


def test_under_real_time_the_mission_keeps_step(
    small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    changes = {
        "satellites__*__payload__pace": "realtime",
        "satellites__*__payload__realtime_factor": 3600,
    }
    run = RunFolder.open(run_mission(small_scenario(duration_h=2, **changes), tmp_path))
    pace = run.host_events("pace").to_pylist()[0]
    assert pace["factor"] == 3600
    assert 0 <= pace["p50_s"] <= pace["p99_s"] <= pace["max_s"]
    mission = next(r for r in run.host_events("run").to_pylist() if r["phase"] == "mission")
    assert mission["wall_s"] >= 2.0  # two hours at 3600 simulated seconds a second


def test_under_real_time_the_power_limit_holds_while_the_answer_is_awaited(
    small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    limit_w = 1.0
    changes = {
        "satellites__*__payload__pace": "realtime",
        "satellites__*__payload__realtime_factor": 3600,
        "satellites__*__payload__power_limit_w": limit_w,
    }
    run = RunFolder.open(run_mission(small_scenario(duration_h=2, **changes), tmp_path))
    drawn_w = run.events("power")["payload_w"].to_pylist()
    assert 0 < max(drawn_w) <= limit_w
    assert audit(run).passed


def fly_to_the_middle_of_a_frame(
    at_hand: Path, small_scenario: Callable[..., Scenario], out_dir: Path, hang_s: float
) -> RunFolder:
    """A real-time mission of a caged payload that ends while its first frame is under way."""
    first_s = RunFolder.open(at_hand).events("capture")["t_s"].to_pylist()[0]
    factor = 20_000
    changes = {
        LINK: "subprocess",
        "satellites__*__payload__pace": "realtime",
        "satellites__*__payload__realtime_factor": factor,
        "faults": [{"kind": "payload_faults", "hang_per_frame": 1, "hang_s": hang_s}],
        "duration_h": (first_s + hang_s * factor / 4) / 3600,
    }
    return RunFolder.open(run_mission(small_scenario(**changes), out_dir))


def end_of(run: RunFolder) -> dict[str, object]:
    (row,) = [r for r in run.host_events("payload").to_pylist() if r["moment"] == "end"]
    return row


def test_the_end_of_a_real_time_mission_waits_for_the_frame_under_way(
    at_hand: Path, small_scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    run = fly_to_the_middle_of_a_frame(at_hand, small_scenario, tmp_path, hang_s=3.0)
    assert end_of(run)["alive"], end_of(run)["detail"]
    (trace,) = (run.path / "trace").glob("*/trace.jsonl")
    assert len(trace.read_text().splitlines()) == 2, "header, and the frame under way"


def test_the_end_of_a_real_time_mission_waits_no_longer_than_it_may(
    at_hand: Path,
    small_scenario: Callable[..., Scenario],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulator.mission, "END_PATIENCE_S", 0.1)
    run = fly_to_the_middle_of_a_frame(at_hand, small_scenario, tmp_path, hang_s=3.0)
    assert (end_of(run)["alive"], end_of(run)["detail"]) == (False, STILL_AT_WORK)


def test_faults_are_drawn_by_what_was_imaged_when(
    small_scenario: Callable[..., Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by a running number: under another policy the same capture has another one."""
    drawn: list[str] = []
    draw = FaultPlan.for_frame

    def noted(plan: FaultPlan, satellite: str, occasion: str, **exposed: object) -> FrameFaults:
        drawn.append(occasion)
        return draw(plan, satellite, occasion, **exposed)

    monkeypatch.setattr(FaultPlan, "for_frame", noted)
    run = RunFolder.open(run_mission(small_scenario(duration_h=HOURS, faults=[FAULTS]), tmp_path))
    captures = {r["capture"]: r for r in run.events("capture").to_pylist()}
    asked = [captures[r["capture"]] for r in run.events("inference").to_pylist() if r["model"]]
    assert drawn == [f"{row['target']} at {row['t_s']!r} s" for row in asked]
