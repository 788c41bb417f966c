"""Crops, compression, previews and quotas in flight: they do what they say, and are audited."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.scenario import load_scenario
from simulator.scenario.problems import ScenarioError
from simulator.spacecraft.handling import region_blocks
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder

PRUNE = {"autonomy__policy": "prune"}
PIPE = {"autonomy__policy": "bent_pipe"}
MASK_FIRST = PRUNE | {
    "data_handling__preview": "mask",
    "data_handling__request_max_cloud_fraction": 0.3,
    # Look blindly and keep nearly everything, so that some masks show too much cloud to ask on.
    "weather__forecast_sigma_24h": 1.0,
    "autonomy__block_cloud_fraction": 0.95,
}


def rows(run: RunFolder, name: str) -> list[dict]:
    return run.events(name).to_pylist()


def test_compressed_pixels_are_the_same_pixels_in_fewer_bytes(fly):
    raw, small = fly(**PRUNE), fly(**PRUNE, data_handling__compression="jpeg2000")
    assert audit(small).passed
    first = {row["capture"]: row for row in rows(raw, "decision")}
    same = [row for row in rows(small, "decision") if row["capture"] in first]
    assert len(same) > 10
    for row in same[:10]:
        assert row["bytes_kept"] <= first[row["capture"]]["bytes_kept"]
        assert row["clear_px_kept"] == first[row["capture"]]["clear_px_kept"]
    assert raw.metrics()["compression_ratio"] == 1.0
    assert small.metrics()["compression_ratio"] > 1.5
    assert small.metrics()["clear_km2_delivered"] >= raw.metrics()["clear_km2_delivered"]


def test_one_frame_costs_imagers_of_other_bands_and_bits_other_bytes(small_scenario, fly):
    first = small_scenario().satellites[0].model_dump(mode="json", exclude_none=True)
    others = {"neph-2": {"bit_depth": 10}, "neph-3": {"bands": 7}}
    satellites = [first] + [
        first | {"name": name, "imager": first["imager"] | change}
        for name, change in others.items()
    ]
    run = fly(
        satellites=satellites,
        data_handling__compression="jpeg2000",
        weather__mean_cover=0.0,
        duration_h=36,
    )
    seen = {}
    for row in rows(run, "capture"):
        seen.setdefault(row["frame_sha256"], set()).add(row["satellite"])
    assert {"neph-1", "neph-2", "neph-3"} in seen.values()
    assert audit(run).passed


def test_pixels_wait_behind_their_mask_until_the_ground_asks(fly):
    run = fly(**MASK_FIRST)
    assert audit(run).passed
    products = rows(run, "product")
    masks = {row["capture"]: row for row in products if row["kind"] == "mask"}
    asked_s = {c: row["t_s"] for row in rows(run, "uplink") for c in row["requested"]}
    pixels = [row for row in products if row["kind"] == "pixels"]
    assert len(masks) > 10
    assert pixels
    assert all(row["t_s"] == asked_s[row["capture"]] for row in pixels)
    assert max(row["bytes"] for row in masks.values()) < min(row["bytes"] for row in pixels) / 5
    answers = {row["answer"] for row in rows(run, "ground") if row["source"] == "mask"}
    assert answers == {"request", "release"}
    assert run.metrics()["pixels_released"] > 0


def test_a_bent_pipe_can_be_screened_by_thumbnails(fly):
    plain = fly(**PIPE).metrics()
    run = fly(**PIPE, data_handling__preview="thumbnail")
    assert audit(run).passed
    assert run.metrics()["clear_fraction_delivered"] > plain["clear_fraction_delivered"]


def test_without_a_mask_the_pixels_go_at_once(fly):
    run = fly(**PIPE, data_handling__preview="mask")
    assert {row["kind"] for row in rows(run, "product")} == {"pixels"}


def test_only_the_region_of_interest_is_sent(fly):
    run = fly(**PRUNE, data_handling__region_of_interest_km=[5, 5])
    assert audit(run).passed
    middle = {5, 6, 9, 10}
    decisions = rows(run, "decision")
    assert all(set(row["kept_blocks"]) <= middle for row in decisions)
    assert {row["action"] for row in decisions} >= {"keep", "drop"}
    assert run.metrics()["targets_satisfied"] > 0


@pytest.mark.parametrize(
    ("region_km", "blocks"),
    [
        (None, set(range(16))),
        ((0.1, 0.1), {5, 6, 9, 10}),
        ((5.12, 5.12), {5, 6, 9, 10}),
        ((5.13, 0.1), {1, 2, 5, 6, 9, 10, 13, 14}),
        ((99, 99), set(range(16))),
    ],
)
def test_the_region_is_the_blocks_it_touches(region_km, blocks):
    scenario = load_scenario("first_light", {"data_handling.region_of_interest_km": region_km})
    assert set(region_blocks(scenario.data_handling, scenario.satellites[0].imager)) == blocks


RATIONED = {
    "satellites__0__storage_gib": 0.05,
    "satellites__0__radio__rate_mbps": 0.1,
    "data_handling__storage_quotas": [{"max_priority": 1, "fraction": 0.15}],
}


@pytest.mark.parametrize("planner", ["fifo", "greedy", "optimal"])
def test_what_a_quota_has_no_room_for_is_not_imaged(fly, planner):
    """Nothing is dropped for room by this policy: a frame too many would be lost."""
    rationed = fly(autonomy__policy="bent_pipe", autonomy__planner=planner, **RATIONED)
    assert audit(rationed).passed
    assert all(row["stored"] for row in rows(rationed, "capture"))
    features = rationed.targets()["features"]
    low = {f["properties"]["name"] for f in features if f["properties"]["priority"] <= 1}
    free = fly(
        autonomy__policy="bent_pipe", autonomy__planner=planner,
        **RATIONED | {"data_handling__storage_quotas": []},
    )  # fmt: skip
    of_low = [sum(r["target"] in low for r in rows(run, "capture")) for run in (rationed, free)]
    assert 0 < of_low[0] < of_low[1]
    others = [sum(r["target"] not in low for r in rows(run, "capture")) for run in (rationed, free)]
    assert others[0] >= others[1]


def test_quotas_keep_room_for_what_matters(fly):
    run = fly(autonomy__policy="prioritise", **RATIONED)
    assert audit(run).passed
    full = "the quota of priority 1 and below is full"
    turned_away = [row for row in rows(run, "decision") if row["action"] == "overflow"]
    dropped = {
        row["capture"] for row in rows(run, "storage") if row["change"] == "dropped_overflow"
    }
    priority = {
        f["properties"]["name"]: f["properties"]["priority"] for f in run.targets()["features"]
    }
    of = {row["capture"]: priority[row["target"]] for row in rows(run, "capture")}
    assert dropped
    assert {of[capture] for capture in dropped} == {1}
    assert all(row["reason"] == full for row in turned_away)
    assert run.metrics()["storage_peak_fraction"] < 1.0


def test_the_ground_may_be_wrong(fly):
    perfect = fly(**PIPE)
    fallible = fly(**PIPE, ground__screening="threshold")
    assert audit(fallible).passed
    news = {row["capture"]: row["cover"] for row in rows(perfect, "ground")}
    seen = [row for row in rows(fallible, "ground") if row["source"] == "downlink"]
    assert all(row["mask_sha256"] for row in seen)
    assert any(
        abs(row["cover"] - news[row["capture"]]) > 0.01 for row in seen if row["capture"] in news
    )


def test_a_ground_model_that_is_not_there_is_refused():
    from simulator.scenario.checks import check_scenario

    with pytest.raises(ScenarioError, match="screening"):
        check_scenario(load_scenario("first_light", {"ground.screening": "no-such-model"}))


EDITS = {
    "product": ("bytes", "kind", "rank_key"),
    "ground": ("cover", "answer", "answer_ready_s"),
    "uplink": ("requested", "released"),
    "storage": ("derived_bytes", "dropped_released_bytes", "compressed_bytes", "product"),
    "decision": ("block_bytes", "region_px"),
}


@pytest.mark.parametrize(("name", "column"), [(n, c) for n in EDITS for c in EDITS[n]])
def test_an_edited_value_is_found_by_what_it_contradicts(fly, tmp_path, name, column):
    run = fly(**MASK_FIRST, data_handling__compression="jpeg2000")
    shutil.copytree(run.path, tmp_path / "copy")
    table = run.events(name)
    changed = table.to_pylist()
    index = next(i for i, row in enumerate(changed) if _full(name, row))
    value = changed[index][column]
    if isinstance(value, str):
        changed[index][column] = "request" if value == "release" else f"{value}x"
    elif isinstance(value, list):
        changed[index][column] = value[:-1] if value else ["neph-1-00001"]
    else:
        changed[index][column] = value + 0.25 if isinstance(value, float) else value + 7
    path = tmp_path / "copy" / "events" / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(changed, schema=table.schema), path)
    physics = ("storage", "pixels", "processing", "contacts", "loop")
    assert not audit(RunFolder.open(tmp_path / "copy"), physics).passed


def _full(name: str, row: dict) -> bool:
    """A row of a preview, or of what came of one."""
    if name == "uplink":
        return bool(row["requested"])
    wanted = {
        "product": ("kind", "mask"),
        "ground": ("source", "mask"),
        "decision": ("action", "keep"),
    }
    key, value = wanted.get(name, ("change", "sent"))
    return row[key] == value
