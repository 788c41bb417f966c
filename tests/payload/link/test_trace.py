"""A damaged trace is said to be damaged, which file and what to do; arrays have names in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from payload.frame import FrameResult, content_sha256
from payload.link.bench import BenchPayload, bench_frame, identical
from payload.link.trace import (
    TRACE_FILE,
    ContentNames,
    RecordingLink,
    TraceError,
    read_header,
    read_replies,
    read_result,
)

FLIPS = (0x01, 0x55, 0xFF)


class LocalPayload(BenchPayload):
    """A bench payload at hand."""

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def recorded(tmp_path: Path) -> FrameResult:
    """The reply that the trace in `tmp_path` holds."""
    link = RecordingLink(LocalPayload(), tmp_path, "declared")
    result = link.process(bench_frame(height=24, width=24))
    link.close()
    return result


def read_back(folder: Path) -> FrameResult:
    read_header(folder)
    (reply,) = read_replies(folder)
    return read_result(folder, reply)


@pytest.mark.parametrize("damage", [b"", b"PK", b"no archive at all", b"\x93NUMPY"])
@pytest.mark.usefixtures("recorded")
def test_a_mask_that_is_none_names_its_file(tmp_path: Path, damage: bytes) -> None:
    (mask,) = (tmp_path / "masks").iterdir()
    mask.write_bytes(damage)
    with pytest.raises(TraceError, match=rf"{mask.name}.*cannot be read.*record the mission again"):
        read_back(tmp_path)


@pytest.mark.parametrize("flip", FLIPS)
def test_no_flipped_octet_of_a_mask_gives_another_mask_or_a_traceback(
    tmp_path: Path, recorded: FrameResult, flip: int
) -> None:
    (mask,) = (tmp_path / "masks").iterdir()
    whole = mask.read_bytes()
    complaints = []
    for place in range(len(whole)):
        mask.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        try:
            assert identical(read_back(tmp_path), recorded), "an octet that nobody reads"
        except TraceError as error:
            complaints.append(str(error))
    assert len(complaints) > len(whole) // 2
    assert all(mask.name in complaint for complaint in complaints)


@pytest.mark.parametrize("line", [0, 1])
@pytest.mark.usefixtures("recorded")
def test_a_line_that_is_no_text_is_named(tmp_path: Path, line: int) -> None:
    path = tmp_path / TRACE_FILE
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line][:5] + b"\xff" + lines[line][6:]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(TraceError, match=rf"{TRACE_FILE}: line {line + 1} is damaged.*record"):
        read_back(tmp_path)


def test_names_follow_what_arrays_hold_and_are_forgotten_with_them() -> None:
    names = ContentNames()
    pixels = np.zeros((4, 8, 8), np.float32)
    before = names.name(pixels)
    pixels[0, 0, 0] = 1.0
    assert names.name(pixels) != before  # writeable: hashed anew each time
    pixels.setflags(write=False)
    assert names.name(pixels) == names.name(pixels) == content_sha256(pixels)
    assert len(names._known) == 1
    del pixels
    assert not names._known
