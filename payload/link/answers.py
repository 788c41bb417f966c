"""What a payload's answers must be to be believed: a board may be faulty, or of another version.

The wire guards each byte, not its sense. What passes here is taken for what the payload saw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.frame import (
    BLOCK_PX,
    COVER_STEP,
    NO_DATA,
    Capabilities,
    Frame,
    FrameResult,
    block_cover,
    frame_cover,
)
from payload.link.conversation import NoAnswerError

COVER_TOLERANCE = COVER_STEP + 1e-9
"""A board may round the other way."""


def contradiction(frame: Frame, result: FrameResult) -> str:
    """In what a result cannot be that of a frame; empty where it can.

    Past this point a mask is taken for the frame's own, by policy, storage and metrics.
    """
    if result.frame_id != frame.frame_id:
        return f"it names frame {result.frame_id!r}"
    if result.mask is None:
        return ""
    shape = frame.reflectance.shape[1:]
    if result.mask.shape != shape:
        return f"its mask has {result.mask.shape} px, the frame {shape}"
    if ((result.mask > 1) & (result.mask != NO_DATA)).any():
        return f"its mask has other values than 0, 1 and {NO_DATA}"
    blocks = tuple(-(-edge // BLOCK_PX) for edge in shape)
    if result.block_cover is None or result.block_cover.shape != blocks:
        return f"it has not the cover of {blocks} blocks"
    if not ((result.block_cover >= 0) & (result.block_cover <= 1)).all():
        return "its cover per block is not between 0 and 1"
    misplaced_px = int(((result.mask != NO_DATA) != frame.valid).sum())
    if misplaced_px:
        return f"its mask and the frame do not agree over {misplaced_px} px whether there is data"
    return _false_cover(result.mask, result.cover, result.block_cover)


def _false_cover(mask: NDArray[np.uint8], cover: float, covers: NDArray[np.float64]) -> str:
    """In what the cover that is told is not that of the mask, beyond rounding."""
    told = np.append(covers, cover)
    counted = np.append(block_cover(mask), frame_cover(mask))
    worst = int(np.argmax(np.abs(told - counted)))
    if abs(told[worst] - counted[worst]) <= COVER_TOLERANCE:
        return ""
    of = "frame" if worst == covers.size else f"block {worst}"
    return f"it tells a cover of {told[worst]:g} of the {of}, its mask has {counted[worst]:g}"


def read_capabilities(answer: dict[str, Any], link: str) -> tuple[bytes, int, int, Capabilities]:
    """Nonce, boot number, process number and capabilities from the handshake's answer.

    Raises
    ------
    NoAnswerError
        A field is missing or of the wrong type.
    """
    try:
        capabilities = Capabilities(**{**answer["capabilities"], "link": link})
        nonce = bytes.fromhex(answer["nonce"])
        return nonce, int(answer["boot"]), int(answer["pid"]), capabilities
    except (KeyError, TypeError, ValueError) as error:
        raise NoAnswerError(f"the answer to the handshake is not understood: {error}") from error
