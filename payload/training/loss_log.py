"""The losses of a training: a row per step in a CSV file, and their curve."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from payload.whole_file import finished_or_nothing

LOG, CURVE = "loss.csv", "loss.png"
LOG_COLUMNS: tuple[str, ...] = ("step", "loss", "learning_rate", "training_minutes")

SMOOTHED_STEPS = 20


def write_log(path: Path, rows: Sequence[tuple[int, float, float, float]]) -> None:
    """Write the losses as CSV, one row per step."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(LOG_COLUMNS)
    for step, loss, rate, minutes in rows:
        writer.writerow([step, f"{loss:.6f}", f"{rate:.3e}", f"{minutes:.3f}"])
    with finished_or_nothing(path) as file:
        file.write(text.getvalue().encode("utf-8"))


def plot_losses(log: Path, picture: Path, title: str) -> None:
    """Draw the loss over training minutes, raw and smoothed over `SMOOTHED_STEPS`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with log.open(newline="", encoding="utf-8") as stream:
        rows = [
            (float(row["training_minutes"]), float(row["loss"])) for row in csv.DictReader(stream)
        ]
    minutes, losses = [m for m, _ in rows], [loss for _, loss in rows]
    smooth = [
        sum(losses[max(0, i + 1 - SMOOTHED_STEPS) : i + 1]) / min(SMOOTHED_STEPS, i + 1)
        for i in range(len(losses))
    ]
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot(minutes, losses, linewidth=0.5, alpha=0.4, label="each step")
    axes.plot(minutes, smooth, linewidth=1.5, label=f"mean of {SMOOTHED_STEPS} steps")
    axes.set(xlabel="training minutes", ylabel="loss", title=title, yscale="log")
    axes.legend()
    figure.savefig(picture, dpi=90)
    plt.close(figure)
