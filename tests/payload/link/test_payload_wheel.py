"""The payload as its own distribution: it builds, and runs where nothing else is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BOARD = """
import sys

ALLOWED = {"numpy", "onnxruntime", "psutil", "yaml", "spacepackets"}
# What those need themselves: counted as theirs.
ALLOWED |= {"fastcrc", "deprecation", "packaging", "flatbuffers", "google", "sympy", "mpmath",
            "coloredlogs", "humanfriendly", "crcmod", "typing_extensions", "ml_dtypes"}

class Board:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ALLOWED | {"payload"} or top in sys.stdlib_module_names:
            return None
        if top.startswith(("_", "__editable__")):
            return None
        raise ModuleNotFoundError(f"{name} is not on the board", name=name)

sys.meta_path.insert(0, Board())
sys.path.insert(0, sys.argv[1])
import payload
assert payload.__file__.startswith(sys.argv[1]), payload.__file__
from payload.link.serve import main
sys.exit(main(["selftest", "--model", "threshold", "--device", "raspberry-pi-4"]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "payload"
    shutil.copytree(
        Path(__file__).parents[3] / "payload",
        source,
        ignore=shutil.ignore_patterns("__pycache__", "training", "build", "*.egg-info"),
    )
    build = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "-q"]
    done = subprocess.run(
        [*build, "--no-build-isolation", "--no-index", "-w", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("nephoscope_payload-*.whl"))


def test_the_wheel_holds_payload_models_and_devices(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "payload/frame.py",
        "payload/runtime.py",
        "payload/limits.py",
        "payload/link/serve.py",
        "payload/link/wire.py",
        "payload/link/README.md",
        "payload/models/threshold.onnx",
        "payload/models/threshold.yaml",
        "payload/devices/raspberry-pi-4.yaml",
    ):
        assert name in names
    assert not [name for name in names if "training" in name or name.startswith("simulator")]
    points = next(name for name in names if name.endswith("entry_points.txt"))
    text = zipfile.ZipFile(wheel).read(points).decode()
    assert "nephoscope-payload = payload.link.serve:main" in text


def test_the_self_test_passes_with_only_the_boards_libraries(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-c", BOARD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "passed             True" in done.stdout
