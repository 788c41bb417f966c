"""A recorded payload: `replay:PATH` answers from a trace, with neither model file nor server.

Each frame is looked up by its hash. The same frame asked for again gets the next reply recorded
for it, as the live payload gave them. A frame the trace does not know means that the mission is
another one than was recorded, and is an error, not a fault on board.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from pathlib import Path

from payload.card_library import load_card
from payload.device import load_device
from payload.frame import Capabilities, Frame, FrameResult, Health
from payload.link.settings import PayloadSettings
from payload.link.trace import (
    ContentNames,
    TraceError,
    TraceReply,
    read_header,
    read_replies,
    read_result,
)


class ReplayLink:
    """A payload that says what it said before.

    Parameters
    ----------
    path : str
        Folder of the trace.
    settings : PayloadSettings
        What the mission asks for; held against what was recorded.

    Raises
    ------
    TraceError
        If there is no usable trace, or it was recorded with another model, device or timing.
    """

    def __init__(self, path: str, settings: PayloadSettings) -> None:
        self._folder = Path(path)
        header = read_header(self._folder)
        _check("model", load_card(settings.model).sha256, header.capabilities.model_sha256, path)
        _check("device", load_device(settings.device).name, header.capabilities.device, path)
        _check("timing", settings.timing, header.timing, path)
        self._capabilities = dataclasses.replace(header.capabilities, link="replay")
        self._replies: defaultdict[str, deque[TraceReply]] = defaultdict(deque)
        for reply in read_replies(self._folder):
            self._replies[reply.request].append(reply)
        self._names = ContentNames()
        self._frames = 0

    def describe(self) -> Capabilities:
        """What the recorded payload said of itself."""
        return self._capabilities

    def process(self, frame: Frame) -> FrameResult:
        """The recorded reply to this frame.

        Raises
        ------
        TraceError
            If no reply to it is left in the trace.
        """
        replies = self._replies.get(self._names.request(frame))
        if not replies:
            raise TraceError(
                f"trace {self._folder}: no reply to frame {frame.frame_id!r}; the mission differs "
                "from the recorded one in seed, scenes, targets or policy; record it again"
            )
        self._frames += 1
        return read_result(self._folder, replies.popleft())

    def health(self) -> Health:
        """A replay is always well."""
        return Health(True, 0.0, self._frames, detail=f"replay of {self._folder.name}")

    def reset(self) -> None:
        """A replay holds no state that a restart would lose."""

    def close(self) -> None:
        """Forget the replies."""
        self._replies.clear()


def _check(name: str, asked: str, recorded: str, path: str) -> None:
    if asked != recorded:
        raise TraceError(
            f"trace {path}: recorded with {name} {recorded!r}, the scenario asks for {asked!r}; "
            f"record a trace with that {name}, or replay under the recorded one"
        )
