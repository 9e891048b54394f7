"""Everything that decides the training of a network that only teaches (`teacher_train.py`), in one frozen object."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from ..checks import fields
from ..errors import require
from .config import LARGEST
from .relu_config import ReluConfig
from .settings import above, at_least, between, check, like, setting, settings

GROUPS = 3
WIDEST = 2048  # channels of a group
ADDED = {"border": "black"}  # fields that older files lack: what those were trained with


@dataclass(frozen=True)
class TeacherConfig:
    """One training. The same configuration and data give the same network on the same machine."""

    widths: str = setting("64-256-256", "Channels of the three groups of convolutions.")
    epochs: int = setting(10, "Passes over the training images.", at_least(1))
    batch: int = setting(500, "Images per step.", at_least(2))
    lr: float = setting(
        0.73,
        "Largest learning rate; that of biases is 64 times as high. Biases of the first convolution learn in 3 epochs.",
        above(0, LARGEST),
    )
    weight_decay: float = setting(1.3e-3, "Factor on the weights in their gradient.", between(0, 1))
    smoothing: float = like(ReluConfig, "smoothing", default=0.2)
    shift: int = like(ReluConfig, "shift")
    rotation: float = like(ReluConfig, "rotation")
    scaling: float = like(ReluConfig, "scaling")
    elastic: float = like(ReluConfig, "elastic")
    flip: bool = like(ReluConfig, "flip")
    border: str = like(ReluConfig, "border", default="mirrored")
    cutout: int = like(ReluConfig, "cutout")
    cutmix: float = like(ReluConfig, "cutmix")
    precision: str = like(ReluConfig, "precision")
    images: int | None = like(ReluConfig, "images")
    held_out: int | None = like(ReluConfig, "held_out")
    seed: int = like(ReluConfig, "seed")

    def __post_init__(self) -> None:
        check(self)
        widths_of(self.widths)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(body: Any) -> TeacherConfig:
        """Inverse of `to_json`; fields that an older version did not have are as that one trained."""
        first = [one.name for one in settings(TeacherConfig) if one.name not in ADDED]
        return TeacherConfig(**ADDED | fields("config", body, first, ADDED))


def widths_of(text: str) -> tuple[int, ...]:
    """The numbers of `64-256-256`; `UserError` if they are none."""
    known = isinstance(text, str) and re.fullmatch(r"[0-9]{1,4}(-[0-9]{1,4}){2}", text) is not None
    widths = tuple(map(int, text.split("-"))) if known else ()
    known = known and all(1 <= width <= WIDEST for width in widths)
    require(known, "widths", text, f"{GROUPS} numbers of 1 to {WIDEST}, such as 64-256-256")
    return widths
