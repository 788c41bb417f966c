"""What the studies of missions share: their options, their flights, and how figures are written.

A study reads `options`, flies its settings with `fly`, says a mean and its interval with `interval`
or puts them into a row with `columns`, and leaves its table and figure with `write_study`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
import yaml

from simulator.campaign import Estimate
from simulator.sweep import Harvest, Setting, Sweep, sweep, write_table

PICTURE_PX = (1000, 620)

Row = Mapping[str, object]


def options(doc: str, *, seeds: int = 5, model: str | None = "") -> argparse.ArgumentParser:
    """The options every study has; `doc` is its docstring.

    `model` is the default of ``--model``: empty for the scenario's own, None for a study that flies
    several and names them by an option of its own.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--scenario", default="downlink_limited", help="a file or bundled name")
    parser.add_argument("--seeds", type=int, default=seeds, help="paired seeds")
    if model is None:
        parser.set_defaults(model="")
    else:
        parser.add_argument("--model", default=model, help="card by name or path")
    parser.add_argument("--hours", type=float, default=0.0, help="length; the scenario's, if 0")
    parser.add_argument(
        "--set", type=_field, action="append", default=[], help="FIELD=VALUE, in every setting"
    )
    parser.add_argument("--jobs", type=int, default=0, help="processes; one per core, if 0")
    parser.add_argument("--out", default="", help="folder for table and figure")
    parser.add_argument("--picture", default="", help="the figure as a PNG too (needs Chromium)")
    return parser


def names(text: str) -> list[str]:
    """Names between commas."""
    return [name for name in text.split(",") if name]


def numbers(text: str) -> list[float]:
    """Numbers between commas."""
    return [float(number) for number in names(text)]


def _field(text: str) -> tuple[str, object]:
    """A scenario field by its dotted name, and its value as YAML."""
    name, _, value = text.partition("=")
    return name, yaml.safe_load(value)


def fixed_fields(asked: argparse.Namespace) -> dict[str, object]:
    """Scenario fields that the options replace in every setting."""
    fixed: dict[str, object] = dict(asked.set)
    if asked.model:
        fixed["satellites.*.payload.model"] = asked.model
    if asked.hours:
        fixed["duration_h"] = asked.hours
    return fixed


def out_folder(asked: argparse.Namespace, study: str) -> Path:
    """Where the study writes: ``--out``, or a new temporary folder."""
    out = Path(asked.out or tempfile.mkdtemp(prefix=f"{study}-"))
    out.mkdir(parents=True, exist_ok=True)
    return out


def fly(
    asked: argparse.Namespace,
    settings: Iterable[tuple[str, Mapping[str, object]]],
    out: Path,
    *,
    harvest: Harvest | None = None,
) -> Sweep:
    """Fly every setting (its label and its fields, beside the fixed ones) with every seed."""
    fixed = fixed_fields(asked)
    return sweep(
        asked.scenario,
        [Setting(label, fixed | dict(fields)) for label, fields in settings],
        asked.seeds,
        out / "runs",
        jobs=asked.jobs,
        harvest=harvest,
        progress=lambda done, total, label: print(f"{done}/{total} {label}", flush=True),
    )


def interval(found: Estimate | None, form: str = ".4g") -> str:
    """A mean and its 95 % interval for people."""
    if found is None:
        return "-"
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def columns(name: str, found: Estimate | None) -> dict[str, float | None]:
    """A mean and its 95 % interval for a table."""
    low, high = f"{name} low", f"{name} high"
    if found is None:
        return {name: None, low: None, high: None}
    return {name: found.mean, low: found.low, high: found.high}


def shown(value: object) -> str:
    """A cell for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_rows(rows: Iterable[Row]) -> None:
    """Every row on a line, each cell with its name."""
    for row in rows:
        print("  ".join(f"{name} {shown(value)}" for name, value in row.items()))


def values(rows: Sequence[Row], name: str) -> list[float]:
    """A column of numbers; empty cells are not allowed in it."""
    return [float(row[name]) for row in rows]  # type: ignore[arg-type]


def whiskers(rows: Sequence[Row], name: str) -> dict[str, object]:
    """Plotly's error bars of a column that `columns` made."""
    means = values(rows, name)
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - m for high, m in zip(values(rows, f"{name} high"), means, strict=True)],
        "arrayminus": [m - low for low, m in zip(values(rows, f"{name} low"), means, strict=True)],
    }


def write_study(
    asked: argparse.Namespace,
    out: Path,
    study: str,
    rows: Sequence[Row],
    figure: go.Figure | None = None,
) -> None:
    """Leave ``<study>.csv`` and ``<study>.html``, and say where."""
    write_table(out / f"{study}.csv", rows)
    if figure is not None:
        page = out / f"{study}.html"
        figure.write_html(page)
        if asked.picture:
            photograph(page, Path(asked.picture))
    print(f"{study} is in {out}")


def photograph(page: Path, picture: Path) -> None:
    """Take the picture of a figure; it needs a browser, which the study itself does not."""
    from dashboard_chromium import browser
    from PIL import Image

    width, height = PICTURE_PX
    with browser() as chromium:
        sheet = chromium.new_page(viewport={"width": width, "height": height})
        sheet.goto(page.resolve().as_uri())
        sheet.wait_for_selector(".main-svg")
        sheet.screenshot(path=picture)
    with Image.open(picture) as image:
        image.convert("RGB").quantize(64, method=Image.Quantize.FASTOCTREE).save(
            picture, optimize=True
        )
