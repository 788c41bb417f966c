"""Profiling a live payload writes a device profile that can be flown."""

from __future__ import annotations

import dataclasses
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
    assert [source.status for source in written.sources] == ["measured", "assumed", "assumed"]
    flown = open_link("inprocess", model="threshold", device=str(path))
    assert flown.describe().device == "this-box"
    flown.close()


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
