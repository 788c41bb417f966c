"""From the mask's Jaccard to the mission's value: one model, made worse step by step, paired seeds.

Run from the repository's root::

    python tests/evidence/error_propagation.py [--scenario downlink_limited] [--seeds 5]
        [--model unet-distilled] [--policies prune,reschedule] [--shifts=-6,-3,0,3,6]
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
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import plotly.graph_objects as go
from onnx import helper, numpy_helper

from payload.card import load_card, save_card
from simulator.campaign import estimate
from simulator.sweep import Setting, Sweep, sweep, write_table
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
    out = Path(asked.out or tempfile.mkdtemp(prefix="error-propagation-"))
    (out / "models").mkdir(parents=True, exist_ok=True)
    models = {
        f"{asked.model} {shift:+g}": str(shifted(asked.model, shift, out / "models"))
        for shift in asked.shifts
    }
    models[f"{asked.model} +0"] = asked.model
    models |= {name: name for name in asked.others}
    fixed: dict[str, object] = {"duration_h": asked.hours} if asked.hours else {}
    settings = [
        Setting(
            f"{policy} / {label}",
            fixed | {"autonomy.policy": policy, "satellites.*.payload.model": model},
        )
        for policy in asked.policies
        for label, model in models.items()
    ]
    study = sweep(
        asked.scenario,
        settings,
        asked.seeds,
        out / "runs",
        jobs=asked.jobs,
        harvest=mask_quality,
        progress=lambda done, total, label: print(f"{done}/{total} {label}", flush=True),
    )
    rows = [
        _row(study, policy, label, f"{policy} / {asked.model} +0")
        for policy in asked.policies
        for label in models
    ]
    write_table(out / "error_propagation.csv", rows)
    _figure(rows).write_html(out / "error_propagation.html")
    for row in rows:
        print("  ".join(f"{key} {_shown(value)}" for key, value in row.items()))
    print(f"table and figure in {out}")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="downlink_limited")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="unet-distilled")
    parser.add_argument("--policies", type=_names, default=_names("prune,reschedule"))
    parser.add_argument("--shifts", type=_numbers, default=_numbers("-6,-3,-1,1,3,6"))
    parser.add_argument("--others", type=_names, default=_names("threshold"))
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--out", default="")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",") if float(number) != 0.0]


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
        mean, gain = study.summary(name, metric), study.difference(name, baseline, metric)
        row[metric] = None if mean is None else mean.mean
        row[f"{metric} against unshifted"] = None if gain is None else gain.mean
        row[f"{metric} low"] = None if gain is None else gain.low
        row[f"{metric} high"] = None if gain is None else gain.high
    return row


def _figure(rows: Sequence[dict[str, object]]) -> go.Figure:
    figure = go.Figure()
    for policy in dict.fromkeys(str(row["policy"]) for row in rows):
        own = sorted(
            (row for row in rows if row["policy"] == policy),
            key=lambda row: float(row["jaccard"]),  # type: ignore[arg-type]
        )
        figure.add_scatter(
            x=[row["jaccard"] for row in own],
            y=[row["clear_km2_delivered"] for row in own],
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


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
