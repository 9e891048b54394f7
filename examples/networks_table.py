"""The README's table of the committed MNIST networks, measured: accuracy, connectivity, memory, cycles.

    python examples/networks_table.py            # print
    python examples/networks_table.py --write    # write it into the README, between its markers

The float accuracy is the one that training recorded in the checkpoint; everything else is computed here, on all 10,000
test images. Cycles are those of the timing model, which `gradrtl verify` compares with the compiled Verilog.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import load
from gradrtl.quantize.fold import fold
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.sim.measure import measure
from gradrtl.steps.place import Wanted, place

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data/mnist"
BEGIN, END = "<!-- networks: begin -->", "<!-- networks: end -->"
HEAD = (
    "| network | connectivity | synapses | float | 4-bit integers | PEs | memory bits | cycles per frame | latency |",
    "| --- |" + " ---: |" * 8,
)


def row(percent: int, pes: str) -> str:
    """One network, placed on `pes` processing elements."""
    network = QuantizedNetwork.load(ROOT / f"networks/mnist-{percent}pct.npz")
    seeds = map(Checkpoint.load, sorted((ROOT / "checkpoints").glob(f"mnist-mlp-{percent}-s*.npz")))
    floats = next(made for made in seeds if fold(made).notes["checkpoint"] == network.notes["checkpoint"])
    _, test = load(DATA)
    mapping = place(network, Wanted(pes))
    measured = measure(mapping, test.frames)
    interval, alone = measured.back_to_back.interval, measured.apart.latency
    cells = (
        f"`networks/mnist-{percent}pct.npz`",
        f"{100 * network.connectivity:.2f} %",
        f"{network.connected:,}",
        f"{100 * floats.figures['test']:.2f} %",
        f"{100 * float((measured.outcome.classes == test.labels).mean()):.2f} %",
        ", ".join(str(layer.pes) for layer in mapping.layers),
        f"{mapping.memory_bits:,}",
        f"{interval.mean():,.0f}",
        f"{alone[1:].mean():,.0f}",
    )
    return "| " + " | ".join(cells) + " |"


@click.command()
@click.option("--pe", "pes", default="16,auto", show_default=True, help="Processing elements by layer.")
@click.option("--write", is_flag=True, help="Write the table into the README.")
def main(pes: str, write: bool) -> None:
    """Measure the committed networks."""
    table = "\n".join((*HEAD, *(row(percent, pes) for percent in (5, 2, 1))))
    click.echo(table)
    if write:
        page = ROOT / "README.md"
        text = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table}\n{END}", page.read_text(), flags=re.DOTALL)
        page.write_text(text)


if __name__ == "__main__":
    main()
