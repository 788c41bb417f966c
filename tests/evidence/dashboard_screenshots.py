"""Pictures of every page, on a wide and a narrow screen, light and dark, of a folder of real runs::

    python tests/evidence/dashboard_screenshots.py RUNS_DIR [--run NAME] [--out DIR] [--readme]

``--readme`` also makes the two small pictures that the README shows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlencode

from dashboard_chromium import PATIENCE_MS, Watcher, browser, dashboard, settle
from PIL import Image
from playwright.sync_api import Browser, Page

PAGES = ("missions", "flight", "scenes", "budgets", "downlink", "models", "scenario")
SCREENS = {"wide": (1440, 900), "narrow": (390, 844)}
README_PAGES = {"flight": ("Flight", 1490), "downlink": ("Where the bytes went", 908)}
"""Page, the heading from which on it is shown, and how far down."""
README_WIDTH_PX = 1100
README_COLOURS = 256
SCREENSHOTS = Path(__file__).parents[2] / "dashboard" / "screenshots"


def picture(page: Page, address: str, name: str, run: str, out: Path) -> None:
    """Open a page at the height of its content and take its picture."""
    query = f"?{urlencode({'run': run})}" if run and name not in ("missions", "scenario") else ""
    width = page.viewport_size["width"]
    page.goto(f"{address}/{'' if name == 'missions' else name}{query}")
    settle(page)
    height = page.evaluate(
        "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
    )
    page.set_viewport_size({"width": width, "height": min(height + 80, 6000)})
    page.wait_for_timeout(1000)
    settle(page)
    page.wait_for_timeout(1000)
    page.screenshot(path=out, timeout=120_000)


def all_pictures(
    chromium: Browser, address: str, run: str, out: Path, pages: tuple[str, ...]
) -> list[str]:
    """Take them all; return what the pages complained of."""
    complaints = []
    for screen, (width, height) in SCREENS.items():
        for scheme in ("light", "dark"):
            for name in pages:
                page = chromium.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme
                )
                watcher = Watcher(page)
                picture(page, address, name, run, out / f"{name}-{screen}-{scheme}.png")
                page.close()
                complaints += [f"{name} {screen} {scheme}: {text}" for text in watcher.complaints]
    return complaints


def readme_pictures(chromium: Browser, address: str, run: str) -> None:
    """A part of two pages, small enough to be committed."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for name, (heading, shown_px) in README_PAGES.items():
        page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.set_default_timeout(PATIENCE_MS)
        small, whole = SCREENSHOTS / f"{name}.png", SCREENSHOTS / f"{name}.tmp.png"
        picture(page, address, name, run, whole)
        top = page.get_by_role("heading", name=heading, exact=True).bounding_box()["y"] - 24
        page.close()
        with Image.open(whole) as image:
            shown = image.convert("RGB").crop((0, top, image.width, top + shown_px))
            height_px = round(shown.height * README_WIDTH_PX / shown.width)
            shown = shown.resize((README_WIDTH_PX, height_px), Image.Resampling.LANCZOS)
            shown.quantize(README_COLOURS, method=Image.Quantize.FASTOCTREE).save(
                small, optimize=True
            )
        whole.unlink()
        print(f"{small}: {small.stat().st_size} bytes")


def main() -> None:
    """Take the pictures; fail when a page complained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--run", default="", help="the run shown; default: the newest complete one")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--pages", nargs="*", choices=PAGES, default=PAGES)
    parser.add_argument("--readme", action="store_true", help="only the two of the README")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with dashboard(arguments.runs) as address, browser() as chromium:
        if arguments.readme:
            readme_pictures(chromium, address, arguments.run)
            return
        complaints = all_pictures(
            chromium, address, arguments.run, arguments.out, tuple(arguments.pages)
        )
    print("\n".join(complaints) or f"no complaint; pictures are in {arguments.out}")
    raise SystemExit(1 if complaints else 0)


if __name__ == "__main__":
    main()
