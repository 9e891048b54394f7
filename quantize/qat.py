"""Quantisation-aware training: fine-tune the integers themselves, from the best post-training scales.

The mask stays as it was trained: pruned synapses never come back, and those that round to zero are counted as lost.
The validation images, held out of the training images, choose the epoch that is kept, by their loss: it is a steadier
judge than the accuracy, which a few images decide.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from ..archive import digest
from ..errors import UserError, require
from ..model.augment import Augment
from ..model.config import TrainConfig
from ..model.data import Dataset, split
from ..model.memory import keep_freed_memory
from ..model.train import batches, evaluate, learning_rate, objective
from .fold import FloatNetwork
from .integer_module import IntegerNetwork
from .living import without_dead
from .network import QuantizedNetwork
from .ptq import Scales, weight_scales
from .rounding import Formats

Row = dict[str, Any]
AS_TRAINED = ("spike_cost", "batch", "rotation", "shift", "flip", "held_out")


@dataclass(frozen=True)
class QatConfig:
    """One fine-tuning run. The same configuration, network and data give the same integers on the same machine."""

    epochs: int = 10
    lr: float = 1e-3  # of weights and biases, Adam; a cosine to 0
    scale_lr: float = 1e-3  # of the logarithms of the step sizes
    spike_cost: float = 0.0
    batch: int = 128
    rotation: float = 10.0  # augmentation
    shift: float = 0.05
    flip: bool = False
    held_out: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.epochs >= 0, "epochs", self.epochs, "0 or above")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(self.scale_lr >= 0, "scale_lr", self.scale_lr, "0 or above")
        require(self.spike_cost >= 0, "spike_cost", self.spike_cost, "0 or above")
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "0 to 180 degrees")
        require(0 <= self.shift <= 0.5, "shift", self.shift, "0 to 0.5 of the image")
        require(self.seed >= 0, "seed", self.seed, "0 or above")

    @staticmethod
    def as_trained(config: dict[str, Any], **own: Any) -> QatConfig:
        """Images and objective as in the training that a checkpoint's `config` tells of, but for the fields `own`."""
        trained = TrainConfig.from_json(config)
        return QatConfig(**{name: getattr(trained, name) for name in AS_TRAINED} | own)


def fine_tune(
    network: FloatNetwork,
    formats: Formats,
    data: Dataset,
    config: QatConfig = QatConfig(),
    *,
    scales: Scales | None = None,
    resume: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: bool | None = None,
) -> QuantizedNetwork:
    """Fine-tune a folded network on `data`, the training set, and return the integers of its best epoch.

    `scales` are where the step sizes start, by default those of least weight error. Each epoch's row (`epoch`, `loss`,
    `validation_loss`, `validation`, `synapses`) goes to `on_epoch`; its `validation` accuracy is that of the integer
    network. Epoch 0 is the network before fine-tuning; of two epochs as good, the later is kept.

    With a file `resume` the state of the run is kept there after each epoch, and a run that finds one there goes on
    from it: the result is that of an uninterrupted run. `progress` shows a bar on stderr; None: if it is a terminal.
    """
    keep_freed_memory(torch.device("cpu"))
    require(data.shape == network.input_shape, "image shape", data.shape, f"{network.input_shape}")
    training, validation = split(data, config.held_out)
    per_epoch = len(training) // config.batch
    require(per_epoch >= 1, "batch", config.batch, f"at most the {len(training)} training images")
    augment = Augment(config.rotation, config.shift, config.flip)
    living = without_dead(network)
    if scales is None:
        scales = weight_scales(network, formats)
    own = tuple(s[rows] if s.size > 1 else s for s, rows in zip(scales, living.neurons, strict=True))
    module = IntegerNetwork(living.network, formats, own)
    groups = [
        {"params": [p for name, p in module.named_parameters() if name.endswith("log_scale")], "lr": config.scale_lr},
        {"params": [p for name, p in module.named_parameters() if name.endswith(("weight", "bias"))], "lr": config.lr},
    ]
    optimizer = torch.optim.Adam(groups, fused=True)
    rates = [config.scale_lr, config.lr]

    def finish(epoch: int, loss: float | None) -> Row:
        module.check()
        found, evaluation = module.export(), evaluate(module, validation)
        return {
            "epoch": epoch,
            "loss": loss,
            "validation_loss": evaluation.loss,
            "validation": evaluation.accuracy,
            "synapses": found.notes["synapses"]["kept"],
        }

    if resume is not None and resume.exists():
        history, best = _load(resume, config, formats, module, optimizer)
    else:
        history, best = [finish(0, None)], _state(module)
        if on_epoch is not None:
            on_epoch(history[0])

    total = config.epochs * per_epoch
    with Progress(disable=not (sys.stderr.isatty() if progress is None else progress)) as bars:
        bar = bars.add_task("fine-tuning integers", total=total, completed=(len(history) - 1) * per_epoch)
        for epoch in range(len(history), config.epochs + 1):
            module.train()
            sum_of_losses = 0.0
            start = (epoch - 1) * per_epoch
            for number, (images, labels) in enumerate(
                batches(training, config.batch, augment, config.seed, epoch), start=start
            ):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * learning_rate(number, 0, total)
                loss = objective(module, images, labels, config.spike_cost)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                sum_of_losses += float(loss.detach())
                bars.advance(bar)
            row = finish(epoch, sum_of_losses / per_epoch)
            if row["validation_loss"] <= min(r["validation_loss"] for r in history):
                best = _state(module)
            history.append(row)
            if on_epoch is not None:
                on_epoch(row)
            if resume is not None:
                _save(resume, config, formats, module, optimizer, history, best)

    module.load_state_dict(best)
    chosen = min(history, key=lambda row: (row["validation_loss"], -row["epoch"]))
    notes = {"qat": {**asdict(config), "epoch": chosen["epoch"], "validation": chosen["validation"]}}
    return living.expand(module.export(notes))


def _state(module: IntegerNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _identity(config: QatConfig, formats: Formats, module: IntegerNetwork) -> dict[str, Any]:
    """What a saved state must share with the run that takes it up."""
    arrays = {f"{layer.name}.{k}": getattr(layer, k) for layer in module.network.layers for k in ("weight", "bias")}
    return {**asdict(config), **asdict(formats), "network": digest({}, arrays)}


def _save(
    path: Path,
    config: QatConfig,
    formats: Formats,
    module: IntegerNetwork,
    optimizer: torch.optim.Optimizer,
    history: list[Row],
    best: dict[str, torch.Tensor],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    state = {
        "of": _identity(config, formats, module),
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "best": best,
    }
    torch.save(state, part)
    part.replace(path)


def _load(
    path: Path, config: QatConfig, formats: Formats, module: IntegerNetwork, optimizer: torch.optim.Optimizer
) -> tuple[list[Row], dict[str, torch.Tensor]]:
    try:
        kept = torch.load(path, weights_only=True)
        found = kept["of"]
    except Exception as error:  # torch reports a damaged file in many ways
        raise UserError(f"{path}: not the state of a fine-tuning run, or damaged ({error})") from None
    for name, wanted in _identity(config, formats, module).items():
        require(found.get(name) == wanted, f"{path} {name}", found.get(name), f"{wanted}, or another file")
    module.load_state_dict(kept["module"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["history"], kept["best"]
