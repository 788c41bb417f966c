"""The loop: losses go down, budgets hold, and a killed training repeats its curve."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch
from torch import nn

from payload.training.augmentation import Batch
from payload.training.loss_log import CURVE, LOG, LOG_COLUMNS, plot_losses
from payload.training.muon import KERNEL_RATE
from payload.training.training_loop import CHECKPOINT, Trainer, flushed_denormals
from payload.training.training_plan import TrainingError, TrainingPlan, learning_rate

FullDisk = Callable[[int], AbstractContextManager[None]]
EDGE_PX = 16
BF16_TOLERANCE = 0.15
"""Of the loss after thirty steps: eight bits of mantissa, not another training."""

PLAN = TrainingPlan(
    budget_minutes=1.0,
    total_steps=14,
    warmup_steps=3,
    freeze_statistics_share=8 / 14,
    checkpoint_steps=5,
    threads=1,
)


class BrightSquares:
    """Batches in which bright is cloud; a step's batch depends on the step alone."""

    def draw(self, step: int) -> Batch:
        rng = np.random.default_rng(step)
        target = (rng.random((2, 1, EDGE_PX, EDGE_PX)) < 0.4).astype(np.float32)
        noise = rng.uniform(0, 0.2, (2, 4, EDGE_PX, EDGE_PX))
        sure = np.ones_like(target)
        return Batch((noise + 0.6 * target).astype(np.float32), target, sure, target, sure)


class KilledError(Exception):
    """Stands for a kill: nothing after it is saved."""


class KilledAt(BrightSquares):
    def __init__(self, step: int) -> None:
        self.last = step

    def draw(self, step: int) -> Batch:
        if step == self.last:
            raise KilledError
        return super().draw(step)


class DeeplySupervised(nn.Module):
    """Two classes at full and at half size, normalised, a kernel inside: all a real network has."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(4, 6, 3, padding=1)
        self.inner = nn.Sequential(
            first, nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()
        )
        self.fine, self.coarse = nn.Conv2d(6, 2, 1), nn.Conv2d(6, 2, 2, stride=2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        inner = self.inner(x)
        return [self.fine(inner), self.coarse(inner)]


def fresh_network() -> nn.Module:
    torch.manual_seed(0)
    return DeeplySupervised()


def losses_in(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / LOG).open(newline="") as stream:
        return [(row["step"], row["loss"], row["learning_rate"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("killed_at", [6, 9, 11])
def test_a_killed_and_resumed_training_gives_the_same_curve_and_weights(
    tmp_path: Path, killed_at: int
) -> None:
    whole = Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path / "whole")
    whole.run()
    with pytest.raises(KilledError):
        Trainer(fresh_network(), KilledAt(killed_at), PLAN, tmp_path / "cut").run()
    resumed = Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path / "cut")
    resumed.resume()
    assert resumed.step == killed_at // PLAN.checkpoint_steps * PLAN.checkpoint_steps
    resumed.run()
    assert losses_in(tmp_path / "cut") == losses_in(tmp_path / "whole")
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(resumed.average.state_dict()[name], value, rtol=0, atol=0)


def test_statistics_are_frozen_at_their_average_and_weights_go_on(tmp_path: Path) -> None:
    states: dict[int, dict[str, torch.Tensor]] = {}

    class Watching(BrightSquares):
        def draw(self, step: int) -> Batch:
            current = trainer.network.state_dict()
            states[step] = {name: value.clone() for name, value in current.items()}
            return super().draw(step)

    trainer = Trainer(fresh_network(), Watching(), PLAN, tmp_path)
    trainer.run()
    mean, weight, last = "inner.1.running_mean", "inner.0.weight", 8
    assert not torch.equal(states[last - 1][mean], states[last - 2][mean])
    torch.testing.assert_close(states[last + 5][mean], states[last][mean], rtol=0, atol=0)
    assert not torch.equal(states[last + 5][weight], states[last][weight])


def test_the_loss_goes_down_and_the_log_holds_every_step(tmp_path: Path) -> None:
    plan = TrainingPlan(1.0, total_steps=60, warmup_steps=3, peak_learning_rate=0.02, threads=1)
    trainer = Trainer(fresh_network(), BrightSquares(), plan, tmp_path)
    record = trainer.run()
    rows = losses_in(tmp_path)
    assert [int(step) for step, _, _ in rows] == list(range(1, 61))
    assert record.steps == 60
    assert record.final_loss < 0.5 * float(rows[0][1])
    assert record.training_minutes > 0


def test_both_optimisers_follow_the_schedule(tmp_path: Path) -> None:
    trainer = Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path)
    trainer.run()
    last = learning_rate(13, 14, PLAN)
    rates = [o.param_groups[0]["lr"] for o in trainer.learner.optimisers]
    assert rates == pytest.approx([KERNEL_RATE * last, last])


def test_steps_are_fixed_from_the_budget_by_timing(tmp_path: Path) -> None:
    said: list[str] = []
    plan = TrainingPlan(budget_minutes=0.02, warmup_steps=2, threads=1)
    record = Trainer(fresh_network(), BrightSquares(), plan, tmp_path, report=said.append).run()
    assert "steps in 0.02 training minutes" in said[0]
    assert record.steps == int(said[0].split(": ")[1].split()[0])
    assert record.training_minutes == pytest.approx(0.02, rel=1.0)


def test_resuming_with_another_budget_scales_the_steps(tmp_path: Path) -> None:
    Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path).run()
    longer = TrainingPlan(2.0, warmup_steps=3, checkpoint_steps=5, threads=1)
    trainer = Trainer(fresh_network(), BrightSquares(), longer, tmp_path)
    trainer.resume()
    assert (trainer.step, trainer.total_steps) == (14, 28)


@pytest.mark.parametrize("total_steps", [16, 40])
def test_statistics_are_frozen_at_their_average_under_another_schedule(
    tmp_path: Path, total_steps: int
) -> None:
    """At step 10 of a schedule that freezes at its end; then one that is past 60 %, or is not."""
    whole = replace(PLAN, total_steps=10, freeze_statistics_share=1.0)
    Trainer(fresh_network(), BrightSquares(), whole, tmp_path).run()
    trainer = Trainer(
        fresh_network(), BrightSquares(), replace(PLAN, total_steps=total_steps), tmp_path
    )
    trainer.resume()
    mean = "inner.1.running_mean"
    while trainer.step < round(0.6 * total_steps):
        trainer._take_step()
    average = trainer.average.state_dict()[mean].clone()
    trainer._take_step()
    torch.testing.assert_close(trainer.network.state_dict()[mean], average, rtol=0, atol=0)


@pytest.mark.parametrize("room_bytes", [0, 100, 12_000])
def test_a_full_disk_is_named_and_leaves_what_was_saved(
    tmp_path: Path, full_disk: FullDisk, room_bytes: int
) -> None:
    with pytest.raises(KilledError):
        Trainer(fresh_network(), KilledAt(6), PLAN, tmp_path).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    trainer = Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path)
    trainer.resume()
    with full_disk(room_bytes), pytest.raises(OSError, match="File too large"):
        trainer.run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path).run()
    whole = (tmp_path / CHECKPOINT).read_bytes()
    for damaged in (b"", whole[:2000]):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(TrainingError, match="is damaged"):
            Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path).resume()


def test_resume_needs_a_checkpoint_of_the_same_network(tmp_path: Path) -> None:
    trainer = Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path)
    with pytest.raises(TrainingError, match="does not exist; start without --resume"):
        trainer.resume()
    trainer.run()
    assert (tmp_path / CHECKPOINT).is_file()
    another = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 1, 1))
    other = Trainer(another, BrightSquares(), PLAN, tmp_path)
    with pytest.raises(TrainingError, match="holds another network"):
        other.resume()


def test_a_checkpoint_of_the_time_of_adamw_is_refused(tmp_path: Path) -> None:
    Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path).run()
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    state["optimizer"] = state.pop("learner")
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError, match=r"of an earlier version.*another --work-dir"):
        Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path).resume()


def test_both_precisions_learn(tmp_path: Path) -> None:
    losses = {}
    for precision in ("bf16", "fp32"):
        plan = replace(PLAN, precision=precision, total_steps=30, peak_learning_rate=0.02)
        folder = tmp_path / precision
        losses[precision] = Trainer(fresh_network(), BrightSquares(), plan, folder).run().final_loss
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=BF16_TOLERANCE)


def test_denormals_are_flushed_only_within_the_block() -> None:
    tiny = torch.tensor(1e-40)
    with suppress(KilledError), flushed_denormals():
        assert float(tiny * 1.0) == 0.0
        raise KilledError
    assert float(tiny * 1.0) > 0.0
    assert 5e-324 > 0.0


def test_the_curve_is_drawn(tmp_path: Path) -> None:
    Trainer(fresh_network(), BrightSquares(), PLAN, tmp_path).run()
    plot_losses(tmp_path / LOG, tmp_path / CURVE, "a title")
    assert (tmp_path / CURVE).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / LOG).read_text().splitlines()[0] == ",".join(LOG_COLUMNS)
