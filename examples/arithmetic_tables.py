"""The tables of `docs/arithmetic.md`: roundings and comparisons at ties.

    python examples/arithmetic_tables.py            # print
    python examples/arithmetic_tables.py --write    # write them into the page, between its markers

Every number comes from the code that quantises and simulates.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
import numpy as np

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.neuron import Adaptation, SynapticCurrent
from gradrtl.quantize.rounding import round_weight
from gradrtl.sim import reference

PAGE = Path(__file__).parents[1] / "docs/arithmetic.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def table(title: str, head: str, values: list[list]) -> str:
    """A Markdown table; the first row of `values` is its head."""
    rows = [[head, *values[0]], ["---"] + ["---:"] * len(values[0]), *values[1:]]
    return "\n".join([title, "", *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def leaks() -> str:
    """`u` for each leak without input, around zero."""
    membranes = list(range(-5, 6))
    kinds = {
        "`shift`, k = 1: `v - (v >> 1)`": IntNeuron("shift", "hard", np.array([1]), shift=1),
        "`shift`, k = 2: `v - (v >> 2)`": IntNeuron("shift", "hard", np.array([1]), shift=2),
        "`decaying_input`, k = 1: `v + ((0 - v) >> 1)`": IntNeuron("decaying_input", "hard", np.array([1]), shift=1),
        "`decaying_input`, k = 2: `v + ((0 - v) >> 2)`": IntNeuron("decaying_input", "hard", np.array([1]), shift=2),
        "`multiply`, 3/4: `(3 * v) >> 2`": IntNeuron("multiply", "hard", np.array([1]), shift=2, factor=3),
        "`none`: `v`": IntNeuron("none", "hard", np.array([1])),
        "`shift`, k = 2, to nearest: `v - ((v + 2) >> 2)`": IntNeuron("shift", "hard", 1, shift=2, rounding="nearest"),
        "`multiply`, 3/4, to nearest: `(3 * v + 2) >> 2`": IntNeuron("multiply", "hard", 1, 2, 3, rounding="nearest"),
    }
    rows = [[name, *(int(neuron.potential(v, 0, int(neuron.factor[0]))) for v in membranes)]
            for name, neuron in kinds.items()]  # fmt: skip
    title = "Leaks, with I = 0: a shift rounds to minus infinity, or to the nearest integer, halves up."
    return table(title, "v", [membranes, *rows])


def weights() -> str:
    """Rounding of a real weight at scale 1 to 3 bits."""
    reals = [-9.0, -4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 9.0]
    rounded = round_weight(np.array([reals]), np.array([1.0]), 3)[0]
    return table(
        "Weights, scale 1, 3 bits: to the nearest, ties to even, then clipped to the format.",
        "w / s",
        [reals, ["w_q", *(int(w) for w in rounded)]],
    )


def neurons() -> str:
    """Spike, reset and saturation of one neuron, one step, threshold 5, by the reference."""
    sums = [-12, -8, -7, 4, 5, 6, 12, 13, 14]
    kinds = {
        "hard": IntNeuron("none", "hard", np.array([5])),
        "soft": IntNeuron("none", "soft", np.array([5])),
        "soft, 4 bits": IntNeuron("none", "soft", np.array([5]), membrane_bits=4),
        "soft by 3": IntNeuron("none", "soft", np.array([5]), reset_amount=3),
        "none": IntNeuron("none", "none", np.array([5])),
    }
    rows = [["spike"] + [one_step(kinds["hard"], i)[0] for i in sums]]
    rows += [[f"v, {name}", *(one_step(neuron, i)[1] for i in sums)] for name, neuron in kinds.items()]
    title = "One step from v = 0 without leak, threshold 5: reached is enough; saturation comes last, after the reset."
    return table(title, "u", [sums, *rows])


def one_step(neuron: IntNeuron, current: int) -> tuple[int, int]:
    """Spike and membrane after one step with this sum."""
    spikes, membranes = several_steps(neuron, current, 1)
    return spikes[0], membranes[0]


def several_steps(neuron: IntNeuron, current: int, steps: int) -> tuple[list[int], list[int]]:
    """Spikes and membranes of steps that all have this sum."""
    synapses = Dense(np.zeros((1, 1), np.int8), np.array([current]))
    network = QuantizedNetwork.chain(Input((1,)), (Layer("one", (1,), synapses, neuron, 2),), steps=steps)
    trace = reference.run(network, np.zeros((1, 1), np.uint8)).trace
    assert trace is not None
    return trace.spikes[0][0, :, 0].tolist(), trace.membranes[0][0, :, 0].tolist()


def states() -> str:
    """What each further state does to a neuron, step by step."""
    steps = 8
    common = {"leak": "none", "reset": "soft", "threshold": 8}
    kinds = {
        "no further state": IntNeuron(**common),
        "synaptic current, 1/2, new": IntNeuron(**common, current=SynapticCurrent(1, 1, "new")),
        "synaptic current, 1/2, old": IntNeuron(**common, current=SynapticCurrent(1, 1, "old")),
        "adaptation, 1/2, jump 8": IntNeuron(**common, adaptation=Adaptation(1, 1, 8)),
        "2 refractory steps": IntNeuron(**common, refractory=2),
    }
    rows: list[list] = [list(range(1, steps + 1))]
    for name, neuron in kinds.items():
        shown = zip(*several_steps(neuron, 4, steps), strict=True)
        rows.append([name, *(f"{v}{' *' if spike else ''}" for spike, v in shown)])
    title = "Membranes of a neuron whose sum is 4 in each step, threshold 8, soft reset; a star is a spike."
    return table(title, "step", rows)


def classes() -> str:
    """Class of a frame by its counts."""
    return table(
        "Classes: the largest sum; ties go to the lowest index.",
        "sums",
        [
            ["3, 5, 1", "5, 5, 1", "0, 2, 2", "0, 0, 0"],
            ["class", *(int(np.argmax(c)) for c in ([3, 5, 1], [5, 5, 1], [0, 2, 2], [0, 0, 0]))],
        ],
    )


def tables() -> str:
    return "\n\n".join((leaks(), weights(), neurons(), states(), classes()))


@click.command()
@click.option("--write", is_flag=True, help=f"Write the tables into {PAGE.name}.")
def main(write: bool) -> None:
    """Print the tables of ties."""
    if not write:
        click.echo(tables())
        return
    text = PAGE.read_text()
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{tables()}\n{END}", text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
