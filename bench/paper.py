"""The paper's CIFAR-10 network in hardware, at 1 % random weights: `python -m bench.paper`.

Prints its memory bits and cycles, writes its Verilog to `build/bench/cifar10-paper.v`, compiles that, and
compares one random frame: every spike, membrane and cycle. About five minutes.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.planning import budget
from gradrtl.rtl.verilog import generate
from gradrtl.sim.verify import verify

from . import networks

PES = (16, 16, 16, 16, 16, 16, 16, 10)
PATIENCE = 50_000_000  # cycles
OUT = Path("build/bench")


def main() -> int:
    """Exit code 1 if anything differs."""
    mapping = map_network(networks.random_cifar10_paper(), PES)
    for layer in mapping.layers:
        click.echo(f"{layer.population.name}: {layer.pes} PEs, {layer.rows} rows, bits {layer.memory_bits}")
    click.echo(f"{mapping.memory_bits:,} memory bits")
    for line in budget(mapping):
        click.echo(line)
    start = time.monotonic()
    text = generate(mapping, "python -m bench.paper")
    click.echo(f"Verilog: {len(text):,} bytes in {time.monotonic() - start:.0f} s")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "cifar10-paper.v").write_text(text)
    frame = np.random.default_rng(0).integers(0, 256, (1, 3 * 32 * 32), dtype=np.uint8)
    result = verify(mapping, text, frame, patience=PATIENCE, quick=True)
    click.echo(f"{result}; {result.cycles:,} cycles")
    return 0 if result.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
