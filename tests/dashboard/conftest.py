"""One short real mission, flown once, for everything that reads run folders."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from simulator.mission import run_mission
from simulator.scenario import bundled_scenarios, load_scenario

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
DURATION_H = 8
PAGE_TIMEOUT_S = 120.0
MAIN = sys.modules["__main__"]


@pytest.fixture(autouse=True)
def _main_module_again() -> Iterator[None]:
    """Streamlit leaves the app as ``__main__``, which worker processes of later tests would run."""
    yield
    sys.modules["__main__"] = MAIN


@pytest.fixture(scope="session")
def short_scenario() -> str:
    """A scenario that flies for a few hours with the untrained threshold model, as text."""
    bundled = bundled_scenarios()["first_light"]
    values = yaml.safe_load(bundled.read_text(encoding="utf-8"))
    values["name"] = "short"
    values["duration_h"] = DURATION_H
    values["satellites"][0]["payload"]["model"] = "threshold"
    values["satellites"][0]["imager"]["frame_px"] = [512, 512]
    values["targets"] = str(bundled.parent / values["targets"])
    values["scenes"]["collections"] = [
        str(bundled.parent / name) for name in values["scenes"]["collections"]
    ]
    return str(yaml.safe_dump(values, sort_keys=False))


@pytest.fixture(scope="session")
def flown(tmp_path_factory: pytest.TempPathFactory, short_scenario: str) -> Path:
    """The run folder of a short mission; not to be changed."""
    place = tmp_path_factory.mktemp("flown")
    path = place / "short.yaml"
    path.write_text(short_scenario, encoding="utf-8")
    return run_mission(load_scenario(path), place / "runs")


@pytest.fixture
def runs(flown: Path, tmp_path: Path) -> Path:
    """A folder of runs with a copy of the flown one."""
    root = tmp_path / "runs"
    shutil.copytree(flown, root / flown.name)
    return root


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """``open_page(runs, "flight", run=...)``: a page as Streamlit's test harness runs it."""

    def opened(root: Path, page: str = "missions", **query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app.py", str(root)])
        app = AppTest.from_file(str(APP), default_timeout=PAGE_TIMEOUT_S)
        if page != "missions":
            app.run()
            app.switch_page(f"pages/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return opened


@pytest.fixture
def text_of() -> Callable[[AppTest], str]:
    """``text_of(app)``: everything a page says, as one text."""

    def said(app: AppTest) -> str:
        spoken = [app.markdown, app.caption, app.info, app.warning, app.error, app.success]
        return "\n".join(str(part.value) for parts in spoken for part in parts)

    return said
