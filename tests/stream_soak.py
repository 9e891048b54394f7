"""Long streams in compiled Verilog, with random stalls on both sides: `make soak-stream`.

A committed recurrent network streams 100,016 steps; then random graphs with the shortest queues that the rule against
deadlock allows, 2,000 steps each. Every spike, membrane, number and cycle is compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from streams import mapped, steps, stream

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.rtl.mapping import Mapping
from gradrtl.rtl.verilog import generate
from gradrtl.sim.driving import Stalls
from gradrtl.sim.frames import Frames
from gradrtl.sim.verify import verify
from gradrtl.steps.frames import Chosen
from gradrtl.steps.place import Wanted, place
from gradrtl.steps.streaming import steps_of

ROOT = Path(__file__).resolve().parents[1]
NETWORK = ROOT / "networks/mnist-rows-20pct.npz"
IMAGES = 3572  # of 28 steps: 100,016
GRAPH_STEPS = 2000
STALLED = 0.3


def compare(title: str, mapping: Mapping, given: Frames, seed: int, quick: bool) -> int:
    """Print what was compared, and return the number of steps; a difference ends the program."""
    text = generate(mapping, "tests/stream_soak.py")
    found = verify(mapping, text, given, stalls=Stalls(STALLED, STALLED, seed), cache=ROOT / "build/cache", quick=quick)
    print(f"{title}: {found}; {found.cycles} cycles", flush=True)
    if not found.passed or found.predicted != found.frames:
        raise SystemExit(1)
    return found.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=50, help="random graphs")
    parser.add_argument("--first", type=int, default=1000, help="seed of the first one")
    parser.add_argument("--only-graphs", action="store_true")
    chosen = parser.parse_args()
    total = 0
    if not chosen.only_graphs:
        network = QuantizedNetwork.load(NETWORK)
        given = steps_of(network, Chosen(ROOT / "data/mnist", images=IMAGES))
        total += compare(NETWORK.name, place(network, Wanted(stream=True)), given, 1, False)
    seed, done = chosen.first, 0
    while done < chosen.graphs:
        made = stream(seed)
        if made is not None:
            total += compare(f"graph {seed}", mapped(made, seed), steps(made, GRAPH_STEPS, seed), seed, True)
            done += 1
        seed += 1
    print(f"{total} steps, all equal")


if __name__ == "__main__":
    main()
