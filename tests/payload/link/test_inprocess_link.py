"""Opening a link, and the payload without a wire."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from payload.card import ModelCard, ModelError
from payload.card_library import load_card
from payload.device import DEVICES_DIR, DeviceError, load_device
from payload.frame import Frame, PayloadLink
from payload.link import LINK_FORMS, LinkError, open_link

FRAME = Frame("f", np.full((4, 40, 40), 0.5, np.float32))


@pytest.fixture
def link() -> Iterator[PayloadLink]:
    opened = open_link("inprocess", model="threshold", device="myriad2", memory_limit_mib=512)
    yield opened
    opened.close()


def test_link_keeps_the_protocol(link: PayloadLink) -> None:
    assert isinstance(link, PayloadLink)


def test_handshake_names_model_device_and_cost(link: PayloadLink) -> None:
    said = link.describe()
    device = load_device("myriad2")
    assert (said.model, said.device, said.link) == ("threshold", "myriad2", "inprocess")
    assert (said.active_power_w, said.idle_power_w) == (device.active_power_w, device.idle_power_w)
    assert said.peak_memory_mib > 0
    assert {"numpy", "onnxruntime"} <= set(said.versions)


def test_reset_forgets_tiles_and_counts(link: PayloadLink) -> None:
    calls = [link.process(FRAME).model_calls, link.process(FRAME).model_calls]
    link.reset()
    calls.append(link.process(FRAME).model_calls)
    health = link.health()
    assert calls == [1, 0, 1]
    assert (health.alive, health.restarts, health.frames_processed) == (True, 1, 3)
    assert health.rss_mib > 1


def test_a_model_that_answers_no_number_is_a_crash_as_in_a_box(
    write_model: Callable[..., ModelCard],
    pixel_graph: Callable[..., onnx.ModelProto],
) -> None:
    broken = pixel_graph(np.full((1, 4), np.nan, np.float32), np.zeros(1, np.float32))
    model = str(write_model(broken).path)
    at_hand, boxed = (
        open_link(kind, model=model, device="myriad2") for kind in ("inprocess", "subprocess")
    )
    try:
        here, there = at_hand.process(FRAME), boxed.process(FRAME)
    finally:
        boxed.close()
    assert (here.status, there.status) == ("crashed", "crashed")
    assert (here.latency_s, here.energy_wh) == (there.latency_s, there.energy_wh)
    assert "is not a number for" in here.detail
    assert here.mask is None


def test_measured_time_is_scaled_to_the_device() -> None:
    link = open_link("inprocess", model="threshold", device="myriad2", timing="measured")
    result = link.process(FRAME)
    ratio = load_device("host").gmac_s["fp32"] / load_device("myriad2").gmac_s["fp32"]
    assert result.latency_s == pytest.approx(ratio * result.host_latency_s, rel=1e-12)
    assert result.provenance == "modelled"


def test_a_timed_model_needs_no_speed_of_the_device(tmp_path: Path) -> None:
    card = load_card("unet-distilled-8k-int8")
    row = {"model": card.name, "sha256": card.sha256, "tile_px": 512, "seconds": 0.25}
    profile = yaml.safe_load((DEVICES_DIR / "myriad2.yaml").read_text())
    profile |= {"gmac_s": {"fp32": 11.5}, "tile_latency_s": [row]}
    path = tmp_path / "myriad2.yaml"
    path.write_text(yaml.safe_dump(profile))
    link = open_link("inprocess", model=card.name, device=str(path))
    assert link.process(FRAME).latency_s == profile["overhead_s_per_frame"] + 0.25
    with pytest.raises(DeviceError, match="gmac_s has no speed for int8"):
        open_link("inprocess", model=card.name, device=str(path), timing="measured")


def test_time_of_the_host_itself_is_measured() -> None:
    link = open_link("inprocess", model="threshold", device="host", timing="measured")
    result = link.process(FRAME)
    assert result.latency_s == result.host_latency_s
    assert result.provenance == "measured"


def test_unknown_link_is_answered_with_the_valid_forms() -> None:
    with pytest.raises(LinkError, match=re.escape(", ".join(LINK_FORMS))):
        open_link("usb", model="threshold", device="myriad2")


def test_unknown_model_and_device_keep_their_own_errors() -> None:
    with pytest.raises(ModelError):
        open_link("inprocess", model="nope", device="myriad2")
    with pytest.raises(DeviceError):
        open_link("inprocess", model="threshold", device="nope")


def test_flying_payload_needs_only_what_a_board_has() -> None:
    program = (
        "import sys; import payload.link.inprocess; "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    loaded = set(done.stdout.split())
    assert {"payload", "onnxruntime", "yaml", "psutil"} <= loaded
    assert not loaded & {
        *("simulator", "dashboard", "simpy", "skyfield", "streamlit", "torch"),
        *("onnx", "rasterio", "pydantic", "scipy", "pandas", "pyarrow"),
    }
