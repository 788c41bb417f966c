"""The closed loop: what the payload sees changes what is kept, sent and imaged next."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from payload.card_file import save_card
from payload.card_library import load_card
from simulator.telemetry.audit import audit
from simulator.telemetry.events import EVENT_TYPES
from simulator.telemetry.run_folder import RunFolder

POLICIES = ("bent_pipe", "discard", "prune", "prioritise", "reschedule", "oracle")


def rows(run: RunFolder, name: str) -> list[dict]:
    return run.events(name).to_pylist()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_capture_has_one_decision_and_every_product_one_capture(fly, policy):
    run = fly(autonomy__policy=policy)
    captures = [row["capture"] for row in rows(run, "capture")]
    assert len(captures) > 15
    assert sorted(row["capture"] for row in rows(run, "decision")) == sorted(captures)
    kept = {row["capture"] for row in rows(run, "decision") if row["bytes_kept"]}
    assert {row["capture"] for row in rows(run, "product")} == kept
    inferred = [row["capture"] for row in rows(run, "inference")]
    model_on_board = policy not in ("bent_pipe", "oracle")
    assert sorted(inferred) == (sorted(captures) if model_on_board else [])


def test_all_policies_see_the_same_weather_and_scenes(fly):
    looks: dict[tuple, set] = {}
    for policy in POLICIES:
        for row in rows(fly(autonomy__policy=policy), "capture"):
            key = (row["target"], round(row["t_s"], 6))
            looks.setdefault(key, set()).add((row["weather_cover"], row["frame_sha256"]))
    shared = [seen for seen in looks.values() if seen]
    assert len(shared) > 15
    assert all(len(seen) == 1 for seen in shared)


def test_model_calls_are_the_distinct_tiles(fly):
    run = fly(autonomy__policy="prune")
    inferences = rows(run, "inference")
    distinct = {tile for row in inferences for tile in row["tile_sha256"]}
    calls = sum(row["model_calls"] for row in run.host_events("inference").to_pylist())
    assert calls == len(distinct)
    assert {row["model"] for row in inferences} == {"threshold"}
    assert all(row["tiles"] == len(row["tile_sha256"]) == 4 for row in inferences)


def test_changing_one_weight_changes_decisions(fly, tmp_path):
    card = load_card("threshold")
    graph = onnx.load(card.onnx_path)
    weight = next(t for t in graph.graph.initializer if t.name == "green_very_bright")
    weight.CopyFrom(numpy_helper.from_array(np.float32(0.05).reshape(()), weight.name))
    onnx.save(graph, tmp_path / "twisted.onnx")
    content = (tmp_path / "twisted.onnx").read_bytes()
    twisted_card = dataclasses.replace(
        card,
        name="twisted",
        onnx="twisted.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )
    save_card(twisted_card, tmp_path / "twisted.yaml")
    model = {"satellites__*__payload__model": str(tmp_path / "twisted.yaml")}
    twisted = fly(autonomy__policy="prune", **model)
    straight = fly(autonomy__policy="prune")
    assert [r["cover_detected"] for r in rows(twisted, "decision")] != [
        r["cover_detected"] for r in rows(straight, "decision")
    ]
    assert {r["model"] for r in rows(twisted, "inference")} == {"twisted"}


GROUND_DELAY_H = 24
LONGEST_ACCESS_S = 900.0
NEAR_COVER = 0.1


def test_reschedule_looks_again_and_bent_pipe_cannot_so_soon(fly):
    def waits_s(policy: str) -> list[float]:
        last: dict[str, float] = {}
        waits = []
        # A forecast that knows nothing: many first images turn out cloudy.
        run = fly(
            autonomy__policy=policy,
            weather__forecast_sigma_24h=1.0,
            ground__processing_delay_h=GROUND_DELAY_H,
            **{"satellites__*__imager__max_off_nadir_deg": 50},
        )
        for row in rows(run, "capture"):
            if row["reacquisition"]:
                waits.append(row["t_s"] - last[row["target"]])
            last[row["target"]] = row["t_s"]
        return waits

    on_board, by_ground = waits_s("reschedule"), waits_s("bent_pipe")
    assert min(on_board) < GROUND_DELAY_H * 3600.0 <= min(by_ground, default=np.inf)
    assert min(on_board) > LONGEST_ACCESS_S, "the clouds of one access are the same all through"


@pytest.mark.parametrize(("correlation_h", "believes_the_look"), [(8000, True), (0.5, False)])
def test_a_plan_reckons_with_what_the_payload_saw_as_long_as_clouds_last(
    fly, correlation_h, believes_the_look
):
    run = fly(
        weather__forecast_sigma_24h=1.0,
        weather__correlation_h=correlation_h,
        **{"satellites__*__imager__max_off_nadir_deg": 50},
    )
    seen = {row["capture"]: row["cover_detected"] for row in rows(run, "decision")}
    last = {row["target"]: seen[row["capture"]] for row in rows(run, "capture")}
    again = [row for row in rows(run, "plan") if "last look" in row["reason"]]
    assert again
    near = [abs(row["forecast_cover"] - last[row["target"]]) < NEAR_COVER for row in again]
    assert all(near) == believes_the_look


def test_the_ground_asks_again_after_its_delay(fly):
    run = fly(autonomy__policy="bent_pipe", ground__processing_delay_h=2)
    asked = rows(run, "uplink")
    assert asked
    ready = {
        row["target"]: row["tasking_ready_s"]
        for row in reversed(rows(run, "ground"))
        if row["tasking_ready_s"] >= 0
    }
    for row in asked:
        assert all(row["t_s"] >= ready[target] for target in row["targets"])
    assert {r["target"] for r in rows(run, "capture") if r["reacquisition"]} <= {
        target for row in asked for target in row["targets"]
    }


@pytest.mark.parametrize("policy", ["bent_pipe", "prune", "prioritise"])
def test_the_radio_takes_the_best_rank_that_waits(fly, policy):
    run = fly(autonomy__policy=policy)
    products = {row["product"]: row for row in rows(run, "product")}
    done_s = {row["product"]: row["end_s"] for row in rows(run, "downlink") if row["complete"]}
    started = rows(run, "downlink")
    assert len(started) > 4
    for sent in started:
        waiting = [
            row["rank_key"]
            for name, row in products.items()
            if row["t_s"] < sent["start_s"] < done_s.get(name, np.inf)
        ]
        assert products[sent["product"]]["rank_key"] >= max(waiting, default=-np.inf)


def test_what_becomes_urgent_overtakes_in_the_queue(small_scenario, fly):
    run = fly(
        targets=str(small_scenario().folder / "targets" / "world_200.geojson"),
        **{"satellites__*__radio__rate_mbps": 0.05},
    )
    products = {row["product"]: row for row in rows(run, "product")}
    done_s = {row["product"]: row["end_s"] for row in rows(run, "downlink") if row["complete"]}
    overtaken = [
        name
        for sent in rows(run, "downlink")
        for name, row in products.items()
        if row["t_s"] < sent["start_s"] < done_s.get(name, np.inf)
        and row["rank_key"] > products[sent["product"]]["rank_key"]
    ]
    assert overtaken
    report = audit(run)
    assert report.passed, report.text()


def test_two_processes_write_identical_events(small_targets, tmp_path):
    hashes = []
    for name in ("first", "second"):
        script = (
            "import sys; from pathlib import Path; from simulator.mission import run_mission;"
            "from simulator.scenario import load_scenario;"
            "run_mission(load_scenario('first_light', {'targets': sys.argv[1], 'duration_h': 12,"
            "'satellites.*.payload.model': 'threshold'}), Path(sys.argv[2]))"
        )
        out = tmp_path / name
        command = [sys.executable, "-c", script, str(small_targets), str(out)]
        subprocess.run(command, check=True)
        (folder,) = out.iterdir()
        hashes.append({p.name: sha256(p) for p in sorted((folder / "events").iterdir())})
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == len(EVENT_TYPES)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
