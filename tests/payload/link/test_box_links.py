"""One model in four bodies: caged child, TCP server, serial line, replay, all the same answers."""

from __future__ import annotations

import dataclasses
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from payload.card import ModelCard
from payload.card_library import load_card
from payload.device import load_device
from payload.frame import Frame, FrameResult
from payload.limits import CageError, CageLimits
from payload.link import open_link
from payload.link.bench import bench_frame, identical
from payload.link.board import Limits
from payload.link.client import WireLink
from payload.link.conversation import Timeouts
from payload.link.faults import BoxFault
from payload.link.replay import ReplayLink
from payload.link.selftest import known_tile
from payload.link.serve import main
from payload.link.settings import LinkError, PayloadSettings
from payload.link.subprocess import SubprocessLink
from payload.link.tcp import open_tcp
from payload.link.trace import TraceError

SETTINGS = PayloadSettings("threshold", "myriad2")
HANG_S = 2.0
PATIENCE_S = 30.0
"""Far longer than a worker takes to notice that its link was closed."""
CLOUDING_SEED = 3
"""Flips a bit of the threshold model that changes its mask of the known tile."""
HOST_FIELDS = ("host_latency_s", "peak_memory_mib", "memory_provenance", "model_calls")
"""What may differ between bodies; it goes to host events only."""


def frames() -> list[Frame]:
    return [known_tile(), bench_frame("small", 200, 150), known_tile(shade=0.5)]


def decisive(result: FrameResult) -> FrameResult:
    """A result without what goes to host events."""
    return dataclasses.replace(
        result,
        host_latency_s=0.0,
        peak_memory_mib=0.0,
        memory_provenance="modelled",
        model_calls=0,
    )


@pytest.fixture(scope="module")
def expected() -> list[FrameResult]:
    link = open_link("inprocess", model="threshold", device="myriad2")
    results = [decisive(link.process(frame)) for frame in frames()]
    link.close()
    return results


def serve(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """A server process and the line it says once it is ready."""
    command = [sys.executable, "-m", "payload.link.serve", "serve", "--model=threshold"]
    process = subprocess.Popen(
        [*command, "--device=myriad2", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.fixture
def tcp_address() -> Iterator[str]:
    process, line = serve("--listen=tcp://127.0.0.1:0")
    yield line.split(" on ")[1].split(",")[0]
    process.kill()
    process.wait()


@pytest.fixture
def ipv6_address() -> Iterator[str]:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    process, line = serve("--listen=tcp://[::1]:0")
    yield line.split(" on ")[1].split(",")[0] if line else ""
    process.kill()
    process.wait()


@pytest.fixture
def serial_devices() -> Iterator[tuple[str, str]]:
    """Two pseudo-terminals joined end to end, as a null-modem cable joins two ports."""
    pairs = [pty.openpty() for _ in range(2)]
    for pair in pairs:
        for descriptor in pair:
            tty.setraw(descriptor)
    masters = [pair[0] for pair in pairs]
    stop, stopper = os.pipe()

    def carry() -> None:
        while True:
            ready, _, _ = select.select([*masters, stop], [], [])
            if stop in ready:
                return
            for source in ready:
                data = os.read(source, 4096)
                target = masters[1 - masters.index(source)]
                while data:
                    data = data[os.write(target, data) :]

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    yield os.ttyname(pairs[0][1]), os.ttyname(pairs[1][1])
    os.write(stopper, b"x")
    thread.join()
    for descriptor in (*(d for pair in pairs for d in pair), stop, stopper):
        os.close(descriptor)


def check_body(link_name: str, expected: list[FrameResult], tmp_path: Path) -> None:
    """The body answers as the in-process one, and so does the replay of its trace."""
    trace = tmp_path / "trace"
    link = open_link(link_name, model="threshold", device="myriad2", trace=trace)
    results = [link.process(frame) for frame in frames()]
    assert link.health().alive
    link.close()
    for result, wanted in zip(results, expected, strict=True):
        assert identical(decisive(result), wanted)
    replay = open_link(f"replay:{trace}", model="threshold", device="myriad2")
    for frame, result in zip(frames(), results, strict=True):
        assert identical(replay.process(frame), result)
    assert replay.describe().link == "replay"
    replay.close()


def test_a_caged_child_answers_as_one_at_hand(expected: list[FrameResult], tmp_path: Path) -> None:
    check_body("subprocess", expected, tmp_path)


def test_a_tcp_server_answers_as_one_at_hand(
    expected: list[FrameResult], tmp_path: Path, tcp_address: str
) -> None:
    check_body(tcp_address, expected, tmp_path)


def test_an_ipv6_server_is_reached_at_the_address_it_prints(ipv6_address: str) -> None:
    assert ipv6_address.startswith("tcp://[::1]:")
    link = open_link(ipv6_address, model="threshold", device="myriad2")
    assert link.health().alive
    link.close()


def test_another_device_or_timing_is_refused(tcp_address: str) -> None:
    for changes, field in (({"device": "host"}, "device"), ({"timing": "measured"}, "timing")):
        asked = {"model": "threshold", "device": "myriad2", **changes}
        with pytest.raises(LinkError, match=f"the payload has {field}"):
            open_link(tcp_address, **asked)


@pytest.mark.parametrize(
    ("served", "asked", "remedy"),
    [((), 1.0, "with --power-limit-w 1,"), (("--power-limit-w=1.0",), 5.0, "without")],
)
def test_another_power_limit_is_refused(served: tuple[str, ...], asked: float, remedy: str) -> None:
    """A myriad2 draws 1.8 W: 1 W makes it pause, 5 W is no limit at all."""
    process, line = serve("--listen=tcp://127.0.0.1:0", *served)
    address = line.split(" on ")[1].split(",")[0]
    try:
        with pytest.raises(LinkError, match="the payload has power-limit-w") as refused:
            open_link(address, model="threshold", device="myriad2", power_limit_w=asked)
        assert remedy in str(refused.value)
        limit_w = 1.0 if served else 5.0
        link = open_link(address, model="threshold", device="myriad2", power_limit_w=limit_w)
        at_hand = open_link("inprocess", model="threshold", device="myriad2", power_limit_w=limit_w)
        assert link.process(known_tile()).energy_wh == at_hand.process(known_tile()).energy_wh
        link.close()
    finally:
        process.kill()
        process.wait()


def test_a_child_that_stands_in_for_a_device_counts_in_its_seconds() -> None:
    results = {}
    for scale in (None, 1.0):
        link = open_link(
            "subprocess", model="threshold", device="myriad2", timing="measured", time_scale=scale
        )
        results[scale] = link.process(bench_frame("some", 900, 900))
        link.close()
    assert results[None].provenance == results[None].energy_provenance == "modelled"
    assert results[1.0].provenance == "measured"
    ratio = load_device("myriad2").host_time_scale(load_card("threshold"))
    assert ratio > 2
    assert results[None].latency_s > results[1.0].latency_s


def test_an_upset_board_is_reached_again_and_is_well_in_the_next_mission() -> None:
    process, line = serve("--listen=tcp://127.0.0.1:0", "--allow-faults")
    address = line.split(" on ")[1].split(",")[0]
    try:
        link = open_link(address, model="threshold", device="myriad2")
        assert isinstance(link, WireLink)
        sound = link.process(known_tile()).mask
        link.inject(BoxFault.FLIP_WEIGHTS, 1, CLOUDING_SEED)
        assert not np.array_equal(link.process(known_tile()).mask, sound)
        assert link._conversation is not None
        link._conversation.line.channel.close()  # the cable is out for a moment
        upset = link.process(known_tile())
        assert upset.status == "ok", upset.detail
        assert not np.array_equal(upset.mask, sound)
        link.close()
        following = open_link(address, model="threshold", device="myriad2")
        assert np.array_equal(following.process(known_tile()).mask, sound)
        following.close()
    finally:
        process.kill()
        process.wait()


def test_a_serial_line_answers_as_one_at_hand(
    expected: list[FrameResult], tmp_path: Path, serial_devices: tuple[str, str]
) -> None:
    pytest.importorskip("serial", reason="a serial line needs pyserial")
    board, simulator = serial_devices
    process, _ = serve(f"--listen=serial://{board}?baud=921600")
    try:
        check_body(f"serial://{simulator}?baud=921600", expected, tmp_path)
    finally:
        process.kill()
        process.wait()


def test_a_replay_needs_neither_model_nor_server(tmp_path: Path) -> None:
    """Only the card is read: the ONNX file beside it is gone."""
    models = Path("payload/models").resolve()
    card = tmp_path / "threshold.yaml"
    card.write_bytes((models / "threshold.yaml").read_bytes())
    trace = tmp_path / "trace"
    link = open_link("inprocess", model="threshold", device="myriad2", trace=trace)
    results = [link.process(frame) for frame in frames()]
    link.close()
    assert not card.with_suffix(".onnx").exists()
    replay = ReplayLink(str(trace), PayloadSettings(str(card), "myriad2"))
    for frame, result in zip(frames(), results, strict=True):
        assert identical(replay.process(frame), result)
    with pytest.raises(TraceError, match="no reply to frame 'other'"):
        replay.process(bench_frame("other"))


def test_a_trace_of_another_mission_or_a_changed_one_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    link = open_link("inprocess", model="threshold", device="myriad2", trace=trace)
    link.process(known_tile())
    link.close()
    for settings, field in (
        (PayloadSettings("threshold", "host"), "device"),
        (PayloadSettings("threshold", "myriad2", timing="measured"), "timing"),
    ):
        with pytest.raises(TraceError, match=f"recorded with {field}"):
            ReplayLink(str(trace), settings)
    with pytest.raises(TraceError, match="name the trace folder"):
        ReplayLink(str(tmp_path / "none"), SETTINGS)
    mask = next((trace / "masks").iterdir())
    np.savez_compressed(mask, mask=np.zeros((512, 512), np.uint8))
    with pytest.raises(TraceError, match="was changed"):
        ReplayLink(str(trace), SETTINGS).process(known_tile())
    lines = (trace / "trace.jsonl").read_text().splitlines()
    (trace / "trace.jsonl").write_text("\n".join([lines[0], "{damaged", lines[1], ""]))
    with pytest.raises(TraceError, match="line 2 is damaged"):
        ReplayLink(str(trace), SETTINGS)


def test_a_caged_child_takes_a_frame_as_large_as_one_at_hand_does() -> None:
    """Beyond the 128 MiB that bound what a stranger may send."""
    frame = Frame("large", np.broadcast_to(np.float32(0.5), (4, 2900, 2900)))
    assert 4 * frame.reflectance.size > Limits().max_message_bytes
    link = SubprocessLink(SETTINGS)
    try:
        assert link.process(frame).status == "ok"
    finally:
        link.close()


def test_a_killed_child_is_accounted_for_and_restarted() -> None:
    link = SubprocessLink(SETTINGS)
    assert link.process(known_tile()).status == "ok"
    first = link.pid
    os.kill(first, signal.SIGKILL)
    result = link.process(known_tile())
    assert result.status == "crashed"
    assert "SIGKILL" in result.detail
    assert link.process(known_tile()).status == "ok"
    health = link.health()
    assert (health.restarts, link.pid != first) == (1, True)
    assert f"pid {first} ended by signal SIGKILL" in health.detail
    link.close()


def test_a_hanging_child_is_killed_by_its_watchdog() -> None:
    link = SubprocessLink(SETTINGS, timeouts=Timeouts(answer_s=0.5, frame_s=2.0))
    first = link.pid
    link.inject(BoxFault.HANG, 60.0, 0)
    assert link.process(known_tile()).status == "timeout"
    assert link.process(known_tile()).status == "ok"
    assert link.pid != first
    link.close()


def test_a_link_closed_under_a_frame_starts_no_other_child() -> None:
    link = SubprocessLink(SETTINGS)
    link.inject(BoxFault.HANG, 3600.0, 0)
    results: list[FrameResult] = []
    worker = threading.Thread(target=lambda: results.append(link.process(known_tile())))
    worker.start()
    time.sleep(0.5)  # the frame is on board by now
    link.close()
    worker.join(PATIENCE_S)
    started = link._subprocess.starts
    link._subprocess.stop()  # whatever the worker may have started
    assert [result.status for result in results] == ["link_lost"]
    assert started == 1


def test_over_its_memory_limit_the_child_dies_and_the_mission_goes_on() -> None:
    """Resident memory sampled and the address space bounded: to be had on any Linux."""
    link = SubprocessLink(
        dataclasses.replace(SETTINGS, memory_limit_mib=30.0),
        CageLimits(memory_mib=30.0),
        kind="rlimit",
        timeouts=Timeouts(answer_s=0.5, reconnect_s=1.0),
    )
    results = [link.process(known_tile()) for _ in range(2)]
    assert [result.status for result in results] == ["out_of_memory"] * 2
    assert "memory 30 MiB by rlimit" in results[0].detail
    assert identical(decisive(results[0]), decisive(results[1]))
    assert link.enforced == "memory 30 MiB by rlimit"
    assert link.peak_mib > 30
    link.close()


def test_cage_options_stand_in_the_link() -> None:
    link = open_link("subprocess?cage=rlimit&affinity=0", model="threshold", device="myriad2")
    assert isinstance(link, SubprocessLink)
    assert link.enforced == "processors 0"
    assert os.sched_getaffinity(link.pid) == {0}
    link.close()


def is_given_up(link_name: str) -> bool:
    """Whether a frame that takes `HANG_S` is a timeout, as it is where the link waits less."""
    link = open_link(link_name, model="threshold", device="myriad2")
    assert isinstance(link, WireLink)
    link.inject(BoxFault.HANG, HANG_S, 0)
    status = link.process(known_tile()).status
    link.close()
    assert status in ("ok", "timeout")
    return status == "timeout"


@pytest.mark.parametrize(("option", "given_up"), [("frame_s=0.3", True), ("frame_s=60", False)])
def test_how_long_a_frame_is_awaited_stands_in_the_link(
    option: str, given_up: bool, serial_devices: tuple[str, str]
) -> None:
    pytest.importorskip("serial", reason="a serial line needs pyserial")
    board, simulator = serial_devices
    assert is_given_up(f"subprocess?{option}") == given_up
    process, line = serve("--listen=tcp://127.0.0.1:0", "--allow-faults")
    wired, _ = serve(f"--listen=serial://{board}?baud=921600", "--allow-faults")
    try:
        assert is_given_up(f"{line.split(' on ')[1].split(',')[0]}?{option}") == given_up
        assert is_given_up(f"serial://{simulator}?baud=921600&{option}") == given_up
    finally:
        for server in (process, wired):
            server.kill()
            server.wait()


@pytest.mark.parametrize("link_name", ["subprocess", "tcp://127.0.0.1:9", "serial:///dev/null"])
@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "long"])
def test_a_wait_for_a_frame_that_is_none_is_refused(link_name: str, text: str) -> None:
    reason = f"payload.link '{link_name}.*frame_s is '{text}'; expected seconds over 0"
    with pytest.raises(LinkError, match=reason):
        open_link(f"{link_name}?frame_s={text}", model="threshold", device="myriad2")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cores=1", "cores is not an option; valid: affinity, cage, cpu_cores, frame_s"),
        ("cpu_cores=x", "expected a number"),
        ("cpu_cores=inf", "expected a finite number"),
        ("rlimit", "'rlimit' is no name=value"),
        ("cage=", "cage has no value"),
        ("cage=rlimit&cage=cgroup-v1", "cage is given 2 times"),
    ],
)
def test_a_cage_that_is_not_understood_is_refused(text: str, reason: str) -> None:
    with pytest.raises((LinkError, CageError), match=reason):
        open_link(f"subprocess?{text}", model="threshold", device="myriad2")


def test_a_child_that_cannot_start_says_why() -> None:
    with pytest.raises(LinkError, match="threads is 0"):
        SubprocessLink(dataclasses.replace(SETTINGS, threads=0))


def test_a_child_that_fails_at_its_work_is_a_crash_and_not_the_end_of_the_mission(
    write_model: Callable[..., ModelCard],
) -> None:
    """A graph of one operator has no weights in which bits could be flipped, and says so."""
    image, cloud = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", bands, "h", "w"])
        for name, bands in (("reflectance", 4), ("cloud_probability", 1))
    )
    mean = helper.make_node("ReduceMean", [image.name], [cloud.name], axes=[1], keepdims=1)
    graph = helper.make_graph([mean], "mean", [image], [cloud])
    opset = [helper.make_opsetid("", 17)]
    card = write_model(helper.make_model(graph, opset_imports=opset, ir_version=8))
    link = SubprocessLink(dataclasses.replace(SETTINGS, model=str(card.path)))
    try:
        link.inject(BoxFault.FLIP_WEIGHTS, 1.0, 0)
        assert link.process(known_tile()).status == "crashed"
        assert "no weights to flip bits in" in link.health().detail
        assert link.process(known_tile()).status == "ok"
    finally:
        link.close()


def test_a_server_with_a_key_file_answers_only_who_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    for path in (key, other):
        assert main(["new-key", str(path)]) == 0
    process, line = serve("--listen=tcp://127.0.0.1:0", f"--key-file={key}")
    address = line.split(" on ")[1].split(",")[0]
    try:
        assert "authenticated" in line
        asked = {"model": "threshold", "device": "myriad2"}
        monkeypatch.setenv("NEPHOSCOPE_KEY_FILE", str(key))
        link = open_link(address, **asked)
        assert link.process(known_tile()).status == "ok"
        link.close()
        quick = Timeouts(answer_s=0.3, reconnect_s=0.2, attempts=1)
        for key_file in (other, None):
            monkeypatch.delenv("NEPHOSCOPE_KEY_FILE", raising=False)
            with pytest.raises(LinkError, match="same key file"):
                open_tcp(address, SETTINGS, key_file=key_file, timeouts=quick)
    finally:
        process.kill()
        process.wait()
