"""`nephoscope-payload`: what a user of the board's program reads, and its exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from payload.card import ModelCard
from payload.link.serve import main


def test_the_program_answers_user_errors_without_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEPHOSCOPE_KEY_FILE", raising=False)
    for arguments, words in (
        (["serve", "--model=none", "--listen=tcp://127.0.0.1:0"], "none"),
        (["serve", "--model=threshold", "--listen=tcp://0.0.0.0:0"], "not loopback"),
        (["serve", "--model=threshold", "--listen=serial:///dev/none"], "no such device"),
        (["serve", "--model=threshold", "--listen=serial:///dev/null"], "opening serial port"),
        (["serve", "--model=threshold", "--listen=tcp://127.0.0.1"], "--listen 'tcp:"),
        (["serve", "--model=threshold", "--listen=serial:///dev/null?baud=x"], "--listen 'serial:"),
        (["serve", "--model=threshold", "--listen=udp://127.0.0.1:1"], "--listen is 'udp:"),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert words in said.err
        assert not said.out
    key = tmp_path / "key"
    assert main(["new-key", str(key)]) == 0
    assert key.stat().st_mode & 0o077 == 0
    assert main(["new-key", str(key)]) == 2
    assert "name another file" in capsys.readouterr().err


def test_the_selftest_passes_a_sound_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--model=threshold", "--json"]) == 0
    assert '"passed": true' in capsys.readouterr().out


def test_the_selftest_always_measures_and_takes_no_other_timing() -> None:
    with pytest.raises(SystemExit) as left:
        main(["selftest", "--model=threshold", "--timing=declared"])
    assert left.value.code == 2


def test_the_selftest_of_a_model_that_answers_no_number_says_so(
    write_model: Callable[..., ModelCard],
    pixel_graph: Callable[..., onnx.ModelProto],
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = pixel_graph(np.full((1, 4), np.nan, np.float32), np.zeros(1, np.float32))
    assert main(["selftest", f"--model={write_model(broken).path}"]) == 2
    said = capsys.readouterr()
    assert "the known tile was not processed: " in said.err
    assert "is not a number" in said.err
    assert not said.out
