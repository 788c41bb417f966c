"""Profiling a live payload writes a device profile that can be flown."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from payload.card_library import load_card
from payload.device import DeviceError, load_device, read_device
from payload.frame import Frame, FrameResult
from payload.link import open_link
from payload.link.bench import BENCH_MODEL_SHA256, BenchPayload
from payload.link.profile import (
    ProfileError,
    check_profile_path,
    measure_payload,
    profile_device,
    write_profile,
)

CARD = load_card("threshold")
BASE = load_device("raspberry-pi-4")
POWER_W = 18.0
ROUNDING = 1e-4
"""Relative; a profile is written to the milliwatt and the microsecond."""


class ClockworkPayload(BenchPayload):
    """Takes exactly 0.2 s a tile and 0.05 s a frame, and draws 18 W all the while."""

    def process(self, frame: Frame) -> FrameResult:
        tiles = frame.reflectance.shape[2] // 512
        busy_s = 0.05 + 0.2 * tiles
        return dataclasses.replace(
            super().process(frame),
            host_latency_s=busy_s,
            energy_wh=POWER_W * busy_s / 3600,
            energy_provenance="measured",
        )

    def close(self) -> None:
        """Nothing to close."""


def test_time_per_tile_and_per_frame_are_told_apart() -> None:
    found = measure_payload(ClockworkPayload(), repetitions=3)
    assert found.tile_s == pytest.approx(0.2)
    assert found.frame_s == pytest.approx(0.05)
    assert found.active_power_w == pytest.approx(POWER_W)


def test_a_metered_board_gives_its_own_power(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, sha256=BENCH_MODEL_SHA256)
    profile = profile_device(ClockworkPayload(), card, BASE, "bench", repetitions=3)
    written = write_profile(profile, tmp_path / "bench.yaml")
    assert written.active_power_w == pytest.approx(POWER_W)
    assert written.latency_s(card, 4) == pytest.approx(0.85)
    assert written.latency_provenance(card) == "measured"


@pytest.mark.parametrize("tiles", [1, 4])
def test_flight_is_charged_what_the_meter_read(tmp_path: Path, tiles: int) -> None:
    card = dataclasses.replace(CARD, sha256=BENCH_MODEL_SHA256)
    board = ClockworkPayload()
    profile = profile_device(board, card, BASE, "bench", repetitions=3)
    written = write_profile(profile, tmp_path / "bench.yaml")
    metered = board.process(Frame("flown", np.zeros((4, 512, 512 * tiles), dtype=np.float32)))
    charged_wh = written.energy_wh(written.latency_s(card, tiles))
    assert charged_wh == pytest.approx(metered.energy_wh, rel=ROUNDING)


def test_a_profile_stays_until_the_new_one_is_valid(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, sha256=BENCH_MODEL_SHA256)
    profile = profile_device(ClockworkPayload(), card, BASE, "bench", repetitions=3)
    path = tmp_path / "bench.yaml"
    written = write_profile(profile, path)
    with pytest.raises(DeviceError, match="idle_power_w"):
        write_profile(profile | {"idle_power_w": -1.0}, path)
    assert read_device(path) == written
    assert list(tmp_path.iterdir()) == [path]


def test_a_live_payload_is_profiled_and_flies_under_its_profile(tmp_path: Path) -> None:
    link = open_link(
        "subprocess", model="threshold", device="raspberry-pi-4", timing="measured", time_scale=1.0
    )
    profile = profile_device(link, CARD, BASE, "this-box", repetitions=3)
    link.close()
    path = tmp_path / "this-box.yaml"
    written = write_profile(profile, path)
    assert written.idle_power_w == BASE.idle_power_w
    assert [source.status for source in written.sources] == ["measured"] + 3 * ["assumed"]
    flown = open_link("inprocess", model="threshold", device=str(path))
    assert flown.describe().device == "this-box"
    flown.close()


def test_the_time_of_a_model_of_hardly_any_arithmetic_is_no_speed_of_others(
    tmp_path: Path,
) -> None:
    small = dataclasses.replace(CARD, sha256=BENCH_MODEL_SHA256)
    profile = profile_device(ClockworkPayload(), small, BASE, "bench", repetitions=3)
    written = write_profile(profile, tmp_path / "bench.yaml")
    assert written.latency_s(small, 1) == pytest.approx(0.25)
    network = load_card("unet-distilled")
    assert written.tile_s(network) == BASE.tile_s(network)
    assert written.latency_provenance(network) == BASE.latency_provenance(network) == "modelled"
    (told,) = (source for source in written.sources if source.field.startswith("gmac_s"))
    assert told.status == "assumed"
    assert "raspberry-pi-4: the 6 MAC/px of threshold are too few" in told.source


def test_the_speed_of_a_network_is_written_with_the_digits_that_say_something() -> None:
    slow = dataclasses.replace(CARD, sha256=BENCH_MODEL_SHA256, macs_per_px=100.0)
    profile = profile_device(ClockworkPayload(), slow, BASE, "bench", repetitions=3)
    assert profile["gmac_s"]["fp32"] == 0.1311  # of 0.131072
    assert profile["speed_provenance"] == "measured"
    assert profile["sources"][0]["field"] == "gmac_s, tile_latency_s, overhead_s_per_frame"


def test_memory_that_was_modelled_is_not_called_measured() -> None:
    link = open_link(
        "inprocess", model="threshold", device="host", timing="measured", time_scale=1.0
    )
    told = profile_device(link, CARD, BASE, "x", repetitions=3)["sources"][0]["source"]
    assert re.search(r"peak memory [\d.]+ MiB \(modelled\)$", told)


def test_what_can_give_no_speed_is_refused_before_it_is_measured() -> None:
    board = ClockworkPayload()
    unknown = dataclasses.replace(CARD, sha256=BENCH_MODEL_SHA256, macs_per_px=0.0)
    with pytest.raises(ProfileError, match=r"macs_per_px is 0, .*or profile with unet-distilled"):
        profile_device(board, unknown, BASE, "x")
    small = dataclasses.replace(CARD, sha256=BENCH_MODEL_SHA256)
    other = dataclasses.replace(BASE, gmac_s={"int8": 12.0})
    with pytest.raises(ProfileError, match=r"6 MAC/px, .*has none for fp32.*give another --base"):
        profile_device(board, small, other, "x")
    assert board.frames == 0


def test_what_cannot_be_profiled_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="name the model that is served"):
        profile_device(ClockworkPayload(), CARD, BASE, "x")
    with pytest.raises(ProfileError, match="at least 3"):
        measure_payload(ClockworkPayload(), repetitions=1)
    with pytest.raises(DeviceError, match=r"must be called x\.yaml"):
        write_profile({"name": "x"}, tmp_path / "y.yaml")
    for path, reason in (
        (tmp_path / "none" / "x.yaml", "there is no folder"),
        (tmp_path / "x.txt", r"write x\.yaml"),
    ):
        with pytest.raises(DeviceError, match=reason):
            check_profile_path(path)
