"""`Placement`: how a network is placed on processing elements (PEs); checks of event rates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..checks import whole, wholes
from ..errors import UserError, require

PIXELS_A_BEAT = (1, 2, 4, 8)
LARGEST_PES = 256
LARGEST_QUEUE = 1024
QUEUE_DEPTH, ROW_QUEUE_DEPTH = 16, 8  # entries, by default
OPTIONAL = {"stream", "cancel"}  # told where they are True alone
LINE = re.compile(
    r"pe (?P<pes>[\d,]+); pixels a beat (?P<pixels_a_beat>\d+); queue depth (?P<queue_depth>\d+); "
    r"row queue depth (?P<row_queue_depth>\d+); strided (?P<strided>none|[\d,]+)"
    r"(?P<stream>; stream)?(?P<cancel>; cancel)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Placement:
    """Parameters of `map_network` beside the network and its event rates. Invalid values raise `UserError`.

    Attributes
    ----------
    pes
        PEs of each layer, 1 to 256.
    pixels_a_beat
        Pixels on the input bus: 1, 2, 4 or 8.
    queue_depth, row_queue_depth
        Entries, 2 to 1024, of each PE's event queue and of the row queue after each layer's fire unit.
    strided
        Layers, in ascending order, whose synapse memories are addressed by synapse list, without start pointers. These
        memories have no initial contents; the host loads them after power-up.
    stream
        Built without frames: see `QuantizedNetwork.streamed`.
    cancel
        The rest of a frame is dropped once first spikes have decided it (`rtl/cancel.py`).
    """

    pes: tuple[int, ...]
    pixels_a_beat: int = 4
    queue_depth: int = QUEUE_DEPTH
    row_queue_depth: int = ROW_QUEUE_DEPTH
    strided: tuple[int, ...] = ()
    stream: bool = False
    cancel: bool = False

    def __post_init__(self) -> None:
        def take(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        take("pes", wholes("pes", self.pes, 1, LARGEST_PES))
        require(len(self.pes) >= 1, "pes", self.pes, "a number for each layer")
        take("pixels_a_beat", whole("pixels_a_beat", self.pixels_a_beat, 1, PIXELS_A_BEAT[-1]))
        require(self.pixels_a_beat in PIXELS_A_BEAT, "pixels_a_beat", self.pixels_a_beat, f"one of {PIXELS_A_BEAT}")
        for name in ("queue_depth", "row_queue_depth"):
            take(name, whole(name, getattr(self, name), 2, LARGEST_QUEUE))
        take("strided", wholes("strided", self.strided, 0, len(self.pes) - 1))
        ascending = all(a < b for a, b in zip(self.strided, self.strided[1:], strict=False))
        require(ascending, "strided", self.strided, "layers in ascending order, each once")
        for name in OPTIONAL:
            require(isinstance(getattr(self, name), bool), name, getattr(self, name), "True or False")

    def check(self, layers: int) -> None:
        """Raise `UserError` unless there is a number of PEs for each of `layers` layers."""
        require(len(self.pes) == layers, "pes", self.pes, f"{layers} numbers, one for each layer")

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in fields.items() if name not in OPTIONAL or value}

    @staticmethod
    def from_json(value: Any) -> Placement:
        """Inverse of `to_json`; `UserError` if `value` is none of its results."""
        fields = tuple(Placement.__dataclass_fields__)
        known = isinstance(value, dict) and set(value) | OPTIONAL == set(fields)
        require(known, "placement", value, f"an object with the fields {', '.join(fields)}")
        return Placement(**value)

    @property
    def line(self) -> str:
        """The placement as one line of text, for the header of a Verilog file."""
        strided = ",".join(map(str, self.strided)) or "none"
        chosen = "".join(f"; {name}" for name in ("stream", "cancel") if getattr(self, name))
        return (
            f"pe {','.join(map(str, self.pes))}; pixels a beat {self.pixels_a_beat}; queue depth {self.queue_depth}; "
            f"row queue depth {self.row_queue_depth}; strided {strided}{chosen}"
        )

    @staticmethod
    def from_line(text: str) -> Placement:
        """Inverse of `line`; `UserError` if `text` is none of its results."""
        found = LINE.fullmatch(text.strip())
        expected = f"a line such as '{Placement((16, 4)).line}'"
        if found is None or len(text) > 4096:
            raise UserError.of("placement", text, expected)
        lists = [filter(None, found[name].removeprefix("none").split(",")) for name in ("pes", "strided")]
        try:
            pes, strided = (tuple(map(int, digits)) for digits in lists)
            return Placement(
                pes,
                pixels_a_beat=int(found["pixels_a_beat"]),
                queue_depth=int(found["queue_depth"]),
                row_queue_depth=int(found["row_queue_depth"]),
                strided=strided,
                **{name: found[name] is not None for name in OPTIONAL},
            )
        except UserError:
            raise
        except ValueError:
            raise UserError.of("placement", text, expected) from None


def checked_rates(rates: Sequence[np.ndarray], sources: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Event rates of layers with these numbers of `sources`, as read-only float64 arrays.

    Raises `UserError` unless they have these sizes and are finite and not negative.
    """
    if not isinstance(rates, tuple | list):
        raise UserError.of("rates", type(rates).__name__, "a tuple of arrays, one for each layer")
    require(len(rates) == len(sources), "rates", len(rates), f"{len(sources)} arrays, one for each layer")
    checked = []
    for index, (given, number) in enumerate(zip(rates, sources, strict=True)):
        values = np.asarray(given)
        require(values.dtype.kind in "iuf", f"rates[{index}] dtype", values.dtype, "numbers")
        require(values.shape == (number,), f"rates[{index}] shape", values.shape, f"({number},)")
        values = values.astype(np.float64)
        counts = bool(np.isfinite(values).all() and (values >= 0).all())
        require(counts, f"rates[{index}]", values, "finite numbers, 0 or more")
        values.setflags(write=False)
        checked.append(values)
    return tuple(checked)
