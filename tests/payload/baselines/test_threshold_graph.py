"""The threshold as ONNX against the same rule as published, ratio and all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from payload.baselines import threshold
from payload.card import MODELS_DIR
from payload.card_library import load_card
from payload.model import CloudModel, file_sha256


@pytest.fixture(scope="module")
def model() -> CloudModel:
    return CloudModel(load_card("threshold"))


def published_rule(reflectance: NDArray[np.float32]) -> NDArray[np.bool_]:
    _, green, red, _ = np.moveaxis(reflectance, 1, 0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (green - red) / (green + red)
    bright, very_bright = np.float32(0.175), np.float32(0.39)
    return ((green > bright) & (ratio > 0)) | (green > very_bright)


@settings(deadline=None, max_examples=60)
@given(
    reflectance=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 2), st.just(4), st.integers(1, 9), st.integers(1, 9)),
        elements=st.one_of(
            st.floats(0.0, 1.5, width=32),
            st.sampled_from([float(np.float32(v)) for v in (0.0, 0.175, 0.39, 0.2)]),
        ),
    )
)
def test_graph_equals_the_published_rule(
    model: CloudModel, reflectance: NDArray[np.float32]
) -> None:
    found = model.probability(reflectance)
    assert set(np.unique(found)) <= {0.0, 1.0}
    np.testing.assert_array_equal(found == 1, published_rule(reflectance))
    np.testing.assert_array_equal(threshold.is_cloud(reflectance), published_rule(reflectance))


def test_committed_graph_is_what_the_script_builds(tmp_path: Path) -> None:
    assert onnx.load(MODELS_DIR / "threshold.onnx") == threshold.build()
    threshold.main(tmp_path)
    assert file_sha256(tmp_path / "threshold.onnx") == load_card("threshold").sha256
    written = load_card(tmp_path / "threshold.yaml")
    assert (written.parameters, written.bytes) == (0, load_card("threshold").bytes)
