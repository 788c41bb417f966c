"""Cloud classes of products as masks, against their published tables of codes."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.catalogue.products import qa_pixel_mask, scl_mask

SCL = {0: 255, 1: 255, 2: 0, 3: 3, 4: 0, 5: 0, 6: 0, 7: 0, 8: 1, 9: 1, 10: 2, 11: 0, 12: 255}
"""Code of the scene classification of Sentinel-2 L2A: value of a mask."""

QA_PIXEL = {
    1: 255, 21824: 0, 21826: 1, 21888: 0, 21952: 0, 22280: 1, 23888: 3, 23952: 3, 24088: 1,
    24216: 1, 30048: 0, 54596: 2, 54852: 2, 55052: 1,
}  # fmt: skip
"""Value of the QA_PIXEL band: value of a mask. Fill; clear land; dilated cloud; clear water; water;
cloud; shadow over land and water; cloud beside shadow; snow; cirrus; cirrus with cloud (Landsat 8-9
Collection 2 Level 2 Science Product Guide, values and their bits)."""


@pytest.mark.parametrize(("code", "value"), SCL.items())
def test_scene_classification(code: int, value: int) -> None:
    assert scl_mask(np.array([[code]], np.uint8)) == value


def test_codes_beyond_a_byte_are_no_data() -> None:
    assert scl_mask(np.array([[300]], np.uint16)) == 255


@pytest.mark.parametrize(("code", "value"), QA_PIXEL.items())
def test_qa_pixel(code: int, value: int) -> None:
    assert qa_pixel_mask(np.array([[code]], np.uint16)) == value
