"""Bring your own network: from float weights of any framework to integers, to Verilog, and to a comparison of both.

    python examples/own_network.py                  # everything into build/own/

Replace `weights()` by your own arrays. A weight of 0.0 is not a synapse and costs nothing in hardware.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from gradrtl.model.description import FloatNeuron
from gradrtl.quantize.fold import FloatLayer, FloatNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.quantize.ptq import quantize
from gradrtl.quantize.rounding import Formats
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.verilog import generate
from gradrtl.sim import engine
from gradrtl.sim.operations import source_rates
from gradrtl.sim.verify import verify


def weights(outputs: int, inputs: int, connectivity: float, rng: np.random.Generator) -> np.ndarray:
    """A sparse matrix `[outputs, inputs]`, in place of a trained one."""
    return rng.normal(0, 0.5, (outputs, inputs)) * (rng.random((outputs, inputs)) < connectivity)


@click.command()
@click.option("--out", default="build/own", show_default=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option("--images", default=50, show_default=True, help="Random images to compare.")
def main(out: Path, images: int) -> None:
    """Quantise, simulate, generate, compile and compare a network of 64-40-5 neurons."""
    rng = np.random.default_rng(2)
    hidden = FloatLayer("hidden", (64,), weights(40, 64, 0.3, rng), np.zeros(40), FloatNeuron("lif", tau=2.0))
    output = FloatLayer("output", (40,), weights(5, 40, 0.5, rng), np.zeros(5), FloatNeuron("if", reset="soft"))
    floats = FloatNetwork(input_shape=(64,), layers=(hidden, output), steps=8)

    network = quantize(floats, Formats(weight_bits=4))
    frames = rng.integers(0, 256, (images, 64), dtype=np.uint8) * (rng.random((images, 64)) < 0.3)
    outcome = engine.run(network, frames)
    click.echo(f"classes of the first images: {outcome.classes[:10].tolist()}")

    # The file carries event rates (here of the same frames) and the chosen placement.
    network = replace(network, rates=source_rates(network, frames), placement=Placement((4, 2)))
    network.save(out / "network.npz")
    mapping = map_network(network)
    (out / "gradrtl.v").write_text(generate(mapping, "examples/own_network.py"))
    result = verify(mapping, out / "gradrtl.v", frames)
    click.echo(str(result))
    raise SystemExit(0 if result.passed else 1)


if __name__ == "__main__":
    main()
