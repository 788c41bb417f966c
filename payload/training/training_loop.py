"""One training loop for all networks: a budget, a log, and the same curve after a kill.

The budget is counted in *training minutes*: processor time of the process divided by its
threads. On a quiet machine that is wall-clock time; on a busy one it does not charge the training
for its neighbours. The first steps are timed, the number of steps that fit is fixed once, and
from then on everything (batch, learning rate, weights) depends on the step alone. A training
that is killed and resumed from its last checkpoint therefore repeats the curve it would have had.

Recipe: Muon and AdamW (`muon`) on a schedule (`training_plan`), soft cross-entropy plus batch Dice,
deep supervision where the network offers it (`losses`), and an exponential moving average of the
weights, which is what is evaluated and exported.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, Protocol

import torch
from torch import Tensor, nn

from payload.training.augmentation import Batch
from payload.training.loss_log import LOG, write_log
from payload.training.losses import segmentation_loss
from payload.training.muon import KernelMuon
from payload.training.training_plan import (
    TrainingError,
    TrainingPlan,
    learning_rate,
    steps_of_budget,
)
from payload.whole_file import finished_or_nothing

CALIBRATION_SKIPPED, CALIBRATION_STEPS = 2, 8
"""Steps not timed at first (memory is being allocated), and steps timed."""

CHECKPOINT = "checkpoint.pt"


class BatchSource(Protocol):
    """Anything that gives the batch of a step, always the same (`sampling.Sampler`)."""

    def draw(self, step: int) -> Batch:
        """Batch of a step."""


Loss = Callable[[Sequence[Tensor], Batch], Tensor]


@dataclass(frozen=True)
class TrainingRecord:
    """What a training came to.

    Attributes
    ----------
    steps : int
    training_minutes, wall_minutes : float
        Processor time over threads; elapsed time of the runs that led here.
    final_loss : float
        Mean of the last tenth of the steps.
    """

    steps: int
    training_minutes: float
    wall_minutes: float
    final_loss: float


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take numbers below the normal range for zero while the block runs.

    Gradients of pixels long learnt may sink there, where many processors compute far slower.
    Enter it before the first worker thread of torch, which inherits it, and leave it before
    anybody else computes: it holds for the whole thread.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class Trainer:
    """Trains one network in one folder.

    Parameters
    ----------
    network : nn.Module
        Reflectance (N, 4, H, W) -> logits, or a list of them, finest first.
    batches : BatchSource
    plan : TrainingPlan
    folder : Path
        Gets checkpoint, log and loss curve.
    loss : callable, optional
    report : callable, optional
        Is told of progress, one line at a time.
    seed : int
        What first weights and batches were drawn with; kept in the checkpoint, so that nobody goes
        on with other draws.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: BatchSource,
        plan: TrainingPlan,
        folder: Path,
        loss: Loss = segmentation_loss,
        report: Callable[[str], None] = lambda _: None,
        seed: int = 0,
    ) -> None:
        torch.set_num_threads(plan.threads)
        self.bf16 = plan.computes_bf16
        self.network = network = network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(network)
        self.batches, self.plan, self.folder = batches, plan, folder
        self.loss, self.report, self.seed = loss, report, seed
        self.learner = KernelMuon(network, plan.peak_learning_rate, plan.weight_decay)
        self.step = 0
        self.total_steps = plan.total_steps
        self.step_s = 0.0
        self.rows: list[tuple[int, float, float, float]] = []
        self._spent_s, self._wall_s = 0.0, 0.0
        self._start = (time.process_time(), time.perf_counter())

    @property
    def training_minutes(self) -> float:
        """Processor time over threads since the very start, in minutes."""
        here_s = (time.process_time() - self._start[0]) / self.plan.threads
        return (self._spent_s + here_s) / 60

    @property
    def wall_minutes(self) -> float:
        """Elapsed time of all runs, in minutes."""
        return (self._wall_s + time.perf_counter() - self._start[1]) / 60

    def run(self) -> TrainingRecord:
        """Train to the end of the budget; the network that counts is then `average`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.network.train()
        timed_from = 0.0
        while self.total_steps is None or self.step < self.total_steps:
            if self.step == CALIBRATION_SKIPPED:
                timed_from = self.training_minutes
            self._take_step()
            if self.total_steps is None and self.step == CALIBRATION_SKIPPED + CALIBRATION_STEPS:
                self._fix_total_steps(timed_from)
            if self.total_steps is not None and (
                self.step % self.plan.checkpoint_steps == 0 or self.step == self.total_steps
            ):
                self.save()
                self._report_progress()
        return self.record()

    def _take_step(self) -> None:
        if self.step >= self._freeze_at:
            self._freeze_statistics()
        rate = learning_rate(self.step, self.total_steps, self.plan)
        self.learner.set_learning_rate(rate)
        batch = self.batches.draw(self.step)
        loss = self.loss(self._outputs(batch), batch)
        self.learner.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.gradient_clip)
        self.learner.step()
        self._average_weights()
        self.step += 1
        self.rows.append((self.step, float(loss.detach()), rate, self.training_minutes))

    def _outputs(self, batch: Batch) -> list[Tensor]:
        reflectance = torch.from_numpy(batch.reflectance)
        reflectance = reflectance.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            outputs = self.network(reflectance)
        return [
            output.float() for output in ([outputs] if isinstance(outputs, Tensor) else outputs)
        ]

    @property
    def _freeze_at(self) -> float:
        """Step at which the statistics are frozen; never while the number of steps is not fixed."""
        if self.total_steps is None:
            return math.inf
        return round(self.total_steps * self.plan.freeze_statistics_share)

    def _freeze_statistics(self) -> None:
        averaged = dict(self.average.named_modules())
        for name, module in self.network.named_modules():
            if isinstance(module, nn.BatchNorm2d) and module.training:
                module.eval()
                module.running_mean.copy_(averaged[name].running_mean)
                module.running_var.copy_(averaged[name].running_var)

    @torch.no_grad()
    def _average_weights(self) -> None:
        decay = min(self.plan.ema_decay, (1 + self.step) / (10 + self.step))
        latest = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(latest[name], 1 - decay)
            else:
                value.copy_(latest[name])

    def _fix_total_steps(self, timed_from: float) -> None:
        step_minutes = (self.training_minutes - timed_from) / CALIBRATION_STEPS
        remaining = (self.plan.budget_minutes - self.training_minutes) / step_minutes
        self.step_s = step_minutes * 60
        self.total_steps = self.step + max(1, int(remaining))
        self.report(
            f"{self.step_s:.2f} s per step: {self.total_steps} steps in "
            f"{self.plan.budget_minutes:g} training minutes"
        )

    def _report_progress(self) -> None:
        recent = [loss for _, loss, _, _ in self.rows[-self.plan.checkpoint_steps :]]
        total = self.total_steps or self.step
        wall_left = self.wall_minutes / max(1, self.step) * (total - self.step)
        self.report(
            f"step {self.step}/{total}  loss {sum(recent) / len(recent):.4f}  "
            f"{self.training_minutes:.1f} training min  {self.wall_minutes:.1f} min elapsed  "
            f"about {wall_left:.0f} min left"
        )

    def record(self) -> TrainingRecord:
        """What the training came to so far."""
        tail = self.rows[-max(1, len(self.rows) // 10) :]
        return TrainingRecord(
            steps=self.step,
            training_minutes=self.training_minutes,
            wall_minutes=self.wall_minutes,
            final_loss=sum(row[1] for row in tail) / len(tail),
        )

    def save(self) -> None:
        """Write checkpoint and log; a kill or a full disk leaves the ones before."""
        state: dict[str, Any] = {
            "step": self.step,
            "total_steps": self.total_steps,
            "spent_s": self.training_minutes * 60,
            "wall_s": self.wall_minutes * 60,
            "plan": asdict(self.plan),
            "seed": self.seed,
            "rows": self.rows,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "learner": self.learner.state_dict(),
        }
        with finished_or_nothing(self.folder / CHECKPOINT) as file:
            _save_state(state, file)
        write_log(self.folder / LOG, self.rows)

    def resume(self) -> None:
        """Continue from the folder's checkpoint.

        With another budget than before, the number of steps is scaled to it.

        Raises
        ------
        TrainingError
            There is no checkpoint, or it is damaged, of another seed or of another network.
        """
        path = self.folder / CHECKPOINT
        state = _load_state(path)
        if state["seed"] != self.seed:
            raise TrainingError(
                f"--seed is {self.seed}, but the training in {self.folder} draws with "
                f"{state['seed']}; resume it with --seed {state['seed']}, or begin anew in another "
                "--work-dir"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
        except RuntimeError as error:
            raise TrainingError(
                f"--resume: {path} holds another network ({str(error).splitlines()[0]}); use "
                "another --work-dir"
            ) from error
        self.learner.load_state_dict(state["learner"])
        self.step = int(state["step"])
        self.rows = [tuple(row) for row in state["rows"]]
        self._spent_s, self._wall_s = state["spent_s"], state["wall_s"]
        self._start = (time.process_time(), time.perf_counter())
        self.total_steps = steps_of_budget(
            self.plan, state["plan"], int(state["step"]), int(state["total_steps"])
        )


def _load_state(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise TrainingError(
            f"--resume: {path} does not exist; start without --resume, or name the folder of "
            "the training to continue with --work-dir"
        )
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        raise TrainingError(
            f"--resume: {path} is damaged ({type(error).__name__}); start again in another "
            "--work-dir"
        ) from error
    if "learner" not in state:
        raise TrainingError(
            f"--resume: {path} is of an earlier version, which learnt with AdamW alone; begin "
            "anew in another --work-dir"
        )
    return state


def _save_state(state: Mapping[str, Any], file: IO[bytes]) -> None:
    """Write a checkpoint; of a full disk torch says "unexpected pos", with the reason behind it."""
    try:
        torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
