"""What NIR has no words for and an exported network keeps beside it: number formats, and the convention of its floats.

It stands as one text, JSON, in the metadata of the exported graph. Other programs do not read it. With it an import
gives the same integers back; where it does not fit the graph, formats are chosen as for any other file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..checks import choice, items, name, real, whole
from ..checks import fields as checked_fields
from ..errors import UserError, require
from ..model.importing.convention import Convention
from ..shapes import LARGEST_FAN, LARGEST_LAYERS, LARGEST_SHAPE, LARGEST_STEPS, READOUTS
from .graph_rounding import LARGEST_FRACTION, Unit
from .neuron import LARGEST_MEMBRANE_BITS, LARGEST_SHIFT, LeakKind, Rounding
from .population import LARGEST_CONNECTION_SHIFT
from .synapses import WEIGHT_BITS

VERSION = 1
LARGEST_UNIT = 1e30


@dataclass(frozen=True)
class KeptPopulation:
    """The formats of a population: its unit, its states, and for each connection the shift and the weight bits."""

    unit: float
    shifts: tuple[int, ...]
    weight_bits: tuple[int, ...]
    fraction: int
    leak: str
    shift: int
    current_shift: int
    rounding: str
    membrane_bits: int | None

    @property
    def scale(self) -> Unit:
        return Unit(self.unit, self.shifts)

    @staticmethod
    def from_json(where: str, body: Any) -> KeptPopulation:
        found = checked_fields(where, body, [field.name for field in fields(KeptPopulation)])
        unit = real(f"{where} unit", found["unit"])
        require(1 / LARGEST_UNIT <= unit <= LARGEST_UNIT, f"{where} unit", unit, "above 0")
        bits = found["membrane_bits"]
        return KeptPopulation(
            unit,
            tuple(whole(where, n, 0, LARGEST_CONNECTION_SHIFT) for n in items(where, found["shifts"], LARGEST_FAN)),
            tuple(
                whole(where, n, *WEIGHT_BITS[:: len(WEIGHT_BITS) - 1])
                for n in items(where, found["weight_bits"], LARGEST_FAN)
            ),
            whole(where, found["fraction"], 0, LARGEST_FRACTION),
            choice(where, found["leak"], LeakKind),
            whole(where, found["shift"], 1, LARGEST_SHIFT),
            whole(where, found["current_shift"], 1, LARGEST_SHIFT),
            choice(where, found["rounding"], Rounding),
            None if bits is None else whole(where, bits, 2, LARGEST_MEMBRANE_BITS),
        )


@dataclass(frozen=True)
class Kept:
    """The formats of a network: its convention, steps and inputs, read-outs `(source, kind, group)`, populations in
    their order.
    """

    convention: Convention
    steps: int
    input: str
    input_bits: int
    readouts: tuple[tuple[str, str, int], ...]
    populations: dict[str, KeptPopulation]

    def to_text(self) -> str:
        """The text of the metadata."""
        body = {
            **asdict(self),
            "version": VERSION,
            "populations": [[k, asdict(v)] for k, v in self.populations.items()],
        }
        return json.dumps(body, sort_keys=True)

    @staticmethod
    def from_text(text: str) -> Kept:
        """What `to_text` wrote; `UserError` for anything else."""
        where = "metadata gradrtl"
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            raise UserError.of(where, "no JSON", "what gradrtl export wrote") from None
        found = checked_fields(where, body, [*(field.name for field in fields(Kept)), "version"])
        require(found["version"] == VERSION, f"{where} version", found["version"], str(VERSION))
        told = checked_fields(f"{where} convention", found["convention"], [f.name for f in fields(Convention)])
        populations = {}
        for item in items(where, found["populations"], LARGEST_LAYERS):
            title, formats = items(where, item, 2) if len(items(where, item, 2)) == 2 else ("", None)
            populations[name(where, title)] = KeptPopulation.from_json(where, formats)
        readouts = []
        for item in items(where, found["readouts"], LARGEST_LAYERS):
            three = items(where, item, 3)
            require(len(three) == 3, f"{where} readouts", three, "source, kind and group")
            readouts.append(
                (name(where, three[0]), choice(where, three[1], READOUTS), whole(where, three[2], 1, LARGEST_SHAPE))
            )
        return Kept(
            Convention(**told),
            whole(f"{where} steps", found["steps"], 1, LARGEST_STEPS),
            choice(where, found["input"], ("spikes", "graded", "static")),
            whole(where, found["input_bits"], 1, 8),
            tuple(readouts),
            populations,
        )
