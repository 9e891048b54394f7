"""Training, from a configuration and data to a checkpoint.

`train` can be read from top to bottom. Its parts (`batches`, `rate_loss`, `evaluate`, `learning_rate`) accept any
module that maps uint8 images to firing rates, so quantisation-aware training uses them as well.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from ..errors import require
from ..locks import hold
from . import resume
from .architecture import Recorded
from .augment import Augment, EventAugment
from .checkpoint import Checkpoint
from .config import TrainConfig
from .data import limited
from .description import Network
from .distillation import Loss, Teacher, counts_spikes
from .graph import Graph
from .graph_network import GraphNetwork
from .held_out import require_unseen
from .memory import keep_freed_memory
from .networks import SpikingNetwork, arrays_of, load_arrays, module_of
from .recipes import KINDS, Recipe
from .recordings import AnyData, Recordings, fit, split
from .start import Start
from .surrogates import Surrogate
from .workers import join, leads

Row = dict[str, Any]
RESUME_FILE = "resume.pt"
STATE = ("network", "optimizer", "recipe", "history")  # parts of a saved state


@dataclass(frozen=True)
class Evaluation:
    """`rates`: mean spikes per step of each neuron over the data, one array per layer, in the layer's shape. `answers`:
    the class of each image or recording, int64 `[n]`.
    """

    accuracy: float
    loss: float
    rates: list[np.ndarray]
    answers: np.ndarray

    @property
    def silent(self) -> list[int]:
        """Neurons of each layer that never fired."""
        return [int((rate == 0).sum()) for rate in self.rates]


def rate_loss(rates: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error between firing rates `[batch, classes]` and one-hot labels `[batch]`, as in the paper."""
    return functional.mse_loss(rates, functional.one_hot(labels, rates.shape[1]).to(rates.dtype))


def loss_of(name: str | None, description: Network | Graph, sharpness: float = 1, smoothing: float = 0) -> Loss:
    """The loss called `name`: `rate`, or `cross-entropy`, of membranes as they are and of rates as numbers of spikes.

    None: `rate` where spikes are counted, else `cross-entropy`.

    Raises
    ------
    UserError
        `rate`, for a network that is read out in membranes.
    """
    return loss_for(name, counts_spikes(description), description.steps, sharpness, smoothing)


def loss_for(name: str | None, counts: bool, steps: int, sharpness: float = 1, smoothing: float = 0) -> Loss:
    """`loss_of` for outputs that are rates over `steps` (`counts`) or membranes, multiplied by `sharpness`."""
    require(counts or name != "rate", "loss", name, "cross-entropy for a network that is read out in membranes")
    if name == "rate" or (name is None and counts):
        return rate_loss
    factor = steps if counts else sharpness
    return lambda outputs, labels: functional.cross_entropy(factor * outputs, labels, label_smoothing=smoothing)


def activity(rates: list[Tensor]) -> Tensor:
    """Mean squared firing rate of all hidden neurons, from each layer's `[batch, *shape]`; 0 if there are none.

    It is squared to reduce high rates most. The rate itself would silence neurons that fire rarely.
    """
    hidden = [rate.flatten(1) for rate in rates[:-1]]
    return torch.cat(hidden, dim=1).square().mean() if hidden else torch.zeros(())


def over_steps(loss: Loss, anytime: float) -> Loss:
    """Mean of `loss` over the answers after every step `1..steps`, weighted by `step ** anytime`.

    Of outputs `[steps, batch, classes]`, and of labels `[batch]`.
    """

    def mean(outputs: Tensor, labels: Tensor) -> Tensor:
        weights = torch.arange(1, len(outputs) + 1, dtype=torch.float64).div(len(outputs)).pow(anytime)
        parts = zip(weights.div(weights.sum()).tolist(), outputs, strict=True)
        return torch.stack([weight * loss(answer, labels) for weight, answer in parts]).sum()

    return mean


def objective(
    network: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    spike_cost: float,
    loss: Loss = rate_loss,
    anytime: float | None = None,
) -> Tensor:
    """What training makes small on a batch: `loss`, and `spike_cost` times the `activity` of hidden neurons.

    With `anytime` the loss is that of the answers after every step, `over_steps`.
    """
    whole = loss if anytime is None else over_steps(loss, anytime)
    if not spike_cost:
        return whole(network(images, every_step=anytime is not None), labels)
    rates, layers = network(images, layer_rates=True, every_step=anytime is not None)
    return whole(rates, labels) + spike_cost * activity(layers)


def learning_rate(step: int, constant: int, total: int) -> float:
    """Factor on the learning rate at `step`: 1 for `constant` steps, then a cosine that ends at 0 after `total`."""
    if step < constant or constant >= total:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - constant) / (total - constant)))


def description_for(config: TrainConfig, data: AnyData) -> Network | Graph:
    """The network that `config` trains on `data`."""
    return config.description(data.shape, Recorded(data.steps, data.bits) if isinstance(data, Recordings) else None)


def augment_for(config: Any, data: Any) -> Augment | EventAugment:
    """How `config`, of a training or a fine-tuning, augments `data`: images, or recordings."""
    if isinstance(data, Recordings):
        return EventAugment(
            config.shift, config.flip, config.drop, config.jitter, config.lag, config.stretch, config.mask
        )
    return Augment(config.rotation, config.shift, config.flip)


def batches(
    data: AnyData,
    batch: int,
    augment: Augment | EventAugment,
    seed: int,
    epoch: int,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented batches: images uint8 `[batch, channels, height, width]`, labels int64; or
    recordings, `[batch, steps, channels, height, width]`.

    All randomness comes from `(seed, epoch)`. Images after the last complete batch are not used in this epoch.
    """
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    order = torch.randperm(len(data), generator=generator)
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    for start in range(0, len(data) - batch + 1, batch):
        chosen = order[start : start + batch]
        yield augment(images[chosen].to(device), generator), labels[chosen].long().to(device)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: AnyData,
    batch: int = 500,
    device: torch.device | str = "cpu",
    loss: Loss = rate_loss,
    anytime: float | None = None,
) -> Evaluation:
    """Accuracy, loss and firing rates of a network; ties go to the lowest class, as in hardware.

    With `anytime` the loss is that of the answers after every step, the accuracy that of the last.
    """
    was_training = network.training
    network.eval()
    total = 0.0
    sums: list[Tensor] = []
    answers: list[np.ndarray] = []
    for start in range(0, len(data), batch):
        part = data[start : start + batch]
        images = torch.from_numpy(part.images).to(device)
        labels = torch.from_numpy(part.labels).long().to(device)
        rates, layers = network(images, layer_rates=True, every_step=anytime is not None)
        answers.append(first_largest(rates if anytime is None else rates[-1]).numpy())
        whole = loss if anytime is None else over_steps(loss, anytime)
        total += float(whole(rates, labels)) * len(part)
        totals = [layer.sum(dim=0) for layer in layers]
        sums = [a + b for a, b in zip(sums, totals, strict=True)] if sums else totals
    network.train(was_training)
    found = np.concatenate(answers)
    correct = int((found == data.labels).sum())
    return Evaluation(correct / len(data), total / len(data), [s.cpu().numpy() / len(data) for s in sums], found)


def first_largest(rates: Tensor) -> Tensor:
    """Index of the largest rate `[batch, classes] -> [batch]`, the lowest among equals."""
    return torch.from_numpy(rates.cpu().numpy().argmax(axis=1))


def train(
    config: TrainConfig,
    data: AnyData,
    out: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: bool | None = None,
    command: str = "",
    device: str = "cpu",
    on_resume: Callable[[int], None] | None = None,
    start: Start | None = None,
    teacher: Checkpoint | None = None,
) -> Checkpoint:
    """Train on `data`, the training set: images or recordings, of which the last ones, or those of a group, are held
    out for validation.

    With `out`, the state of the run is saved there after each epoch. A run that finds a state there continues from it,
    with the result of an uninterrupted run. The folder is locked meanwhile. `on_resume` is called with the number of
    epochs already done, `on_epoch` with each row of the history. `progress` shows a bar on stderr; None: if it is a
    terminal. Under `torchrun` each process works on its part of every batch.

    With `start` the numbers of a trained network take the place of random ones. `config.network` must be its network.
    With a `teacher`, its answers are a part of the loss (`distillation.py`).

    Raises
    ------
    UserError
        The data or the teacher do not fit the network; `out` cannot be written, is in use, or holds the state of
        another run: other settings, data, sources or versions.
    """
    if out is None or not leads():
        return _train(config, data, out, on_epoch, progress, command, device, on_resume, start, teacher)
    with hold(out):
        return _train(config, data, out, on_epoch, progress, command, device, on_resume, start, teacher)


def _train(
    config: TrainConfig,
    data: AnyData,
    out: Path | None,
    on_epoch: Callable[[Row], None] | None,
    progress: bool | None,
    command: str,
    device: str,
    on_resume: Callable[[int], None] | None,
    start: Start | None,
    teacher: Checkpoint | None,
) -> Checkpoint:
    began = time.monotonic()
    workers = join(device)
    keep_freed_memory(workers.device)
    config = config.for_images(len(data))
    description = description_for(config, data)
    data = fit(data, description, "training set")
    training, validation = split(data, config.held_out, config.held_out_group)
    if start is not None and config.held_out_group is None:
        require_unseen(len(validation), data.digest, start.origin)
    training = limited(training, config.images)
    per_epoch = len(training) // config.batch
    require(per_epoch >= 1, "batch", config.batch, f"at most the {len(training)} training images")
    require(config.batch % workers.size == 0, "batch", config.batch, f"a multiple of the {workers.size} processes")
    sparse_from, frozen_from = config.sparse_from, config.frozen_from
    constant = config.constant_epochs * per_epoch
    augment = augment_for(config, data)

    torch.manual_seed(config.seed)
    network = module_of(description, Surrogate.of(config))
    if start is not None:
        load_arrays(network, start.arrays)
    network.to(workers.device)
    by_loss = loss_of(config.loss, description, config.sharpness, config.smoothing)
    taught = (teacher is None) == (config.distil == 0)
    require(taught, "distil", config.distil, "0 without a teacher, above 0 with one")
    teaches = None if teacher is None else Teacher(teacher, description, workers.device, config.sharpness)
    recipe = Recipe(network, config)
    optimizer: torch.optim.Optimizer
    history: list[Row] = []

    def turn(epoch: int) -> None:
        """Start the phase that begins with `epoch`, if one does; its parameters are new.

        In the first phase all weights train, in the second connections change, in the third the mask is fixed.
        """
        nonlocal recipe, optimizer
        if epoch not in (0, sparse_from, frozen_from):
            return
        if epoch == sparse_from:
            recipe = KINDS[config.recipe](network, config)
        if epoch == frozen_from:
            recipe.freeze()
        optimizer = _optimizer(network, config)
        if epoch == sparse_from:
            recipe.attach(optimizer)

    state_file = None if out is None else out / RESUME_FILE
    started = {} if start is None else {"start": start.origin["weights"]}
    if teacher is not None:
        started["teacher"] = teacher.weights_digest
    described = {"description": description.to_json(), **started}
    identity = resume.identity(config.to_json(), data.digest, "gradrtl.model", **described)
    if state_file is not None and state_file.exists():
        kept = resume.load(state_file, "training", identity, STATE)
        with resume.fitting(state_file):
            history = list(kept["history"])
            for epoch in range(len(history)):
                turn(epoch)
            network.load_state_dict(kept["network"])
            resume.load_optimizer(optimizer, kept["optimizer"])
            recipe.load_state(kept["recipe"])
        if on_resume is not None and workers.leads:
            on_resume(len(history))

    shown = workers.leads and (sys.stderr.isatty() if progress is None else progress)
    with Progress(console=Console(stderr=True), disable=not shown) as bars:
        bar = bars.add_task(f"{description.name} {config.recipe}", total=config.epochs * per_epoch)
        bars.update(bar, completed=len(history) * per_epoch)
        for epoch in range(len(history), config.epochs):
            turn(epoch)
            torch.manual_seed((config.seed * 100_003 + epoch) * workers.size + workers.rank)  # dropout
            network.train()
            before = [weight != 0 for weight in _weights(network)]
            total_loss = 0.0
            drawn = batches(training, config.batch, augment, config.seed, epoch, workers.device)
            for number, (images, labels) in enumerate(drawn, start=epoch * per_epoch):
                for group in optimizer.param_groups:
                    group["lr"] = config.lr * learning_rate(number, constant, config.epochs * per_epoch)
                with torch.autocast(workers.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                    own = workers.share(images), workers.share(labels)
                    beside = by_loss if teaches is None else teaches.beside(by_loss, own[0], config.distil)
                    loss = objective(network, *own, config.spike_cost, beside, config.anytime)
                optimizer.zero_grad()
                loss.backward()
                workers.average(network)
                if config.clip is not None:
                    nn.utils.clip_grad_norm_(network.parameters(), config.clip)
                optimizer.step()
                if sparse_from <= epoch < frozen_from:
                    recipe.after_step(number + 1 - sparse_from * per_epoch, (frozen_from - sparse_from) * per_epoch)
                total_loss += float(loss.detach())
                bars.advance(bar)
            workers.agree(network)
            after = [weight != 0 for weight in _weights(network)]
            evaluation = evaluate(network, validation, device=workers.device, loss=by_loss, anytime=config.anytime)
            row = {"epoch": epoch + 1, "loss": total_loss / per_epoch, "validation": evaluation.accuracy}
            history.append(row | _changes(before, after) | {"silent": evaluation.silent} | recipe.state())
            if on_epoch is not None and workers.leads:
                on_epoch(history[-1])
            if state_file is not None and workers.leads:
                values = network.state_dict(), optimizer.state_dict(), recipe.state(), history
                resume.save(state_file, "training", identity, dict(zip(STATE, values, strict=True)))

    made_from = {name: identity[name] for name in resume.MADE_FROM}
    if config.held_out_group is None:
        made_from["unseen"] = len(data) - len(training)
    if isinstance(data, Recordings):
        made_from["recordings"] = data.made
    if start is not None:
        made_from["start"] = start.origin
    if teacher is not None:
        made_from["teacher"] = teacher.origin
    result = Checkpoint(description, arrays_of(network), config.to_json(), history, {}, command, made_from)
    evaluation = evaluate(network, validation, device=workers.device, loss=by_loss, anytime=config.anytime)
    return replace(result, figures=_figures(result, evaluation, time.monotonic() - began))


def _changes(before: list[np.ndarray], after: list[np.ndarray]) -> Row:
    """Changes of the connections in an epoch, from two lists of masks, one mask per layer."""
    return {
        "connectivity": sum(int(mask.sum()) for mask in after) / sum(mask.size for mask in after),
        "layers": [float(mask.mean()) for mask in after],
        "pruned": [int((b & ~a).sum()) for b, a in zip(before, after, strict=True)],
        "regrown": [int((a & ~b).sum()) for b, a in zip(before, after, strict=True)],
    }


def _figures(checkpoint: Checkpoint, evaluation: Evaluation, seconds: float) -> Row:
    """Figures of a complete run; `evaluation` is that of the validation images."""
    counted = checkpoint.census
    return {
        "validation": evaluation.accuracy,
        "connectivity": counted.connectivity,
        "useful_connectivity": counted.useful_connectivity,
        "living": list(counted.living),
        "dead": list(counted.dead),
        "silent": evaluation.silent,
        "spikes_a_frame": [float(rate.sum() * checkpoint.network.steps) for rate in evaluation.rates],
        "seconds": seconds,
    }


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=config.lr, fused=True)


def _weights(network: SpikingNetwork | GraphNetwork) -> list[np.ndarray]:
    arrays = arrays_of(network)
    return [arrays[name] for name, _, _ in network.weighted]
