"""What a model costs on this machine, measured, in a form that can be compared.

Latency is measured as it flies: the payload's own session settings, one 512 px tile. Models that
are to be compared are run in turn, round after round, so that whatever else the machine does hits
all of them alike, and the least latency of each is kept: noise only ever adds. Peak memory is
that of a fresh process which opens the model and detects one tile. Speed is put in relation to
the machine's own convolution peak, measured with the largest plain convolution at hand, so that
`0.3 of peak` means the same on another machine.
"""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from payload.card import ModelCard
from payload.frame import BANDS, TILE_PX
from payload.model import CloudModel
from payload.runtime import measure_peak_memory

ROUNDS = 12
THREADS = (1, 2)

PEAK_CHANNELS = 128
PEAK_EDGE_PX = 128
"""A 3x3 convolution of 128 to 128 channels on 128x128 px: 2.4 GMAC, large and regular."""

FLOPS_PER_MAC = 2
PEAK_FLOP = FLOPS_PER_MAC * PEAK_CHANNELS**2 * 9 * PEAK_EDGE_PX**2
CONVOLUTION = "large plain convolution"


Work = Callable[[], object]


class ProfileError(ValueError):
    """A measurement could not be made; the message says which and why."""


@dataclass(frozen=True)
class Latency:
    """Seconds for one 512 px tile over all rounds.

    Attributes
    ----------
    least_s, median_s : float
        Wall clock.
    processor_s : float
        Least processor time of all threads together. On a busy machine the wall clock says more
        about the neighbours; this does not.
    runs : int
    """

    least_s: float
    median_s: float
    processor_s: float
    runs: int


@dataclass(frozen=True)
class Profile:
    """What one model costs on this machine.

    Attributes
    ----------
    model, host, runtime : str
        What, where, with which ONNX Runtime.
    parameters, macs_per_px, bytes
        Of the card.
    latency : mapping of int to Latency
        By number of threads.
    megapixels_per_s, gflop_per_s, share_of_peak : mapping of int to float
        By number of threads, the first two from the least latency. FLOP are counted as 2 per MAC
        of the fp32 convolutions, whatever the precision. The share of the convolution peak
        compares FLOP per second of processor time, so that a busy machine does not distort it.
    peak_memory_mib : float
        Peak resident memory of a fresh process.
    """

    model: str
    host: str
    runtime: str
    parameters: int
    macs_per_px: float
    bytes: int
    latency: Mapping[int, Latency]
    megapixels_per_s: Mapping[int, float]
    gflop_per_s: Mapping[int, float]
    share_of_peak: Mapping[int, float]
    peak_memory_mib: float


def profile(cards: Sequence[ModelCard], rounds: int = ROUNDS) -> list[Profile]:
    """Measure models in turn on this machine.

    Parameters
    ----------
    cards : sequence of ModelCard
    rounds : int
        How often each model is run at each number of threads.
    """
    return profile_beside(cards, {}, rounds)[0]


def profile_beside(
    cards: Sequence[ModelCard], peers: Mapping[str, Work], rounds: int = ROUNDS
) -> tuple[list[Profile], dict[str, Latency]]:
    """As `profile`, with other work taking its turn in the rounds at most threads.

    Parameters
    ----------
    cards : sequence of ModelCard
    peers : mapping of str to callable
        What else to time, for example `s2cloudless_work`.
    rounds : int

    Returns
    -------
    tuple
        Profiles of the models, latency of the peers.
    """
    latency = {}
    for threads in THREADS:
        # By file: two cards of one name must not answer with each other's time.
        contenders = {str(card.path): _tile_work(card, threads) for card in cards}
        contenders[CONVOLUTION] = _convolution_work(threads)
        latency[threads] = race(
            {**contenders, **(peers if threads == max(THREADS) else {})}, rounds
        )
    peak = {n: PEAK_FLOP / latency[n][CONVOLUTION].processor_s for n in THREADS}
    profiles = [
        _profile(card, {n: latency[n][str(card.path)] for n in THREADS}, peak) for card in cards
    ]
    return profiles, {name: latency[max(THREADS)][name] for name in peers}


def _profile(card: ModelCard, latency: Mapping[int, Latency], peak: Mapping[int, float]) -> Profile:
    pixels = TILE_PX**2
    flop = FLOPS_PER_MAC * card.macs_per_px * pixels
    return Profile(
        model=card.name,
        host=host_name(),
        runtime=f"onnxruntime {ort.__version__}",
        parameters=card.parameters,
        macs_per_px=card.macs_per_px,
        bytes=card.bytes,
        latency=latency,
        megapixels_per_s={n: pixels / measured.least_s / 1e6 for n, measured in latency.items()},
        gflop_per_s={n: flop / measured.least_s / 1e9 for n, measured in latency.items()},
        share_of_peak={n: flop / latency[n].processor_s / peak[n] for n in latency},
        peak_memory_mib=measure_peak_memory(card.folder / f"{card.name}.yaml"),
    )


def _tile_work(card: ModelCard, threads: int) -> Work:
    """One inference of the same 512 px tile."""
    tile = np.random.default_rng(0).uniform(0.02, 0.9, (1, len(BANDS), TILE_PX, TILE_PX))
    return partial(CloudModel(card, threads=threads).probability, tile.astype(np.float32))


def race(contenders: Mapping[str, Work], rounds: int) -> dict[str, Latency]:
    """Latency of each contender, all of them taking turns."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            elapsed = timed(work)
            if turn:  # the first round only warms up
                runs[name].append(elapsed)
    return {name: _latency(times) for name, times in runs.items()}


def timed(work: Work) -> tuple[float, float]:
    """Seconds of one call: wall clock, and processor time of all threads."""
    start, start_processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - start_processor


def _latency(times: Sequence[tuple[float, float]]) -> Latency:
    wall, processor = zip(*times, strict=True)
    return Latency(min(wall), float(np.median(wall)), min(processor), len(times))


def s2cloudless_work() -> Work:
    """The peer s2cloudless on one 512 px tile of its ten bands, with all threads it takes.

    Raises
    ------
    ProfileError
        The package s2cloudless is not installed.
    """
    try:
        from s2cloudless import S2PixelCloudDetector
    except ImportError as problem:
        raise ProfileError(
            "profile of s2cloudless: the package is not installed; install the extra `peers`"
        ) from problem
    bands = np.random.default_rng(0).uniform(0.02, 0.9, (1, TILE_PX, TILE_PX, 10))
    return partial(S2PixelCloudDetector().get_cloud_masks, bands.astype(np.float32))


def _convolution_work(threads: int) -> Work:
    """A large plain fp32 convolution: the fastest this machine's ONNX Runtime can be."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        _peak_graph().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = np.ones((1, PEAK_CHANNELS, PEAK_EDGE_PX, PEAK_EDGE_PX), np.float32)
    return partial(session.run, None, {"x": image})


def _peak_graph() -> onnx.ModelProto:
    channels, edge = PEAK_CHANNELS, PEAK_EDGE_PX
    weight = np.full((channels, channels, 3, 3), 1e-3, np.float32)
    shape = [1, channels, edge, edge]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])],
        "convolution_peak",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def host_name() -> str:
    """Processor, its cores, and operating system, as a card records them."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if names:
            model = f"{names[0]}, {len(names)} cores"
    return f"{model}, {platform.system()} {platform.machine()}"


def recorded(card: ModelCard, measured: Profile) -> ModelCard:
    """The card with what was measured written into it."""
    return dataclasses.replace(
        card,
        peak_memory_mib=round(measured.peak_memory_mib, 1),
        peak_memory_provenance="measured",
        peak_memory_host=f"{measured.host}, {measured.runtime}",
        measurements={**card.measurements, "profile": as_plain(measured)},
    )


def as_plain(measured: Profile) -> dict[str, object]:
    """The profile as plain values, for a card or JSON."""
    by_threads = {
        threads: {
            "latency_least_s": round(latency.least_s, 5),
            "latency_median_s": round(latency.median_s, 5),
            "processor_s": round(latency.processor_s, 5),
            "runs": latency.runs,
            "megapixels_per_s": round(measured.megapixels_per_s[threads], 2),
            "gflop_per_s": round(measured.gflop_per_s[threads], 2),
            "share_of_convolution_peak": round(measured.share_of_peak[threads], 3),
        }
        for threads, latency in measured.latency.items()
    }
    return {
        "host": measured.host,
        "runtime": measured.runtime,
        "tile_px": TILE_PX,
        "threads": by_threads,
        "peak_memory_mib": round(measured.peak_memory_mib, 1),
    }
