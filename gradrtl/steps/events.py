"""How a command counts the events that it reads: as asked, or as the network was trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import require, require_not_given
from ..model import sets
from ..model.events import sets as event_sets
from ..model.events.binning import Binning
from ..model.events.sets import Reading
from ..model.recordings import AnyData
from ..quantize.network import QuantizedNetwork

KEPT = "binning"  # of how recordings were made: those of files of events


@dataclass(frozen=True)
class Counting:
    """What was asked for: the fields of `Binning`, and the shape of the sensor; None is as in training."""

    step_ms: float | None = None
    pool: int | None = None
    crop: str | None = None
    largest_count: int | None = None
    sensor: str | None = None

    def require_events(self, path: Path) -> None:
        """`UserError` if something was asked for though nothing is counted: what `path` names has no events."""
        if not has_events(path):
            require_not_given(asdict(self), f"left out: {path} is neither a file nor a folder of events")

    def reading(self, steps: int | None, kept: dict[str, Any] | None = None) -> Reading | None:
        """How recordings of `steps` steps are made; `kept`: how those were made that the network was trained on.

        None if neither says so.
        """
        known = Reading.from_json(kept) if kept is not None and KEPT in kept else None
        asked = {
            "pool": self.pool,
            "crop": _numbers("crop", self.crop, ",", "TOP,LEFT,HEIGHT,WIDTH", 4),
            "largest": self.largest_count,
        }
        own = {name: value for name, value in asked.items() if value is not None}
        sensor = _numbers("sensor", self.sensor, "x", "CHANNELSxHEIGHTxWIDTH", 3)
        if sensor is None and known is not None:
            sensor = known.sensor
        if self.step_ms is None and known is None:
            name = next((name for name, value in {**own, "sensor": self.sensor}.items() if value is not None), "")
            require(not name, name, "given", "step_ms beside it, the milliseconds of a step")
            return None
        before = known.binning.to_json() if known is not None else {}
        length = self.step_ms if self.step_ms is not None else before["milliseconds"]
        require(steps is not None or "steps" in before, "steps", "not given", "the number of steps of a recording")
        return Reading(Binning(**before | {"milliseconds": length} | ({"steps": steps} if steps else {}) | own), sensor)

    def for_network(self, network: QuantizedNetwork) -> Reading | None:
        """The same for a network of integers, which keeps how its recordings were made."""
        return self.reading(network.steps, kept_of(network))


def has_events(path: Path) -> bool:
    """Whether a path is a folder of events, or a file: of a kind that has no other meaning, or an array with fields."""
    if event_sets.is_set(path):
        return True
    if not event_sets.is_file(path) or path.suffix != ".npy":
        return event_sets.is_file(path)
    with path.open("rb") as file:
        return b"'descr': [" in file.read(512)


def load(
    path: Path, counting: Counting, steps: int | None, kept: dict[str, Any] | None = None
) -> tuple[AnyData, AnyData]:
    """Training and test set as `model.sets.load` finds them; events are counted as in `Counting.reading`."""
    counting.require_events(path)
    return sets.load(path, counting.reading(steps, kept))


def kept_of(network: QuantizedNetwork) -> dict[str, Any] | None:
    """How the recordings were made that a network was trained on, if its notes tell it."""
    trained = network.notes.get("checkpoint")
    found = trained.get("recordings") if isinstance(trained, dict) else None
    return found if isinstance(found, dict) else None


def _numbers(field: str, text: str | None, between: str, layout: str, count: int) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = text.split(between)
    good = len(words) == count and all(word.strip().isdecimal() and len(word) < 10 for word in words)
    require(good, field, text, f"{layout}, whole numbers")
    return tuple(int(word) for word in words)
