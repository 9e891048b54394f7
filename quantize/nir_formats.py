"""What NIR has no words for and an exported network keeps beside it: number formats, resets, kinds of inputs.

It stands as one text, JSON, in the metadata of the exported graph. Other programs do not read it. With it an import
gives the same integers back; where it does not fit the graph, formats are chosen as for any other file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..checks import choice, items, name, whole
from ..checks import fields as checked_fields
from ..errors import UserError, require
from ..model.importing.convention import RESETS, Convention
from ..model.importing.records import Record
from ..shapes import LARGEST_FAN, LARGEST_LAYERS, LARGEST_SHAPE, LARGEST_STEPS, READOUTS
from .graph_rounding import LARGEST_FRACTION
from .interface import Readout
from .neuron import LARGEST_MEMBRANE_BITS, LARGEST_SHIFT, LeakKind, Rounding
from .population import LARGEST_CONNECTION_SHIFT
from .synapses import WEIGHT_BITS

VERSION = 2
INPUTS = ("spikes", "graded", "static")


@dataclass(frozen=True)
class KeptConnection:
    """The sources of a connection, the shift and the width of its weights."""

    sources: tuple[str, ...]
    shift: int
    weight_bits: int

    @staticmethod
    def from_json(where: str, body: Any) -> KeptConnection:
        found = _fields(where, body, KeptConnection)
        return KeptConnection(
            tuple(name(where, source) for source in items(where, found["sources"], LARGEST_FAN)),
            whole(where, found["shift"], 0, LARGEST_CONNECTION_SHIFT),
            whole(where, found["weight_bits"], WEIGHT_BITS[0], WEIGHT_BITS[-1]),
        )


@dataclass(frozen=True)
class KeptPopulation:
    """The formats of a population's states, what its neurons do after a spike, and its connections."""

    connections: tuple[KeptConnection, ...]
    reset: str
    fraction: int
    leak: str
    shift: int
    current_shift: int
    rounding: str
    membrane_bits: int | None

    @staticmethod
    def from_json(where: str, body: Any) -> KeptPopulation:
        found = _fields(where, body, KeptPopulation)
        bits = found["membrane_bits"]
        return KeptPopulation(
            tuple(KeptConnection.from_json(where, one) for one in items(where, found["connections"], LARGEST_FAN)),
            choice(where, found["reset"], RESETS),
            whole(where, found["fraction"], 0, LARGEST_FRACTION),
            choice(where, found["leak"], LeakKind),
            whole(where, found["shift"], 1, LARGEST_SHIFT),
            whole(where, found["current_shift"], 1, LARGEST_SHIFT),
            choice(where, found["rounding"], Rounding),
            None if bits is None else whole(where, bits, 2, LARGEST_MEMBRANE_BITS),
        )


@dataclass(frozen=True)
class Kept:
    """The formats of a network: its steps, the kind and bits of each input, read-outs `(source, kind, group)`.

    Populations are in their order.
    """

    steps: int
    inputs: dict[str, tuple[str, int]]
    readouts: tuple[tuple[str, str, int], ...]
    populations: dict[str, KeptPopulation]

    @property
    def network_readouts(self) -> tuple[Readout, ...]:
        """The read-outs as a network has them."""
        return tuple(Readout(kind, group, source) for source, kind, group in self.readouts)

    @property
    def convention(self) -> Convention:
        """The convention of the graph: the reset is that of its first population, others have one of their own."""
        resets = [one.reset for one in self.populations.values() if one.reset != "none"]
        return Convention(dt=1.0, reset=resets[0] if resets else "value", compare="ge")

    def applied(self, record: Record, reset: str | None = None) -> Record:
        """`record`, the graph, with the reset of each population, or `reset`."""
        nodes = dict(record.nodes)
        for title in {*nodes} & {*self.populations}:
            own = {"convention": {"reset": reset or self.populations[title].reset}}
            nodes[title] = replace(nodes[title], fields={**nodes[title].fields, **own})
        return replace(record, nodes=nodes)

    def to_text(self) -> str:
        """The text of the metadata."""
        body = {
            "version": VERSION,
            "steps": self.steps,
            "inputs": [[title, *given] for title, given in self.inputs.items()],
            "readouts": self.readouts,
            "populations": [[title, asdict(one)] for title, one in self.populations.items()],
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
        inputs = {
            name(where, title): (choice(where, kind, INPUTS), whole(where, bits, 1, 8))
            for title, kind, bits in _tuples(f"{where} inputs", found["inputs"], 3)
        }
        readouts = [
            (name(where, source), choice(where, kind, READOUTS), whole(where, group, 1, LARGEST_SHAPE))
            for source, kind, group in _tuples(f"{where} readouts", found["readouts"], 3)
        ]
        populations = {
            name(where, title): KeptPopulation.from_json(where, one)
            for title, one in _tuples(f"{where} populations", found["populations"], 2)
        }
        return Kept(whole(f"{where} steps", found["steps"], 1, LARGEST_STEPS), inputs, tuple(readouts), populations)


def _fields(where: str, body: Any, kind: type) -> dict[str, Any]:
    return checked_fields(where, body, [field.name for field in fields(kind)])


def _tuples(where: str, given: Any, size: int) -> list[list[Any]]:
    """A list of lists of `size` items."""
    found = [items(where, one, size) for one in items(where, given, LARGEST_LAYERS)]
    for one in found:
        require(len(one) == size, where, one, f"{size} items in each")
    return found
