"""How far rounding of states takes a network from its framework: `python tests/frameworks/rounding.py`.

All committed cases of one spike a step, by framework and by fractional bits of the states: cases in which a spike of
the integers differs, and the differing positions of all positions (a neuron in a step of a frame). `auto` is what
`gradrtl import` takes. No framework is needed.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from cases import FOLDER
from comparing import arrays_of, graph_of

from gradrtl.model.importing.hdf5 import read
from gradrtl.quantize.graph_rounding import GraphFormats
from gradrtl.quantize.imported import Asked, quantize_imported
from gradrtl.sim import engine

BITS = (None, 0, 2, 4, 6, 8)


def wrong_spikes(name: str, bits: int | None) -> tuple[int, int]:
    """Differing positions of a case and all positions, with `bits` fractional bits of the states."""
    arrays = arrays_of(FOLDER / f"{name}.npz")
    graph = graph_of(read(FOLDER / f"{name}.nir"), arrays)
    given = arrays["input"]
    frames = given.reshape(*given.shape[:2], -1)
    formats = GraphFormats(weight_bits=8, membrane_fraction=bits, decay_bits=15)
    network = quantize_imported(graph, Asked(frames.shape[1]), formats)
    made = engine.run(network, frames[:, : network.steps], trace="spikes").trace
    assert made is not None
    wrong = positions = 0
    for one, spikes in zip(network.populations, made.spikes, strict=True):
        if f"spikes_{one.name}" in arrays:
            late = int(next(p.rule.late for p in graph.populations if p.name == one.name))
            recorded = arrays[f"spikes_{one.name}"][:, late:]
            length = min(recorded.shape[1], spikes.shape[1])
            wrong += int((spikes[:, :length] != recorded[:, :length]).sum())
            positions += recorded[:, :length].size
    return wrong, positions


def main() -> None:
    """Print the table."""
    names = defaultdict(list)
    for path in sorted(FOLDER.glob("*.nir")):
        if not path.stem.endswith("multi"):  # several spikes in a step are refused
            names[str(np.load(path.with_suffix(".npz"))["framework"])].append(path.stem)
    print("framework     cases  " + "  ".join(f"{'auto' if b is None else b:>16}" for b in BITS))
    for framework, all_cases in names.items():
        cells = []
        for bits in BITS:
            found = [wrong_spikes(name, bits) for name in all_cases]
            wrong, positions = (sum(column) for column in zip(*found, strict=True))
            cells.append(f"{sum(w > 0 for w, _ in found):3} {wrong:5} of {positions:5}")
        print(f"{framework:13} {len(all_cases):5}  " + "  ".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
