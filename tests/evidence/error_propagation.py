"""From the mask's Jaccard to the mission's value: one model, made worse step by step, paired seeds.

Run from the repository's root::

    python tests/evidence/error_propagation.py [--scenario downlink_limited] [--seeds 5]
        [--model unet-distilled] [--policies prune,reschedule] [--shifts=-6,-3,-1,1,3,6]
        [--others threshold] [--hours H] [--jobs N] [--out DIR]

A shift is added to the log odds of the model's cloud probability: negative ones miss cloud,
positive ones cry cloud, 0 is the model as it is committed. Each shifted model is a real ONNX file
with a card and flies like any other; `--others` are models beside it. The Jaccard is that of the
masks made in flight, pooled over the mission's pixels; value is given against the same policy's
unshifted model. Writes ``error_propagation.csv`` and ``error_propagation.html``.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import plotly.graph_objects as go
from campaign import (
    columns,
    fly,
    names,
    numbers,
    options,
    out_folder,
    print_rows,
    values,
    write_study,
)
from onnx import helper, numpy_helper

from payload.card_file import save_card
from payload.card_library import load_card
from simulator.campaign import estimate
from simulator.sweep import Sweep
from simulator.telemetry.run_folder import RunFolder

METRICS = (
    "clear_km2_delivered",
    "targets_satisfied_fraction",
    "clear_fraction_delivered",
    "false_discard_fraction",
)
SMALLEST = 1e-6


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the models, fly the study, write its table and figure."""
    asked = _arguments(arguments)
    out = out_folder(asked, "error_propagation")
    (out / "models").mkdir(parents=True, exist_ok=True)
    models = {
        f"{asked.model} {shift:+g}": str(shifted(asked.model, shift, out / "models"))
        for shift in asked.shifts
        if shift != 0.0
    }
    models[f"{asked.model} +0"] = asked.model
    models |= {name: name for name in asked.others}
    settings = [
        (
            f"{policy} / {label}",
            {"autonomy.policy": policy, "satellites.*.payload.model": model},
        )
        for policy in asked.policies
        for label, model in models.items()
    ]
    study = fly(asked, settings, out, harvest=mask_quality)
    rows = [
        _row(study, policy, label, f"{policy} / {asked.model} +0")
        for policy in asked.policies
        for label in models
    ]
    print_rows(rows)
    write_study(asked, out, "error_propagation", rows, _figure(rows))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__, model="unet-distilled")
    parser.add_argument("--policies", type=names, default=names("prune,reschedule"))
    parser.add_argument("--shifts", type=numbers, default=numbers("-6,-3,-1,1,3,6"))
    parser.add_argument("--others", type=names, default=names("threshold"))
    return parser.parse_args(arguments)


def shifted(model: str, shift: float, folder: Path) -> Path:
    """A model whose log odds of cloud are `shift` higher; returns its card."""
    card = load_card(model)
    graph = onnx.load(card.onnx_path)
    name = f"{card.name}-shift{shift:+g}".replace("+", "p").replace("-shift-", "-shiftm")
    output = graph.graph.output[0].name
    inner = f"{output}_unshifted"
    for node in graph.graph.node:
        node.output[:] = [inner if out == output else out for out in node.output]
        node.input[:] = [inner if used == output else used for used in node.input]
    constants = {"low": SMALLEST, "high": 1.0 - SMALLEST, "one": 1.0, "shift": shift}
    graph.graph.initializer.extend(
        numpy_helper.from_array(np.float32(value), f"shift_{key}")
        for key, value in constants.items()
    )
    graph.graph.node.extend(
        [
            helper.make_node("Clip", [inner, "shift_low", "shift_high"], ["shift_p"]),
            helper.make_node("Sub", ["shift_one", "shift_p"], ["shift_q"]),
            helper.make_node("Div", ["shift_p", "shift_q"], ["shift_odds"]),
            helper.make_node("Log", ["shift_odds"], ["shift_logit"]),
            helper.make_node("Add", ["shift_logit", "shift_shift"], ["shift_moved"]),
            helper.make_node("Sigmoid", ["shift_moved"], [output]),
        ]
    )
    onnx.checker.check_model(graph)
    path = folder / f"{name}.onnx"
    onnx.save(graph, path)
    content = path.read_bytes()
    save_card(
        dataclasses.replace(
            card,
            name=name,
            onnx=path.name,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
        ),
        folder / f"{name}.yaml",
    )
    return folder / f"{name}.yaml"


def mask_quality(run: RunFolder) -> Mapping[str, float]:
    """Jaccard of cloud over all pixels seen in flight, and the two ways to err."""
    rows = [row for row in run.events("inference").to_pylist() if row["status"] == "ok"]
    called, cried = (
        sum(row[name] for row in rows)
        for name in ("cloud_px_called_cloud", "clear_px_called_cloud")
    )
    cloud, clear = (sum(row[name] for row in rows) for name in ("cloud_px", "clear_px"))
    return {
        "jaccard": called / (cloud + cried) if cloud + cried else float("nan"),
        "missed_cloud": 1.0 - called / cloud if cloud else float("nan"),
        "false_cloud": cried / clear if clear else float("nan"),
    }


def _row(study: Sweep, policy: str, label: str, baseline: str) -> dict[str, object]:
    name = f"{policy} / {label}"
    row: dict[str, object] = {"policy": policy, "model": label}
    for quality in ("jaccard", "missed_cloud", "false_cloud"):
        found = estimate([run.harvest[quality] for run in study.of(name)])
        row[quality] = None if found is None else found.mean
    for metric in METRICS:
        row |= columns(metric, study.summary(name, metric))
        row |= columns(f"{metric} against unshifted", study.difference(name, baseline, metric))
    return row


def _figure(rows: Sequence[dict[str, object]]) -> go.Figure:
    figure = go.Figure()
    for policy in dict.fromkeys(str(row["policy"]) for row in rows):
        own = sorted(
            (row for row in rows if row["policy"] == policy),
            key=lambda row: float(row["jaccard"]),  # type: ignore[arg-type]
        )
        figure.add_scatter(
            x=values(own, "jaccard"),
            y=values(own, "clear_km2_delivered"),
            text=[row["model"] for row in own],
            mode="lines+markers+text",
            textposition="top center",
            name=policy,
        )
    return figure.update_layout(
        title="What a better mask is worth",
        xaxis_title="Jaccard of the masks made in flight",
        yaxis_title="clear km2 delivered",
    )


if __name__ == "__main__":
    main()
