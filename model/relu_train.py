"""Training of a network of activations, from a configuration and data to the network and its history.

Stochastic gradient descent with a one-cycle schedule, cross-entropy with smoothed labels. Data stay on the device, and
are augmented there. Connections change as in the training of spikes (`recipes.py`): a dense phase, then pruning or Grad
R, then a fixed mask, from which on weights can be rounded to the bits of the hardware.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..arrays import connectivity
from ..errors import UserError, require
from ..locks import hold
from . import resume
from .augment import Cuts, Moves, Warp, in_turn
from .checkpoint import Checkpoint
from .data import Dataset, limited, split
from .distillation import require_same_task, soft_loss, together
from .float_teacher import FloatTeacher
from .held_out import require_unseen
from .memory import keep_freed_memory
from .recipes import KINDS, Recipe
from .relu import ODDS, Activation, ReluNetwork, network_from
from .relu_config import First, ReluConfig
from .rounding import fit, leave_rounded, round_weights
from .teacher_config import TeacherConfig
from .whitening import whiten
from .workers import join, leads

Row = dict[str, Any]
RESUME_FILE = "relu.pt"
STATE = ("network", "optimizer", "history")
WARM, FIRST = 0.25, 25.0  # fraction of the steps in which the learning rate rises, and from which fraction of it
SECOND_ODDS = 2.5  # `log_odds` at the start of the second stage
FITTED = 1000  # training images by which thresholds are fitted, and statistics measured


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode without parametrisations, its history, and the accuracy on held-out images.

    `made_from`: digests of the data and the sources, the version of torch, and the origins of what it started from and
    was taught by.
    """

    network: ReluNetwork
    history: list[Row]
    validation: float
    made_from: dict[str, Any]


def require_finite(loss: float, network: nn.Module, epoch: int) -> None:
    """`UserError` if the mean loss of `epoch`, from 0, a weight or a statistic is no finite number."""
    told = f"a finite number: training diverged in epoch {epoch + 1}; a lower learning rate may help"
    require(math.isfinite(loss), "loss", loss, told)
    for name, value in network.state_dict().items():
        require(bool(value.isfinite().all()), name, "not finite", told)


def one_cycle(step: int, total: int) -> float:
    """Factor on the largest learning rate at `step`: a rise for `WARM` of all steps, then a cosine to 0."""
    warm = max(1, round(WARM * total))
    if step < warm:
        return 1 / FIRST + (1 - 1 / FIRST) * step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def batches(
    images: Tensor, labels: Tensor, config: ReluConfig | TeacherConfig, epoch: int, rest: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented batches, from tensors on one device; all randomness from `(seed, epoch)`.

    `labels` are classes, or with `cutmix` the share of each class. With `rest`, what whole batches leave comes, too.
    """
    generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
    order = torch.randperm(len(images), generator=generator).to(images.device)
    warp = Warp(config.rotation, float(config.shift), config.scaling, config.elastic, config.border)
    pixels = config.shift if warp.by_pixels else 0
    mirrored = in_turn(len(images), config.seed, epoch) if config.flip else torch.zeros(len(images), dtype=torch.bool)
    mirrored = mirrored.to(images.device)[order]
    moves = Moves.draw(mirrored, pixels, config.cutout, generator, config.border)
    cuts = Cuts.draw(len(images), config.cutmix, generator, images.device) if config.cutmix else None
    for start in range(0, len(images) if rest else len(images) - config.batch + 1, config.batch):
        chosen = order[start : start + config.batch]
        some = images[chosen] if warp.by_pixels else warp(images[chosen], generator)
        drawn = moves(some, start), labels[chosen]
        yield drawn if cuts is None else cuts(*drawn, start)


def distilled(outputs: Tensor, labels: Tensor, taught: Tensor | None, config: ReluConfig) -> Tensor:
    """Cross-entropy with smoothed labels, and a part `distil` from the answers of a teacher (Hinton et al. 2015).

    `labels`: int64 `[batch]`, or the share of each class, `[batch, classes]`.
    """
    own = functional.cross_entropy(outputs, labels, label_smoothing=config.smoothing)
    if taught is None:
        return own
    return (1 - config.distil) * own + config.distil * soft_loss(outputs, taught)


def train_relu(
    config: ReluConfig,
    data: Dataset,
    out: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    device: str = "cpu",
    start: Checkpoint | None = None,
    teachers: Sequence[Checkpoint | FloatTeacher] = (),
    on_resume: Callable[[int], None] | None = None,
    first: First = "given",
) -> Trained:
    """Train on `data`, the training set, of which the last images are held out for validation.

    With `out`, the state is saved there after each epoch, and a run that finds one goes on from it. `start` and
    `teachers` are spiking networks converted from trained ones: the weights at the start, and what is distilled from; a
    teacher may also be a network that only teaches.
    `first` tells what is measured on training images before: `thresholds` start at the largest activations, not at
    those of `start`; batch normalisation gets their `statistics`, and `start` keeps its function. Under `torchrun` each
    process works on its part of every batch.

    Raises
    ------
    UserError
        The data, `start` or `teachers` do not fit; `out` cannot be written, is in use or holds another run's state.
    """
    with nullcontext() if out is None or not leads() else hold(out):
        return _Run(config, data, out, device, start, teachers, first).complete(on_epoch, on_resume)


class _Run:
    """One training: the network, and what changes in it from phase to phase."""

    def __init__(
        self,
        config: ReluConfig,
        data: Dataset,
        out: Path | None,
        device: str,
        start: Checkpoint | None,
        teachers: Sequence[Checkpoint | FloatTeacher] = (),
        first: First = "given",
    ) -> None:
        self.config, self.workers = config, join(device)
        self.device, processes = self.workers.device, self.workers.size
        require(config.batch % processes == 0, "batch", config.batch, f"a multiple of the {processes} processes")
        keep_freed_memory(self.device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        description = config.description(data.shape)
        data.require_fit(description.input_shape, description.classes, "training set")
        training, self.validation = split(data, config.held(len(data)))
        if start is not None:
            require_unseen(len(self.validation), data.digest, start.origin)
        training = limited(training, config.images)
        self.per_epoch = len(training) // config.batch
        enough = self.per_epoch >= 1 or config.all_epochs == 0
        require(enough, "batch", config.batch, f"at most the {len(training)} training images")
        require(bool(teachers) == (config.distil > 0), "distil", config.distil, "0 without a teacher, above 0 with one")
        mirrors = bool(teachers) or not config.mirror_teacher
        require(mirrors, "mirror_teacher", config.mirror_teacher, "False without a teacher")
        anew = start is None or not config.whiten
        require(anew, "whiten", True, "False with a network to start from, which has these weights")
        anew = start is None or config.threshold == ReluConfig.threshold
        require(anew, "threshold", config.threshold, "not given with a network to start from, which has its own")
        flat = any(
            spec.batch_norm and math.prod(description.shapes[spec.name][1:]) == 1 for spec in description.populations
        )
        enough = not flat or config.batch // processes > 1
        require(enough, "batch", config.batch, "2 or above for each process: a channel is normalised over the batch")
        self.images = torch.from_numpy(training.images).to(self.device)
        self.labels = torch.from_numpy(training.labels).long().to(self.device)
        if config.cutmix:
            self.labels = functional.one_hot(self.labels, description.classes).float()

        torch.manual_seed(config.seed)
        self.network = ReluNetwork(description, config.method, config.levels, config.threshold)
        if config.whiten:
            whiten(self.network, self.images)
        if start is not None:
            self.network.load(start)
        self.network.to(self.device)
        second = bool(self._odds) or not config.threshold_epochs
        require(second, "threshold_epochs", config.threshold_epochs, "0 for a network without hidden populations")
        untrained = start is None and config.method == "rate-norm" and config.epochs == 0
        if first == "thresholds" or untrained:
            self.network.measure(list(self.images.split(500)))
        elif first == "statistics":
            classes = torch.from_numpy(training.labels[:FITTED]).long().to(self.device)
            self.network.normalise(self.images[:FITTED], classes)
        elif start is not None and config.method == "shift":
            made = start.conversion
            if made is not None and made[0] != "shift":
                self.network.fit_thresholds(self.images[:FITTED])
        self.teachers: list[nn.Module] = []
        for teacher in teachers:
            if isinstance(teacher, FloatTeacher):
                require_same_task(teacher, description)
                self.teachers.append(teacher.network.to(self.device))
                continue
            made = teacher.conversion
            if made is None:
                raise UserError.of("teacher", teacher.network.name, "one that gradrtl convert has written")
            require_same_task(teacher.network, description)
            self.teachers.append(network_from(teacher, *made).to(self.device).eval())
        self.goes_on = start is not None
        self.sparsity = config.sparsity()
        self.recipe = Recipe(self.network, self.sparsity)
        self.optimizer: torch.optim.Optimizer = _optimizer(self.network, config)
        self.history: list[Row] = []
        self.copies: dict[int, tuple[Tensor, Tensor, Tensor | None]] = {}
        self.state_file = None if out is None else out / RESUME_FILE
        self.origins: dict[str, Any] = {"unseen": len(data) - len(training)}
        self.origins |= {} if start is None else {"start": start.origin}
        self.origins |= {"teachers": [one.origin for one in teachers]} if teachers else {}
        others: dict[str, Any] = {"start": start.function_digest} if start is not None else {}
        others |= {"teachers": [one.function_digest for one in teachers]} if teachers else {}
        others |= {"first": first} if first != "given" else {}
        self.identity = resume.identity(
            config.to_json(), data.digest, "gradrtl.model", description=description.to_json(), **others
        )

    def turn(self, epoch: int) -> None:
        """Start the phase that begins with `epoch`, if one does; its parameters are new."""
        config, sparsity = self.config, self.sparsity
        if epoch == sparsity.sparse_from and sparsity.wants_connectivity:
            self.recipe = KINDS[config.recipe](self.network, sparsity)
            self.optimizer = _optimizer(self.network, config)
            self.recipe.attach(self.optimizer)
        fixed = sparsity.wants_connectivity or config.weight_bits is not None or (self.goes_on and epoch == 0)
        if epoch == config.frozen_from and fixed:
            self.recipe.freeze()
            if config.weight_bits is not None:
                round_weights(self.network, config.weight_bits)
            self.optimizer = _optimizer(self.network, config)
        if epoch == config.epochs:
            self.optimizer = _optimizer(self.network, config)
        if epoch == config.epochs + config.tune:
            self._second_stage()

    def complete(self, on_epoch: Callable[[Row], None] | None, on_resume: Callable[[int], None] | None) -> Trained:
        config, network = self.config, self.network
        total = config.all_epochs
        if self.state_file is not None and self.state_file.exists():
            self._resume(total)
            if on_resume is not None and self.workers.leads:
                on_resume(len(self.history))
        for epoch in range(len(self.history), total):
            self.turn(epoch)
            losses = self._epoch(epoch)
            require_finite(losses, network, epoch)
            steps = config.steps if config.epochs <= epoch < config.epochs + config.tune else None
            figures = _figures(network, self.validation, self.device, steps)
            self.history.append({"epoch": epoch + 1, "loss": losses} | figures)
            if on_epoch is not None and self.workers.leads:
                on_epoch(self.history[-1])
            if self.state_file is not None and self.workers.leads:
                values = network.state_dict(), self.optimizer.state_dict(), self.history
                resume.save(self.state_file, "relu", self.identity, dict(zip(STATE, values, strict=True)))
        leave_rounded(network)
        if config.method == "plain":
            network.measure(list(self.images.split(500)))
        made_from = {name: self.identity[name] for name in resume.MADE_FROM} | self.origins
        return Trained(network.eval(), self.history, accuracy(network, self.validation, self.device), made_from)

    def _resume(self, total: int) -> None:
        assert self.state_file is not None
        kept = resume.load(self.state_file, "relu", self.identity, STATE)
        with resume.fitting(self.state_file):
            self.history = list(kept["history"])
            require(len(self.history) <= total, f"{self.state_file} epochs", len(self.history), f"at most {total}")
            for epoch in range(min(len(self.history), total)):
                self.turn(epoch)
            self.network.load_state_dict(kept["network"])
            resume.load_optimizer(self.optimizer, kept["optimizer"])

    def _epoch(self, epoch: int) -> float:
        """Train for one epoch; returns its mean loss."""
        config, network, sparsity = self.config, self.network, self.sparsity
        if epoch >= config.epochs + config.tune:
            return self._thresholds_epoch(epoch)
        spikes = epoch >= config.epochs
        network.train()
        fit(network)
        for population in network.all:
            if spikes and population.norm is not None:
                population.norm.eval()  # its statistics stay
        changes = sparsity.wants_connectivity and sparsity.sparse_from <= epoch < sparsity.frozen_from
        first, last = sparsity.sparse_from * self.per_epoch, sparsity.frozen_from * self.per_epoch
        losses = torch.zeros((), device=self.device)
        for number, (images, labels, taught) in enumerate(self._drawn(epoch), start=epoch * self.per_epoch):
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(number)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                outputs = network.spiking(images, config.steps) if spikes else network(images)
            loss = distilled(outputs, labels, taught, config)
            self.optimizer.zero_grad()
            loss.backward()
            self.workers.average(network)
            self.optimizer.step()
            if changes:
                self.recipe.after_step(number + 1 - first, last - first)
            losses += loss.detach()
        self.workers.agree(network)
        return float(losses) / self.per_epoch

    def _second_stage(self) -> None:
        """Begin the second stage of Ding et al. (2021): one `log_odds` a threshold; nothing else changes any more."""
        leave_rounded(self.network)
        _set(self._odds, [torch.full_like(one, SECOND_ODDS) for one in self._odds])
        self.optimizer = torch.optim.Adam(self._odds, lr=self.config.threshold_lr)

    @property
    def _odds(self) -> list[nn.Parameter]:
        found = [of.log_odds for of in self.network.activations.values() if isinstance(of, Activation)]
        return [parameter for parameter in found if parameter is not None]

    def _thresholds_epoch(self, epoch: int) -> float:
        """An epoch of the second stage, by the rate inference loss; returns its mean.

        The outputs keep the direction that they have with the thresholds of the first stage, while rates are drawn away
        from small values: `1 - mean cos(y, y') + 0.1 * mean over layers of sum a / (|a|^2 + 1e-5)`.
        """
        network, found = self.network.eval(), self._odds  # the running largest activations and statistics stay
        losses = 0.0
        for images, _ in batches(self.images, self.labels, self.config, epoch):
            learnt = [one.detach().clone() for one in found]
            _set(found, [torch.full_like(one, ODDS) for one in found])
            with torch.no_grad():
                wanted = network(images)
            _set(found, learnt)
            outputs, rates = network(images, layer_rates=True)
            loss = rate_inference_loss(outputs, wanted, list(rates.values()))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses += float(loss.detach())
        return losses / self.per_epoch

    def _drawn(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """This process's part of the batches of an epoch, and the teacher's answers, if there is one."""
        config, share = self.config, self.workers.share
        if config.copies == 0:
            for images, labels in batches(self.images, self.labels, config, epoch):
                mine = share(images)
                yield mine, share(labels), self._answers(mine)
            return
        number = epoch % config.copies
        if number not in self.copies:
            made = list(batches(self.images, self.labels, config, number, rest=True))
            answers = [one for images, _ in made if (one := self._answers(images)) is not None]
            images, labels = (torch.cat(parts) for parts in zip(*made, strict=True))
            self.copies[number] = images, labels, torch.cat(answers) if answers else None
        images, labels, taught = self.copies[number]
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        order = torch.randperm(len(images), generator=generator).to(self.device)
        again = config.flip and (taught is None or config.mirror_teacher)  # the answers stay right
        turned = again and epoch // config.copies % 2 == 1
        for chosen in order.split(config.batch)[: self.per_epoch]:
            some = images[chosen].flip(3) if turned else images[chosen]
            yield share(some), share(labels[chosen]), None if taught is None else share(taught[chosen])

    @torch.no_grad()
    def _answers(self, images: Tensor) -> Tensor | None:
        """Logits `[batch, classes]` of what the teachers answer together."""
        seen = [images, images.flip(3)] if self.config.mirror_teacher else [images]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            found = [teacher(some) for teacher in self.teachers for some in seen]
        return together(found) if found else None

    def _rate(self, step: int) -> float:
        """Learning rate at `step`, of both parts of the training."""
        config, turned = self.config, self.config.epochs * self.per_epoch
        if step < turned:
            return config.lr * one_cycle(step, turned)
        return config.tune_lr * 0.5 * (1 + math.cos(math.pi * (step - turned) / (config.tune * self.per_epoch)))


@torch.no_grad()
def _set(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def rate_inference_loss(outputs: Tensor, wanted: Tensor, rates: list[Tensor]) -> Tensor:
    """`1 - mean cos(y, y')`, and a tenth of the mean over layers of `sum a / (|a|^2 + 1e-5)`, of the mean image."""
    angle = 1 - functional.cosine_similarity(outputs, wanted).mean()
    slow = [(a := rate.flatten(1)).sum(dim=1) / (a.square().sum(dim=1) + 1e-5) for rate in rates]
    return angle + 0.1 * torch.stack([each.mean() for each in slow]).mean()


@torch.no_grad()
def accuracy(
    network: ReluNetwork,
    data: Dataset,
    device: torch.device | str = "cpu",
    steps: int | None = None,
    batch: int = 500,
) -> float:
    """Fraction of `data` that the network classifies correctly, with spikes over `steps` if they are given.

    Ties go to the lowest class.
    """
    was_training = network.training
    network.eval()
    right = 0
    for start in range(0, len(data), batch):
        part = data[start : start + batch]
        images = torch.from_numpy(part.images).to(device)
        outputs = network(images) if steps is None else network.spiking(images, steps)
        right += int((outputs.cpu().numpy().argmax(axis=1) == part.labels).sum())
    network.train(was_training)
    return right / len(data)


def _figures(network: ReluNetwork, validation: Dataset, device: torch.device, steps: int | None) -> Row:
    weights = [synapses.weight.detach() for _, synapses, _ in network.weighted]
    living = [int(torch.count_nonzero(weight)) for weight in weights]
    return {
        "validation": accuracy(network, validation, device, steps),
        "connectivity": connectivity(living, sum(weight.numel() for weight in weights)),
        "living": living,
    }


def _optimizer(network: ReluNetwork, config: ReluConfig) -> torch.optim.SGD:
    decayed = [p for p in network.parameters() if p.dim() > 1]
    free = [p for p in network.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=config.momentum > 0,
        fused=decayed[0].is_cuda,
    )  # fmt: skip
