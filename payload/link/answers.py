"""What a payload's answers must be to be believed: a board may be faulty, or of another version.

The wire guards each byte, not its sense. What passes here is taken for what the payload saw.
"""

from __future__ import annotations

from typing import Any

from payload.frame import BLOCK_PX, NO_DATA, Capabilities, Frame, FrameResult
from payload.link.conversation import NoAnswerError


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
    return ""


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
