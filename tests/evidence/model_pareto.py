"""Models on devices: clear ground, ground per energy, ground lost; and which are not dominated.

Run from the repository's root::

    python tests/evidence/model_pareto.py [--scenario downlink_limited] [--seeds 5]
        [--models threshold,unet-distilled-8k,...] [--devices myriad2,raspberry-pi-4]
        [--policy prune] [--hours H] [--jobs N] [--out DIR]

Without ``--models`` every committed card that opens here is flown. A pair is on the front when no
other delivers at least as much clear ground with no more energy and no more false discards, and is
better in one of the three. Differences are against the first model on the same device, seed by
seed. Writes ``model_pareto.csv`` and ``model_pareto.html``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import plotly.graph_objects as go
from campaign import (
    Row,
    columns,
    fly,
    names,
    options,
    out_folder,
    shown,
    values,
    whiskers,
    write_study,
)

from payload.card import ModelError
from payload.card_library import card_paths, load_card
from payload.model import CloudModel
from simulator.sweep import Sweep

METRICS = {
    "clear_km2_delivered": 1,
    "payload_energy_wh": -1,
    "false_discard_fraction": -1,
}
"""What a front is made of: 1 where more is better."""

SHOWN = (*METRICS, "clear_km2_per_wh", "targets_satisfied_fraction", "deadline_misses")


STUDENT = ("unet-distilled", "U")
"""A long name that most points share, and what stands for it in the figure: they overprinted."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly every pair, write its table and figure."""
    asked = _arguments(arguments)
    out = out_folder(asked, "model_pareto")
    pairs = [(model, device) for device in asked.devices for model in asked.models]
    settings = [
        (
            f"{model} on {device}",
            {
                "autonomy.policy": asked.policy,
                "satellites.*.payload.model": model,
                "satellites.*.payload.device": device,
            },
        )
        for model, device in pairs
    ]
    study = fly(asked, settings, out)
    rows = [_row(study, model, device, asked.models[0]) for model, device in pairs]
    for row in rows:
        row["on_front"] = not any(dominates(other, row) for other in rows)
    print(f"\n{asked.scenario}, {asked.policy}, {asked.seeds} paired seeds")
    for row in rows:
        cells = "  ".join(f"{name} {_cell(row, name)}" for name in SHOWN)
        print(f"{'*' if row['on_front'] else ' '} {row['model']} on {row['device']}: {cells}")
    print("* not dominated")
    write_study(asked, out, "model_pareto", rows, _figure(rows))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__, model=None)
    parser.add_argument("--models", type=names, default=[])
    parser.add_argument("--devices", type=names, default=names("myriad2,raspberry-pi-4"))
    parser.add_argument("--policy", default="prune")
    asked = parser.parse_args(arguments)
    asked.models = asked.models or committed_models()
    return asked


def committed_models() -> list[str]:
    """Cards in payload/models whose network opens here (a peer's weights may not be installed)."""
    found = []
    for name in sorted(card_paths()):
        try:
            CloudModel(load_card(name))
        except ModelError as error:
            print(f"left out: {name}: {error}")
        else:
            found.append(name)
    return found


def _row(study: Sweep, model: str, device: str, first: str) -> dict[str, object]:
    row: dict[str, object] = {"model": model, "device": device}
    for metric in SHOWN:
        label = f"{model} on {device}"
        gain = study.difference(label, f"{first} on {device}", metric)
        row |= columns(metric, study.summary(label, metric))
        row |= columns(f"{metric} against {first}", gain)
    return row


def _cell(row: Row, metric: str) -> str:
    return f"{shown(row[metric])} [{shown(row[f'{metric} low'])}, {shown(row[f'{metric} high'])}]"


def dominates(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether `one` is at least as good in everything and better in something."""
    a, b = (
        [sign * float(row[name] or 0.0) for name, sign in METRICS.items()]  # type: ignore[arg-type]
        for row in (one, other)
    )
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


def _figure(rows: Sequence[Row]) -> go.Figure:
    """Ground per energy over ground lost: up and to the left is better."""
    figure = go.Figure()
    for device in dict.fromkeys(str(row["device"]) for row in rows):
        own = sorted(
            (row for row in rows if row["device"] == device),
            key=lambda row: values([row], "false_discard_fraction"),
        )
        figure.add_scatter(
            x=[100.0 * lost for lost in values(own, "false_discard_fraction")],
            y=values(own, "clear_km2_per_wh"),
            error_y=whiskers(own, "clear_km2_per_wh"),
            text=[str(row["model"]).replace(*STUDENT).strip("-") for row in own],
            mode="markers+text",
            textposition=[("top right", "bottom left")[n % 2] for n in range(len(own))],
            marker={
                "size": 11,
                "symbol": ["circle" if row["on_front"] else "circle-open" for row in own],
            },
            name=device,
        )
    return figure.update_layout(
        title="What a model brings on a device (filled: not dominated; bars: 95 % over seeds)<br>"
        f"<sup>{STUDENT[1]} stands for {STUDENT[0]}</sup>",
        xaxis_title="clear ground dropped by mistake, % of the clear ground captured",
        yaxis_title="clear km2 delivered per Wh of the payload computer",
        yaxis_type="log",
        xaxis_range=[-1.0, 130.0 * max(values(rows, "false_discard_fraction")) + 1.0],
    )


if __name__ == "__main__":
    main()
