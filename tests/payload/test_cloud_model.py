"""The opened model: feeding and reading graphs of any layout, and refusing those that lie."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from payload.card import InputSpec, ModelCard, ModelError, OutputSpec
from payload.frame import BANDS
from payload.model import CloudModel, file_sha256

PixelGraph = Callable[..., onnx.ModelProto]
WriteModel = Callable[..., ModelCard]

PROBABILITY_TOLERANCE = 1e-5
"""float32 arithmetic in another order."""

WEIGHTS = np.array(
    [[1.0, -2.0, 0.5, 3.0], [0.3, 4.0, -1.0, 0.2], [-1.0, 0.1, 2.0, 0.7]], np.float32
)
BIAS = np.array([0.1, -0.2, 0.3], np.float32)


def image(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0.01, 1.2, shape).astype(np.float32)


def logits(normalised: NDArray[np.float32]) -> NDArray[np.float64]:
    """The three channels for an array (n, 4, H, W), computed without ONNX."""
    return np.einsum("cb,nbhw->nchw", WEIGHTS, normalised) + BIAS[None, :, None, None]


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def test_house_model_of_odd_size_equals_the_arithmetic(green_model: ModelCard) -> None:
    reflectance = image(2, 4, 45, 71)
    expected = 1 / (1 + np.exp(30 - 100.0 * reflectance[:, 1]))
    found = CloudModel(green_model).probability(reflectance)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=PROBABILITY_TOLERANCE)


def test_large_image_is_cut_into_tiles_that_join(green_model: ModelCard) -> None:
    model = CloudModel(replace(green_model, tile_px=64))
    reflectance = image(1, 4, 130, 64)
    expected = 1 / (1 + np.exp(30 - 100.0 * reflectance[:, 1]))
    np.testing.assert_allclose(model.probability(reflectance), expected, atol=PROBABILITY_TOLERANCE)
    assert model.calls == 3


def test_no_data_and_values_that_are_no_numbers_give_zero(
    write_model: WriteModel, pixel_graph: PixelGraph
) -> None:
    always_cloud = pixel_graph(np.zeros((1, 4), np.float32), np.full(1, 9, np.float32))
    reflectance = np.full((1, 4, 32, 32), 0.8, np.float32)
    reflectance[0, :, 3, 4] = 0
    reflectance[0, 2, 5, 6] = np.nan
    reflectance[0, 0, 7, 8] = np.inf
    probability = CloudModel(write_model(always_cloud)).probability(reflectance)[0]
    empty = {(int(row), int(col)) for row, col in np.argwhere(probability == 0)}
    assert empty == {(3, 4), (5, 6), (7, 8)}
    assert np.sort(probability.ravel())[3] > 0.9


@pytest.mark.parametrize("value", [0.0, -0.0, -0.1, np.nan, np.inf, -np.inf, 3e38])
def test_one_value_that_is_not_positive_changes_no_other_pixel(
    green_model: ModelCard, value: float
) -> None:
    """Full tiles take a shorter way than those with holes; both must say the same."""
    model = CloudModel(green_model)
    full = image(1, 4, 64, 64)
    holed = full.copy()
    holed[0, 3, 10, 20] = value
    before = holed.tobytes()
    expected = model.probability(full)
    if not np.isfinite(value):
        expected[0, 10, 20] = 0
    np.testing.assert_array_equal(model.probability(holed), expected)
    assert holed.tobytes() == before


def test_foreign_model_is_fed_and_read_by_its_card(
    write_model: WriteModel, pixel_graph: PixelGraph
) -> None:
    spec = InputSpec(
        name="pixels",
        layout="NHWC",
        bands=("nir", "red", "green", "blue"),
        scale=2.0,
        offset=0.1,
        mean=(0.4, 0.3, 0.2, 0.1),
        std=(1.0, 2.0, 3.0, 4.0),
        multiple_px=64,
    )
    graph = pixel_graph(
        WEIGHTS,
        BIAS,
        layout="NHWC",
        edge=64,
        input_name="pixels",
        output_name="classes",
        activation=None,
    )
    card = write_model(
        graph, tile_px=64, input=spec, output=OutputSpec("classes", 3, (1, 2), "softmax")
    )
    reflectance = image(1, 4, 100, 70)
    fed = (reflectance[:, ::-1] * 2.0 + 0.1 - np.array(spec.mean)[:, None, None]) / np.array(
        spec.std
    )[:, None, None]
    expected = softmax(logits(fed.astype(np.float32)))[:, [1, 2]].sum(axis=1)
    found = CloudModel(card).probability(reflectance)
    np.testing.assert_allclose(found, expected, atol=PROBABILITY_TOLERANCE)


def test_subset_of_bands_is_enough(write_model: WriteModel, pixel_graph: PixelGraph) -> None:
    graph = pixel_graph(np.array([[5.0, -5.0]], np.float32), np.zeros(1, np.float32))
    spec = InputSpec(bands=("nir", "blue"), mean=(0.0, 0.0), std=(1.0, 1.0))
    reflectance = image(1, 4, 32, 32)
    expected = 1 / (1 + np.exp(-5.0 * (reflectance[:, 3] - reflectance[:, 0])))
    found = CloudModel(write_model(graph, input=spec)).probability(reflectance)
    np.testing.assert_allclose(found, expected, atol=PROBABILITY_TOLERANCE)


@pytest.mark.parametrize("cloud_channels", [(1,), (0, 2)])
def test_argmax_puts_the_operating_point_where_cloud_is_largest(
    write_model: WriteModel, pixel_graph: PixelGraph, cloud_channels: tuple[int, ...]
) -> None:
    output = OutputSpec("cloud_probability", 3, cloud_channels, "argmax")
    card = write_model(pixel_graph(WEIGHTS, BIAS, activation=None), output=output)
    reflectance = image(1, 4, 64, 64)
    expected = np.isin(logits(reflectance).argmax(axis=1), cloud_channels)
    found = CloudModel(card).probability(reflectance)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(found >= 0.5, expected)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_another_threshold_becomes_the_operating_point(
    write_model: WriteModel, pixel_graph: PixelGraph, activation: str
) -> None:
    graph = pixel_graph(WEIGHTS, BIAS, activation=None)
    reflectance = image(1, 4, 64, 64)
    raw = logits(reflectance)
    plain = softmax(raw)[:, 1] if activation == "softmax" else 1 / (1 + np.exp(-raw[:, 1]))
    threshold = round(float(np.quantile(plain, 0.3)), 3)
    output = OutputSpec("cloud_probability", 3, (1,), activation, threshold)  # type: ignore[arg-type]
    found = CloudModel(write_model(graph, output=output)).probability(reflectance)
    clear_cut = np.abs(plain - threshold) > PROBABILITY_TOLERANCE
    np.testing.assert_array_equal((found >= 0.5)[clear_cut], (plain >= threshold)[clear_cut])
    assert (np.argsort(found.ravel()[:50]) == np.argsort(plain.ravel()[:50])).all()


def test_result_does_not_depend_on_the_batch(green_model: ModelCard) -> None:
    model = CloudModel(green_model)
    batch = image(3, 4, 40, 40)
    together = model.probability(batch)
    alone = np.concatenate([model.probability(one[None]) for one in batch])
    np.testing.assert_array_equal(together, alone)


def test_output_that_is_not_a_number_is_refused_and_does_not_pass_for_clear(
    write_model: WriteModel, pixel_graph: PixelGraph
) -> None:
    broken = pixel_graph(np.full((1, 4), np.nan, np.float32), np.zeros(1, np.float32))
    model = CloudModel(write_model(broken))
    with pytest.raises(ModelError, match=r"is not a number for 64 of 64 px"):
        model.probability(image(1, 4, 8, 8))


@pytest.mark.parametrize("activation", ["softmax", "argmax", "sigmoid"])
def test_an_upset_model_is_judged_without_a_warning(
    write_model: WriteModel, pixel_graph: PixelGraph, activation: str
) -> None:
    """A flipped exponent: logits beyond float32, less one another no number."""
    upset = WEIGHTS.copy()
    upset[:, 0] = [3e38, -3e38, 3e38]
    output = OutputSpec("cloud_probability", 3, (0, 1), activation)  # type: ignore[arg-type]
    spec = InputSpec(scale=100.0)
    card = write_model(pixel_graph(upset, BIAS, activation=None), input=spec, output=output)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(ModelError):
            CloudModel(card).probability(image(1, 4, 32, 32))
        with contextlib.suppress(ModelError):
            CloudModel(card).probability(image(1, 4, 32, 32) * np.float32(2e38))


@pytest.mark.parametrize(("scale", "offset"), [(20.0, -10.0), (100.0, 0.0)])
def test_output_without_activation_that_is_no_probability_is_refused(
    write_model: WriteModel, pixel_graph: PixelGraph, scale: float, offset: float
) -> None:
    """Logits around 0, and percent: clipped to 0..1 both would pass for a mask."""
    weights, bias = np.array([[0, scale, 0, 0]], np.float32), np.array([offset], np.float32)
    model = CloudModel(write_model(pixel_graph(weights, bias, activation=None)))
    with pytest.raises(ModelError, match=r"runs from .*write output\.activation: sigmoid"):
        model.probability(image(1, 4, 32, 32))


def test_slight_overshoot_of_a_probability_is_clipped(
    write_model: WriteModel, pixel_graph: PixelGraph
) -> None:
    weights = np.array([[0, 1.2, 0, 0]], np.float32)
    linear = pixel_graph(weights, np.array([-0.1], np.float32), activation=None)
    reflectance = image(1, 4, 32, 32)
    found = CloudModel(write_model(linear)).probability(reflectance)
    expected = np.clip(1.2 * reflectance[:, 1] - 0.1, 0, 1)
    np.testing.assert_allclose(found, expected, atol=PROBABILITY_TOLERANCE)


def test_another_size_than_the_card_says_is_refused(green_model: ModelCard) -> None:
    size = green_model.onnx_path.stat().st_size
    with pytest.raises(
        ModelError, match=rf"has {size} bytes, the card says 7; write bytes: {size}"
    ):
        CloudModel(replace(green_model, bytes=7))


def test_wrong_shape_is_refused(green_model: ModelCard) -> None:
    with pytest.raises(ModelError, match=r"shape \(4, 32, 32\), expected \(n, 4, height, width\)"):
        CloudModel(green_model).probability(image(4, 32, 32))


def test_another_file_than_the_card_was_written_for_is_refused(green_model: ModelCard) -> None:
    green_model.onnx_path.write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"has sha256 .*, the card says"):
        CloudModel(green_model)


def test_threads_below_one_are_refused(green_model: ModelCard) -> None:
    with pytest.raises(ModelError, match="threads is 0, expected at least 1"):
        CloudModel(green_model, threads=0)


ONE_CHANNEL = (np.ones((1, 4), np.float32), np.zeros(1, np.float32))


def double_graph() -> onnx.ModelProto:
    values = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", size, "h", "w"])
        for name, size in (("reflectance", 4), ("cloud_probability", 1))
    ]
    nodes = [
        helper.make_node("ReduceMean", ["reflectance"], ["cloud_probability"], axes=[1], keepdims=1)
    ]
    graph = helper.make_graph(nodes, "double", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("weights", "changes", "message"),
    [
        (ONE_CHANNEL, {"input_name": "x"}, "inputs are ['x'], expected the one input"),
        (ONE_CHANNEL, {"output_name": "y"}, "outputs are ['y'], expected 'cloud_probability'"),
        (
            (np.ones((1, 3), np.float32), ONE_CHANNEL[1]),
            {},
            "input 'reflectance' is float ('n', 3, 'height', 'width'), "
            "expected float32 (n, 4, height, width)",
        ),
        (
            (WEIGHTS, BIAS),
            {},
            "output 'cloud_probability' is float ('n', 3, 'height', 'width'), "
            "expected float32 (n, 1, height, width)",
        ),
        (ONE_CHANNEL, {"edge": 256}, "the graph fixes an edge of 256 px"),
    ],
)
def test_graph_that_is_not_what_the_card_says_is_refused(
    write_model: WriteModel,
    pixel_graph: PixelGraph,
    weights: tuple[NDArray[np.float32], NDArray[np.float32]],
    changes: dict[str, object],
    message: str,
) -> None:
    card = write_model(pixel_graph(*weights, **changes))
    with pytest.raises(ModelError, match=re.escape(message)):
        CloudModel(card)


def test_graph_of_another_number_type_is_refused(write_model: WriteModel) -> None:
    with pytest.raises(
        ModelError, match=r"input 'reflectance' is double .*; put a Cast from float32 behind"
    ):
        CloudModel(write_model(double_graph()))


def class_graph(number: int) -> onnx.ModelProto:
    """Number of the class of each pixel, without an axis for channels."""
    pixels = helper.make_tensor_value_info("reflectance", TensorProto.FLOAT, ["n", 4, "h", "w"])
    found = helper.make_tensor_value_info("cloud_probability", number, ["n", "h", "w"])
    nodes = [
        helper.make_node("ArgMax", ["reflectance"], ["class"], axis=1, keepdims=0),
        helper.make_node("Cast", ["class"], ["cloud_probability"], to=number),
    ]
    graph = helper.make_graph(nodes, "class", [pixels], [found])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (TensorProto.INT64, "put a Cast to float32 before the graph's output"),
        (TensorProto.FLOAT, "put a Reshape to four axes into the graph"),
    ],
)
def test_output_of_class_numbers_is_told_how_to_mend_its_graph(
    write_model: WriteModel, number: int, remedy: str
) -> None:
    with pytest.raises(ModelError, match=f"output 'cloud_probability' is .*; {remedy}$"):
        CloudModel(write_model(class_graph(number)))


def test_graph_of_fixed_edges_that_differ_is_not_told_to_make_them_one(
    write_model: WriteModel, pixel_graph: PixelGraph
) -> None:
    graph = pixel_graph(*ONE_CHANNEL, edge=512)
    for value in (graph.graph.input[0], graph.graph.output[0]):
        value.type.tensor_type.shape.dim[2].dim_value = 256
    with pytest.raises(ModelError, match=r"edges of 256 and 512 px.*export with .* equal ones$"):
        CloudModel(write_model(graph, input=InputSpec(multiple_px=256)))


def test_file_that_is_no_graph_is_refused(green_model: ModelCard) -> None:
    green_model.onnx_path.write_bytes(b"not a graph")
    path = green_model.onnx_path
    honest = replace(green_model, sha256=file_sha256(path), bytes=path.stat().st_size)
    with pytest.raises(ModelError, match=r"ONNX Runtime .* cannot open"):
        CloudModel(honest)


def test_bands_are_those_of_a_frame() -> None:
    assert InputSpec().bands == BANDS
