"""Lost clear area against upset rate, for two models: bit flips in weights and pixels.

Run from the repository's root::

    python tests/evidence/hil_bitflips.py --out FOLDER [--models a,b] [--seeds 12]

For each model, upset rate and seed, weights lie in memory for one day since they were last loaded,
and so do upsets; then labelled scenes are processed, pixels suffering upsets too while they wait.
Lost clear area is the share of truth-clear pixels called cloud, or of frames the broken model could
not process. Leaked cloud is the share of truth-cloud pixels called clear. A model whose weights
have become infinite answers NaN: the frame is lost and the payload restarts, which loads the
weights afresh. Draws are keyed, so both models meet the same seeds. Intervals are 95 % bootstrap
intervals of the mean over seeds. Leaves `bitflips.json` and `bitflips.html`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from campaign import photograph
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from payload.card_library import load_card
from payload.frame import Frame
from payload.link import open_link
from payload.link.faults import Exposure, FaultPlan
from payload.link.faulty import FaultyLink
from payload.link.settings import PayloadSettings
from payload.scenes import Scene, read_collection
from simulator.campaign import estimate

RATES = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""Upsets per bit and day. Orders of magnitude around what unprotected memories show in orbit
(1e-7 to 1e-5, from memory, unverified), carried on until the models break."""

WAIT_S = 10.0
FRACTIONS = {
    "lost_clear_fraction": "clear area called cloud or not processed",
    "leaked_cloud_fraction": "cloud called clear",
}
CLOUD_SHADOW = 3


@dataclass(frozen=True)
class Outcome:
    """Of one model, rate and seed."""

    lost_clear_fraction: float
    leaked_cloud_fraction: float
    weight_bits: int
    unprocessed: int


def suffer(model: str, rate: float, seed: int, scenes: list[Scene]) -> Outcome:
    """A day of upsets, then the scenes."""
    settings = PayloadSettings(model, "host")
    plan = FaultPlan(seed=seed, upsets_per_bit_day=rate)
    link = FaultyLink(open_link("inprocess", model=model, device="host"), settings, plan)
    weight_bytes = load_card(model).bytes
    clear = lost = cloud = leaked = bits = unprocessed = 0
    for number, scene in enumerate(scenes):
        frame = Frame(scene.name, scene.reflectance())
        truth = scene.truth()
        if truth is None:
            raise ValueError(f"scene {scene.name} has no label")
        exposure = Exposure(
            quiet_s=86400.0 if number == 0 else 0.0,
            frame_s=WAIT_S,
            frame_bytes=frame.reflectance.nbytes,
        )
        faults = plan.for_frame("sat", scene.name, exposure=exposure, weight_bytes=weight_bytes)
        bits += faults.weight_bits
        link.suffer(faults)
        result = link.process(frame)
        truth_clear = (truth == 0) | (truth == CLOUD_SHADOW)
        truth_cloud = (truth == 1) | (truth == 2)
        clear += int(truth_clear.sum())
        cloud += int(truth_cloud.sum())
        if result.mask is None:
            unprocessed += 1
            lost += int(truth_clear.sum())
        else:
            lost += int((truth_clear & (result.mask != 0)).sum())
            leaked += int((truth_cloud & (result.mask == 0)).sum())
    link.close()
    if not (clear and cloud):
        raise ValueError("the scenes must show clear ground and cloud: take more of them (--every)")
    return Outcome(lost / clear, leaked / cloud, bits, unprocessed)


def campaign(models: list[str], seeds: int, scenes: list[Scene]) -> list[dict[str, object]]:
    """One row per model and rate."""
    rows: list[dict[str, object]] = []
    for model in models:
        for rate in RATES:
            outcomes = [suffer(model, rate, seed, scenes) for seed in range(seeds)]
            row: dict[str, object] = {
                "model": model,
                "upsets_per_bit_day": rate,
                "seeds": seeds,
                "frames": seeds * len(scenes),
                "mean_weight_bits_flipped": float(np.mean([o.weight_bits for o in outcomes])),
                "frames_unprocessed": sum(outcome.unprocessed for outcome in outcomes),
            }
            for name in FRACTIONS:
                mean = estimate([getattr(outcome, name) for outcome in outcomes])
                if mean is not None:
                    row |= {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
            rows.append(row)
            print(json.dumps(rows[-1]), flush=True)
    return rows


def draw(rows: list[dict[str, object]]) -> go.Figure:
    """Both shares with intervals over upset rate, logarithmic; rate 0 stands at the left."""
    figure = make_subplots(cols=2, subplot_titles=list(FRACTIONS.values()), shared_yaxes=True)
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    for panel, name in enumerate(FRACTIONS, start=1):
        for model, colour in zip(models, qualitative.Plotly, strict=False):
            own = [row for row in rows if row["model"] == model]
            mean, low, high = (
                np.array([row[name + end] for row in own], dtype=float)
                for end in ("", "_low", "_high")
            )
            figure.add_scatter(
                x=[row["upsets_per_bit_day"] or RATES[1] / 10 for row in own],
                y=mean,
                error_y={"array": high - mean, "arrayminus": mean - low},
                line={"color": colour},
                name=model,
                showlegend=panel == 1,
                row=1,
                col=panel,
            )
    figure.update_layout(
        title="Bit flips: what is lost and what leaks after one day of upsets in the weights",
        legend={"orientation": "h", "y": -0.2},
    )
    figure.update_xaxes(
        type="log",
        dtick=1,
        exponentformat="power",
        title=f"upsets per bit and day (0 drawn at {RATES[1] / 10:g})",
    )
    figure.update_yaxes(title="mean share, 95 % interval over seeds", range=[0, 1], col=1)
    return figure


def main() -> None:
    """Run the campaign, leave figures and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default="unet-distilled,unet-distilled-int8")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--scenes", type=Path, default=Path("scenarios/samples"))
    parser.add_argument("--every", type=int, default=6, help="take every n-th labelled scene")
    parser.add_argument("--picture", type=Path, help="the figure as a PNG too (needs Chromium)")
    options = parser.parse_args()
    scenes = read_collection(options.scenes).labelled
    rows = campaign(options.models.split(","), options.seeds, list(scenes[:: options.every]))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bitflips.json").write_text(json.dumps(rows, indent=2))
    page = options.out / "bitflips.html"
    draw(rows).write_html(page)
    if options.picture:
        photograph(page, options.picture)


if __name__ == "__main__":
    main()
