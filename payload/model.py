"""A cloud model: reflectance in, cloud probability out.

:class:`CloudModel` opens the ONNX file a :class:`~payload.card.ModelCard` describes and makes
every model look the same: four bands of reflectance in, probability with 0.5 as the operating
point out. A house model carries its normalisation inside the graph; a foreign one is fed and
read by what its card says. The card's format is at the top of :mod:`payload.card`.

The session is opened explicitly: CPU provider, sequential execution, a stated number of threads
without spinning (threads that spin stand in each other's way where a core is taken), deterministic
kernels, no memory arena (which keeps the most it ever needed).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from payload.card import InputSpec, ModelCard, ModelError, OutputSpec
from payload.frame import BANDS, valid_pixels

PROBABILITY_SLACK = 0.5
"""How far beyond 0..1 an output without activation may lie and still be clipped: a regression or a
rounded sum overshoots by so much at most, logits and percent by far more."""

CAST = {
    "input": "put a Cast from float32 behind the graph's input",
    "output": "put a Cast to float32 before the graph's output",
}
"""What to do with a graph of other numbers: pixels are fed and probabilities read as float32."""

ORT_FAILURES = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""What ONNX Runtime raises for a file or graph it cannot use."""


def file_sha256(path: Any) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:  # noqa: PTH123 - hashlib wants a plain file object
        return hashlib.file_digest(file, "sha256").hexdigest()


class CloudModel:
    """An opened cloud model.

    Parameters
    ----------
    card : ModelCard
        What to open and how to use it.
    threads : int
        Threads within one operator; operators run one after the other.

    Raises
    ------
    ModelError
        The file is missing, has another hash or size than the card says, cannot be opened, or
        its inputs and outputs are not those of the card.
    """

    def __init__(self, card: ModelCard, *, threads: int = 1) -> None:
        if threads < 1:
            raise ModelError(f"model {card.name!r}: threads is {threads}, expected at least 1")
        self.card = card
        self.calls = 0
        self._session = _open_session(card, threads)
        _check_signature(card, self._session)

    def probability(self, reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of cloud for each pixel.

        What is larger than the card's `tile_px` is cut into windows of that edge; a window whose
        edges are no multiple of `multiple_px` is padded by reflection. Windows go through the
        graph one at a time, so memory does not grow with `n` and a result does not depend on
        what else is in the batch.

        Parameters
        ----------
        reflectance : ndarray of float32, shape (n, 4, H, W)
            Bands in the order of `payload.frame.BANDS`.

        Returns
        -------
        ndarray of float32, shape (n, H, W)
            0..1; at 0.5 and above a pixel counts as cloud. 0 where there is no data (all bands
            0, or any band not finite).

        Raises
        ------
        ModelError
            The array has another shape, the graph gives another shape than it promised, NaN, or
        what is no probability.
        """
        if reflectance.ndim != 4 or reflectance.shape[1] != len(BANDS):
            raise ModelError(
                f"model {self.card.name!r}: reflectance has shape {reflectance.shape}, expected "
                f"(n, {len(BANDS)}, height, width)"
            )
        result = np.empty((len(reflectance), *reflectance.shape[2:]), dtype=np.float32)
        for index, image in enumerate(reflectance):
            self._detect(image, result[index])
        return result

    def _detect(self, image: NDArray[np.float32], result: NDArray[np.float32]) -> None:
        """Fill in the probability of one image (4, H, W).

        A tile in which every pixel holds data, as most are, goes to the graph as it lies in
        memory: to clean a copy of it took a sixth of the time of an INT8 student.
        """
        valid = valid_pixels(image)
        complete = valid.all()
        clean = image if complete else np.where(valid, image, np.float32(0))
        # A flipped bit makes infinities on both sides of the graph; what comes of them is judged
        # by whether it is a number, and NumPy need not warn of each tile.
        with np.errstate(over="ignore", invalid="ignore"):
            for rows, cols in _windows(valid.shape, self.card.tile_px):
                result[rows, cols] = self._window(clean[:, rows, cols])
        if not complete:
            result[~valid] = 0

    def _window(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of one window, shape (4, h, w) -> (h, w)."""
        _, height, width = image.shape
        padded = pad_to_multiple(image, self.card.input.multiple_px)
        raw = self._run(_feed(padded, self.card.input))
        expected = (1, self.card.output.channels, *padded.shape[1:])
        raw = raw if self.card.input.layout == "NCHW" else np.moveaxis(raw, -1, 1)
        if raw.shape != expected:
            raise ModelError(
                f"model {self.card.name!r}: output {self.card.output.name!r} has shape "
                f"{raw.shape} for an input of {padded.shape[1:]} px, expected {expected}"
            )
        if self.card.output.activation == "none":
            self._check_range(raw)
        cloud = _read(raw[0], self.card.output)[:height, :width]
        if np.isnan(cloud).any():  # NaN is no cloud to a comparison: all of it would pass for clear
            raise ModelError(
                f"model {self.card.name!r}: output {self.card.output.name!r} is not a number for "
                f"{int(np.isnan(cloud).sum())} of {cloud.size} px; its weights or its input "
                "normalisation are broken"
            )
        return cloud

    def _check_range(self, raw: NDArray[np.float32]) -> None:
        """Refuse logits and percent, which clipped to 0..1 would give a mask of nothing."""
        channels = raw[0, list(self.card.output.cloud_channels)]
        low, high = float(channels.min()), float(channels.max())
        if low < -PROBABILITY_SLACK or high > 1 + PROBABILITY_SLACK:
            raise ModelError(
                f"model {self.card.name!r}: output {self.card.output.name!r} runs from {low:g} to "
                f"{high:g}, expected a probability; write output.activation: sigmoid or softmax "
                "in the card if these are logits, or scale them to 0..1 in the graph"
            )

    def _run(self, feed: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        try:
            outputs = self._session.run([self.card.output.name], {self.card.input.name: feed})
        except ORT_FAILURES as problem:
            raise ModelError(
                f"model {self.card.name!r}: ONNX Runtime could not run it on an input of shape "
                f"{feed.shape}: {problem}"
            ) from problem
        return np.asarray(outputs[0])


def pad_to_multiple(image: NDArray[np.float32], multiple_px: int) -> NDArray[np.float32]:
    """Grow an image (bands, h, w) at the bottom and right by reflection to a multiple."""
    pad = [(0, -n % multiple_px) for n in image.shape[1:]]
    if not any(extra for _, extra in pad):
        return image
    return np.pad(image, [(0, 0), *pad], mode="symmetric")


def _open_session(card: ModelCard, threads: int) -> Any:
    path = card.onnx_path
    found = file_sha256(path)
    if found != card.sha256:
        raise ModelError(
            f"model {card.name!r}: {path.name} has sha256 {found}, the card says {card.sha256}; "
            f"take the file the card was written for, or write a new card"
        )
    size = path.stat().st_size
    if size != card.bytes:
        raise ModelError(
            f"model {card.name!r}: {path.name} has {size} bytes, the card says {card.bytes}; "
            f"write bytes: {size}"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except ORT_FAILURES as problem:
        raise ModelError(
            f"model {card.name!r}: ONNX Runtime {ort.__version__} cannot open {path}: {problem}"
        ) from problem


def _check_signature(card: ModelCard, session: Any) -> None:
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    if list(inputs) != [card.input.name]:
        raise ModelError(
            f"model {card.name!r}: the graph's inputs are {sorted(inputs)}, expected the one "
            f"input {card.input.name!r}; a foreign ONNX names it in the card (input.name)"
        )
    if card.output.name not in outputs:
        raise ModelError(
            f"model {card.name!r}: the graph's outputs are {sorted(outputs)}, expected "
            f"{card.output.name!r}; a foreign ONNX names it in the card (output.name)"
        )
    _check_node(card, "input", inputs[card.input.name], len(card.input.bands))
    _check_node(card, "output", outputs[card.output.name], card.output.channels)


def _check_node(card: ModelCard, kind: str, node: Any, channels: int) -> None:
    """One input or output: float32, four axes, so many channels, and an edge the card allows.

    An axis whose size the graph leaves open is a name or None in ONNX Runtime.
    """
    axis = 1 if card.input.layout == "NCHW" else 3
    shape = ["n", "height", "width"]
    shape.insert(axis, str(channels))
    expected = f"float32 ({', '.join(shape)})"
    found = f"{node.type.removeprefix('tensor(').removesuffix(')')} {tuple(node.shape)}"
    wrong = f"model {card.name!r}: {kind} {node.name!r} is {found}, expected {expected}"
    if node.type != "tensor(float)":
        raise ModelError(f"{wrong}; {CAST[kind]}")
    if len(node.shape) != 4:
        raise ModelError(f"{wrong}; put a Reshape to four axes into the graph")
    if isinstance(node.shape[axis], int) and node.shape[axis] != channels:
        raise ModelError(wrong)
    edges = [n for i, n in enumerate(node.shape) if i not in (0, axis) and isinstance(n, int)]
    if len(set(edges)) > 1:
        raise ModelError(
            f"{wrong}, and the graph fixes edges of {edges[0]} and {edges[1]} px, while windows "
            f"are square; export with open height and width, or with equal ones"
        )
    if any(n != card.tile_px or n != card.input.multiple_px for n in edges):
        raise ModelError(
            f"{wrong}, and the graph fixes an edge of {edges[0]} px while the card says tile_px "
            f"{card.tile_px}, multiple_px {card.input.multiple_px}; make both {edges[0]}, or "
            f"export with open height and width"
        )
    if isinstance(node.shape[0], int) and node.shape[0] != 1:
        raise ModelError(f"{wrong}; the batch axis must be open or 1")


def _windows(shape: tuple[int, ...], edge: int) -> Iterator[tuple[slice, slice]]:
    height, width = shape
    for row in range(0, height, edge):
        for col in range(0, width, edge):
            yield slice(row, min(row + edge, height)), slice(col, min(col + edge, width))


def _feed(image: NDArray[np.float32], spec: InputSpec) -> NDArray[np.float32]:
    """Order, scale, normalise and lay out one window (4, h, w) as the graph wants it."""
    if spec.bands != BANDS:
        image = image[[BANDS.index(band) for band in spec.bands]]
    house = InputSpec()
    if (spec.scale, spec.offset, spec.mean, spec.std) != (1.0, 0.0, house.mean, house.std):
        mean = np.asarray(spec.mean, dtype=np.float32)[:, None, None]
        std = np.asarray(spec.std, dtype=np.float32)[:, None, None]
        image = (image * np.float32(spec.scale) + np.float32(spec.offset) - mean) / std
    batch = image[None]
    if spec.layout == "NHWC":
        batch = np.moveaxis(batch, 1, -1)
    return np.ascontiguousarray(batch, dtype=np.float32)


def _read(raw: NDArray[np.float32], spec: OutputSpec) -> NDArray[np.float32]:
    """Cloud probability (h, w) from the graph's channels (c, h, w), 0.5 the operating point."""
    channels = list(spec.cloud_channels)
    if spec.activation == "argmax":
        others = [c for c in range(spec.channels) if c not in channels]
        cloud = _sigmoid(raw[channels].max(axis=0) - raw[others].max(axis=0))
    elif spec.activation == "softmax":
        exponent = np.exp(raw - raw.max(axis=0, keepdims=True))
        cloud = _total(exponent, channels) / exponent.sum(axis=0)
    elif spec.activation == "sigmoid":
        cloud = _sigmoid(raw[channels]).sum(axis=0)
    else:
        cloud = _total(raw, channels)
    cloud = np.clip(cloud, 0, 1)
    if spec.threshold != OutputSpec().threshold:
        cloud = _recentre(cloud, spec.threshold)
    return cloud.astype(np.float32, copy=False)


def _total(values: NDArray[np.float32], channels: list[int]) -> NDArray[np.float32]:
    """Sum of some channels of (c, h, w); the only one is not copied."""
    return np.asarray(values[channels[0]] if len(channels) == 1 else values[channels].sum(axis=0))


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)), by tanh so that nothing overflows."""
    return np.asarray(0.5 * (np.tanh(0.5 * logits) + 1))


def _recentre(probability: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Bend 0..1 by two straight lines so that `threshold` comes to lie at 0.5."""
    return np.asarray(np.interp(probability, [0, threshold, 1], [0, 0.5, 1]))
