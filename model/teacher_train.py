"""Training of a network that only teaches (`float_teacher.py`), as Jordan 2024 trains its network.

Stochastic gradient descent with Nesterov's momentum and a triangular schedule. Biases learn 64 times as fast. The first
kernels are whitened patches of the images and stay so. Every few steps the weights are drawn towards their running
mean.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import require
from ..locks import hold
from . import resume
from .data import Dataset, limited, split
from .distillation import together
from .float_teacher import PATCH, FloatTeacher, TeacherNetwork, arrays_of, floats, require_images, require_room
from .memory import keep_freed_memory
from .relu_train import batches, require_finite
from .teacher_config import TeacherConfig, widths_of
from .whitening import PATCHED, components
from .workers import join, processes

Row = dict[str, Any]
RESUME_FILE = "teacher.pt"
ROW = ("loss", "validation", "mirrored")  # of the history, beside the epoch
STATE = ("network", "optimizer", "mean", "history")
MOMENTUM = 0.85
OF_BIASES = 64.0  # times the learning rate
WARM, FIRST, LAST = 0.23, 0.2, 0.07  # fraction of the steps in which the rate rises, and where it begins and ends
SMALL_VARIANCE = 5e-4  # is added to that of a component
BIAS_EPOCHS = 3  # in which the biases of the first convolution are trained
DRAWN_EVERY, DECAY = 5, 0.95  # steps between draws towards the running mean, and its decay in a step at the end
JUDGED = 500  # images at a time


def train_teacher(
    config: TeacherConfig,
    data: Dataset,
    out: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    device: str = "cpu",
    on_resume: Callable[[int], None] | None = None,
    command: str = "",
) -> FloatTeacher:
    """Train on `data`, the training set, of which the last images are held out to judge.

    With `out`, the state is saved there after each epoch, and a run that finds one goes on from it. A row of the
    history has the accuracy on the held-out images, and that of the mean over an image and its mirror image.

    Raises
    ------
    UserError
        The images are too small or too few; `out` cannot be written, is in use or holds another run's state.
    """
    require(processes() == 1, "processes", processes(), "1: a teacher is trained in one")
    if out is None:
        return _train(config, data, None, on_epoch, device, on_resume, command)
    with hold(out):
        return _train(config, data, out / RESUME_FILE, on_epoch, device, on_resume, command)


def _train(
    config: TeacherConfig,
    data: Dataset,
    state_file: Path | None,
    on_epoch: Callable[[Row], None] | None,
    device: str,
    on_resume: Callable[[int], None] | None,
    command: str,
) -> FloatTeacher:
    workers = join(device)
    keep_freed_memory(workers.device)
    require_images(data.shape)
    require_room(data.shape, data.classes, config.widths)
    training, judged = split(data, config.held_out)
    training = limited(training, config.images)
    per_epoch = len(training) // config.batch
    require(per_epoch > 0, "batch", config.batch, f"at most the {len(training)} training images")
    images = torch.from_numpy(training.images).to(workers.device)
    labels = torch.from_numpy(training.labels).long().to(workers.device)
    if config.cutmix:
        labels = functional.one_hot(labels, data.classes).float()
    torch.manual_seed(config.seed)
    network = TeacherNetwork(data.shape, data.classes, widths_of(config.widths))
    begin(network, images.cpu())
    network.to(workers.device)
    optimizer, history = _optimizer(network, config), []
    mean = {name: value.clone() for name, value in floats(network).items()}
    identity = resume.identity(config.to_json(), data.digest, "gradrtl.model", classes=data.classes)
    if state_file is not None and state_file.exists():
        kept = resume.load(state_file, "teacher", identity, STATE)
        with resume.fitting(state_file):
            network.load_state_dict(kept["network"])
            resume.load_optimizer(optimizer, kept["optimizer"])
            history = [{name: float(row[name]) for name in ROW} | {"epoch": row["epoch"]} for row in kept["history"]]
            require(len(history) <= config.epochs, f"{state_file} epochs", len(history), f"at most {config.epochs}")
            for name, value in mean.items():
                if kept["mean"][name].shape != value.shape:
                    raise ValueError(f"mean of {name} of shape {tuple(kept['mean'][name].shape)}")
                value.copy_(kept["mean"][name])
        if on_resume is not None:
            on_resume(len(history))
    total = config.epochs * per_epoch
    for epoch in range(len(history), config.epochs):
        network.train()
        network.first_bias.requires_grad_(epoch < BIAS_EPOCHS)
        losses = torch.zeros((), device=workers.device)
        for step, (some, wanted) in enumerate(batches(images, labels, config, epoch), start=epoch * per_epoch):
            for parameters in optimizer.param_groups:
                parameters["lr"] = parameters["largest"] * triangle(step, total)
            with torch.autocast(workers.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                outputs = network(some)
            loss = functional.cross_entropy(outputs.float(), wanted, label_smoothing=config.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if (step + 1) % DRAWN_EVERY == 0:
                draw_together(floats(network), mean, DECAY**DRAWN_EVERY * ((step + 1) / total) ** 3)
            losses += loss.detach()
        found = float(losses) / per_epoch
        require_finite(found, network, epoch)
        one, both = accuracies(network, judged, workers.device)
        history.append({"epoch": epoch + 1, **dict(zip(ROW, (found, one, both), strict=True))})
        if on_epoch is not None:
            on_epoch(history[-1])
        if state_file is not None:
            values = network.state_dict(), optimizer.state_dict(), mean, history
            resume.save(state_file, "teacher", identity, dict(zip(STATE, values, strict=True)))
    made_from = {name: identity[name] for name in resume.MADE_FROM}
    return FloatTeacher(
        data.shape, data.classes, config.to_json(), history, command, made_from, arrays_of(network.eval())
    )


@torch.no_grad()
def begin(network: TeacherNetwork, images: Tensor) -> None:
    """Mean and deviation of the channels of `images`, uint8, and first kernels that whiten their patches.

    A component and its opposite are a kernel each, divided by the deviation along it.
    """
    pixels = images.float() / 255
    network.mean.copy_(pixels.mean(dim=(0, 2, 3))[:, None, None])
    network.deviation.copy_(pixels.std(dim=(0, 2, 3))[:, None, None].clamp(min=1e-3))  # a channel may be constant
    vectors, variances = components((pixels[:PATCHED] - network.mean) / network.deviation, (PATCH, PATCH))
    white = vectors / (variances.clamp(min=0) + SMALL_VARIANCE).sqrt()[:, None]
    network.patches.weight.copy_(torch.cat([white, -white]).reshape(network.patches.weight.shape))
    network.patches.weight.requires_grad_(False)
    network.first_bias.zero_()


def triangle(step: int, total: int) -> float:
    """Factor on the largest learning rate at `step` of `total`: up to 1, then down, in straight lines."""
    at = step / total
    if at < WARM:
        return FIRST + (1 - FIRST) * at / WARM
    return 1 + (LAST - 1) * (at - WARM) / (1 - WARM)


@torch.no_grad()
def draw_together(values: dict[str, Tensor], mean: dict[str, Tensor], decay: float) -> None:
    """Move `mean` towards `values`, all but `decay` of the way, and set `values` there."""
    for name, value in values.items():
        mean[name].lerp_(value, 1 - decay)
        value.copy_(mean[name])


@torch.no_grad()
def accuracies(network: TeacherNetwork, data: Dataset, device: torch.device) -> tuple[float, float]:
    """Fractions of `data` that are classified correctly: by an image, and by the mean over it and its mirror image."""
    network.eval()
    right = [0, 0]
    for start in range(0, len(data), JUDGED):
        part = data[start : start + JUDGED]
        images = torch.from_numpy(part.images).to(device)
        answers = network(images)
        for number, found in enumerate((answers, together([answers, network(images.flip(3))]))):
            right[number] += int((found.argmax(dim=1).cpu().numpy() == part.labels).sum())
    return right[0] / len(data), right[1] / len(data)


def _optimizer(network: TeacherNetwork, config: TeacherConfig) -> torch.optim.SGD:
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learnt if p.dim() == 1], "largest": config.lr * OF_BIASES,
         "weight_decay": config.weight_decay / OF_BIASES},
        {"params": [p for p in learnt if p.dim() > 1], "largest": config.lr, "weight_decay": config.weight_decay},
    ]  # fmt: skip
    return torch.optim.SGD(groups, lr=config.lr, momentum=MOMENTUM, nesterov=True)
