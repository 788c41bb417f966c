"""The dashboard in a real browser: every page, a click on an event, runs started and cancelled."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.colours import WAITING, rgb
from dashboard.metric_text import HEADLINES, number


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


chromium = _load(Path(__file__).parents[1] / "evidence" / "dashboard_chromium.py")

pytestmark = pytest.mark.skipif(
    chromium.CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"
)

PATIENCE_MS = chromium.PATIENCE_MS
PAGES = {
    "": "Missions",
    "flight": "Flight",
    "scenes": "Scenes",
    "budgets": "Budgets",
    "downlink": "Downlink and autonomy",
    "models": "Models",
    "scenario": "Scenario",
}
CAPTURE_FILL = "fill: rgb({}, {}, {})".format(*rgb(WAITING))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def folder(flown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser") / "runs"
    shutil.copytree(flown, root / flown.name)
    return root


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with chromium.dashboard(folder) as served:
        yield served


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must log no error and ask nothing outside this machine."""
    opened = browser.new_page(viewport={"width": 1440, "height": 1400})
    watcher = chromium.Watcher(opened)
    yield opened
    assert opened.locator('[data-testid="stException"]').count() == 0
    opened.close()
    assert watcher.complaints == []


@pytest.mark.parametrize(("path", "title"), PAGES.items())
def test_every_page_opens_by_its_link(
    page: Page, address: str, flown: Path, path: str, title: str
) -> None:
    page.goto(f"{address}/{path}?run={flown.name}" if path else address)
    chromium.settle(page)
    assert page.locator("h1").inner_text() == title
    assert page.locator('[data-testid="stAlertContentError"]').count() == 0


def test_page_holds_the_values_of_the_run(page: Page, address: str, flown: Path) -> None:
    metrics = json.loads((flown / "metrics.json").read_text())
    page.goto(f"{address}/downlink?run={flown.name}")
    chromium.settle(page)
    shown = page.locator('[data-testid="stMetricValue"]').all_inner_texts()
    for name in HEADLINES:
        assert number(name, metrics[name]) in shown


def test_click_on_an_event_shows_its_record_and_reason(
    page: Page, address: str, flown: Path
) -> None:
    page.goto(f"{address}/flight?run={flown.name}")
    chromium.settle(page)
    marks = page.locator(".js-plotly-plot").nth(1).locator(".barlayer path")
    mark = marks.and_(page.locator(f'[style*="{CAPTURE_FILL}"]')).last
    mark.wait_for(state="attached")
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    # Plotly takes a click for the mark that the mouse is over, which it learns a moment later.
    page.mouse.move(across - 3, down)
    page.mouse.move(across, down)
    page.locator(".hoverlayer .hovertext").first.wait_for(state="attached")
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_text("Why it was imaged")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Everything about")).to_be_visible()
    expect(page).to_have_url(re.compile("event=capture"))


def test_run_is_started_and_finishes(page: Page, address: str, flown: Path, folder: Path) -> None:
    _fly(page, address, flown, seed="1001", duration_h="4")
    expect(page.get_by_text("· complete ·")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("See short-")).to_be_visible()
    seeds = [json.loads(path.read_text())["seed"] for path in folder.glob("short-*/manifest.json")]
    assert 1001 in seeds


def test_run_is_cancelled(page: Page, address: str, flown: Path, folder: Path) -> None:
    _fly(page, address, flown, seed="1002", duration_h="2000")
    page.get_by_text("% simulated").wait_for()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("· interrupted ·")).to_be_visible(timeout=PATIENCE_MS)
    states = {
        document["seed"]: document["status"]
        for document in (json.loads(p.read_text()) for p in folder.glob("short-*/manifest.json"))
    }
    assert states[1002] == "interrupted"


def _fly(page: Page, address: str, flown: Path, **fields: str) -> None:
    page.goto(f"{address}/scenario?scenario=run: {flown.name}")
    chromium.settle(page)
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Apply").click()
    page.get_by_text(f"{fields['duration_h']} h,").wait_for()
    page.get_by_role("button", name="Run", exact=True).click()


def test_two_models_are_compared(page: Page, address: str, flown: Path, folder: Path) -> None:
    other = "unet-distilled-8k"  # ships with the project, whatever extras are installed
    page.goto(f"{address}/models")
    chromium.settle(page)
    _choose(page, "Mission", f"run: {flown.name}")
    _choose(page, "Models", "threshold")
    _choose(page, "Models", other)
    page.get_by_label("Seeds", exact=True).fill("1")
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
    expect(page).to_have_url(re.compile("swap_models=threshold"), timeout=PATIENCE_MS)
    page.get_by_text("See the comparison").click(timeout=2 * PATIENCE_MS)
    page.get_by_text("Paired comparison").wait_for()
    chromium.settle(page)
    table = json.loads(next(folder.glob("compare-*/campaign.json")).read_text())
    assert {run["variant"]["model"] for run in table["runs"]} == {"threshold", other}
    expect(page.locator(".js-plotly-plot").first).to_contain_text(other)


def _choose(page: Page, label: str, option: str) -> None:
    box = page.get_by_label(label, exact=True).and_(page.get_by_role("combobox"))
    box.click()
    box.fill(option)
    page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")
