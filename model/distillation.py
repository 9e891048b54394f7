"""Distillation (Hinton, Vinyals, Dean 2015): a trained network's answers in the loss, beside the labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import require
from .checkpoint import Checkpoint
from .description import Network
from .float_teacher import FloatTeacher
from .graph import Graph
from .networks import network_of

TEMPERATURE = 3.0

Loss = Callable[[Tensor, Tensor], Tensor]  # of outputs `[batch, classes]` and labels `[batch]`


def soft_loss(outputs: Tensor, answers: Tensor) -> Tensor:
    """Divergence of the classes' probabilities at a temperature, from logits `[batch, classes]`."""
    found = functional.kl_div(
        functional.log_softmax(outputs / TEMPERATURE, dim=1),
        functional.log_softmax(answers / TEMPERATURE, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return TEMPERATURE**2 * found


def together(answers: Sequence[Tensor]) -> Tensor:
    """Logits `[batch, classes]` whose probabilities at the temperature are the mean of those of `answers`."""
    if len(answers) == 1:
        return answers[0].float()
    probable = torch.stack([functional.log_softmax(one.float() / TEMPERATURE, dim=1) for one in answers])
    return TEMPERATURE * (torch.logsumexp(probable, dim=0) - math.log(len(answers)))


def counts_spikes(description: Network | Graph) -> bool:
    """Whether the outputs of a network are firing rates, and not membranes."""
    return isinstance(description, Network) or description.readout.kind == "count"


def require_same_task(teacher: Network | Graph | FloatTeacher, description: Network | Graph) -> None:
    """`UserError` if a teacher has other images or classes than a network with `description`."""
    for what, found, wanted in (
        ("image shape", teacher.input_shape, description.input_shape),
        ("classes", teacher.classes, description.classes),
    ):
        require(found == wanted, f"{what} of the teacher", found, f"{wanted}, as the network has")


class Teacher:
    """The trained network of `checkpoint`, for a network with `description` to learn from.

    Firing rates are compared by their squared difference, membranes times `sharpness` by `soft_loss`.

    Raises
    ------
    UserError
        It has other images or classes, or another kind of outputs.
    """

    def __init__(
        self, checkpoint: Checkpoint, description: Network | Graph, device: torch.device, sharpness: float = 1
    ) -> None:
        own = checkpoint.network
        require_same_task(own, description)
        self.counts, self.sharpness = counts_spikes(own), sharpness
        kind = "spikes" if counts_spikes(description) else "membranes"
        same = self.counts == counts_spikes(description)
        require(same, "read-out of the teacher", "of another kind", f"{kind}, as of the network")
        self.network = network_of(checkpoint).to(device)

    def beside(self, loss: Loss, images: Tensor, part: float) -> Loss:
        """`1 - part` of `loss`, and `part` of the distance to the teacher's answers for `images`."""
        with torch.no_grad():
            answers = self.network(images)

        def apart(outputs: Tensor) -> Tensor:
            if self.counts:
                return functional.mse_loss(outputs, answers)
            return soft_loss(self.sharpness * outputs, self.sharpness * answers)

        return lambda outputs, labels: (1 - part) * loss(outputs, labels) + part * apart(outputs)
